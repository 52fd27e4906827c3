"""Reports as files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import BadInput

SUFFIXES = (".html", ".json")


def check_target(path: Path) -> None:
    """BadInput, before any work is done, for a file that is neither HTML nor JSON or cannot be written."""
    if path.suffix not in SUFFIXES:
        raise BadInput("--report", f"{path} must end in .html or .json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput("--report", f"{path}: {error.strerror or error}") from None
    if path.is_dir():
        raise BadInput("--report", f"{path} is a folder")


def write_report(path: Path, html: Callable[[], str], document: dict[str, Any]) -> None:
    """The page or the document, as the file's name says; whole or not at all."""
    check_target(path)
    text = html() if path.suffix == ".html" else json.dumps(document, indent=2, allow_nan=False) + "\n"
    write_whole(path, lambda target: target.write_text(text, encoding="utf-8"), "--report")


def write_whole(path: Path, write: Callable[[Path], object], option: str) -> None:
    """Write under a temporary name, then rename: a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        raise BadInput(option, f"{path}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
