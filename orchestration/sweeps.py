"""Which sweep files there are."""

from pathlib import Path

from core.errors import BadInput


def sweep_files(config_dir: Path, chosen: str) -> list[Path]:
    """The sweep definitions to run; BadInput lists those there are."""
    files = sorted((config_dir / "sweeps").glob("*.json"))
    if not chosen:
        return files
    for path in files:
        if chosen in {path.name, path.stem}:
            return [path]
    raise BadInput("file", f"{chosen!r} is not one of {', '.join(path.name for path in files) or 'none'}")
