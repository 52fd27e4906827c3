"""Databases below /var/lib whose home is gone: under root a deleted home leaves its data (ADR 0001)."""

import os
from collections.abc import Iterator
from pathlib import Path

from cli.stack.accounts import SYSTEM_FOLDER

_OWNER = "home"


def sign(folder: Path, home: Path) -> None:
    """Note in a data folder which home it belongs to; a home that was moved signs anew at its next start."""
    note = folder / _OWNER
    wanted = str(home.resolve())
    if not note.exists() or note.read_text(encoding="utf-8") != wanted:
        temporary = note.with_suffix(".new")
        temporary.write_text(wanted, encoding="utf-8")
        temporary.replace(note)


def deserted(system: Path = SYSTEM_FOLDER) -> Iterator[Path]:
    """Folders that say they belong to a home which has no link to them. Nothing for who may not look."""
    if not system.is_dir() or not os.access(system, os.R_OK):
        return
    for folder in sorted(system.iterdir()):
        try:
            home = Path((folder / _OWNER).read_text(encoding="utf-8"))
        except OSError:  # programs, a folder of before it was signed, or not ours to read
            continue
        link = home / "postgres"
        if not link.is_symlink() or link.readlink() != folder:
            yield folder
