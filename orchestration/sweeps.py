"""Which sweeps there are, and what they are."""

from pathlib import Path
from typing import Any

from core.errors import BadInput
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.sweepfile import request_of


def sweep_files(config_dir: Path, chosen: str) -> list[Path]:
    """The sweep definitions to run; BadInput lists those there are."""
    files = sorted((config_dir / "sweeps").glob("*.json"))
    if not chosen:
        return files
    for path in files:
        if chosen in {path.name, path.stem}:
            return [path]
    raise BadInput("file", f"{chosen!r} is not one of {', '.join(path.name for path in files) or 'none'}")


def sweep_requests(config_dir: Path, chosen: str, given: dict[str, Any]) -> dict[str, SweepRequest]:
    """Name → request: of the files, with what is given over what they say, or the one that is given whole."""
    if not chosen and "strategy" in given:
        return {given["strategy"]: SweepRequest.read(given)}
    return {path.name: request_of(path, **given) for path in sweep_files(config_dir, chosen)}
