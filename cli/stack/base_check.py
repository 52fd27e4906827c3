"""Whether a base backup is whole, by the manifest PostgreSQL wrote with it.

PostgreSQL's own pg_verifybackup does this too; the one of our wheel crashes at the start.
"""

import hashlib
import json
from pathlib import Path

from core.errors import Unavailable

MANIFEST = "backup_manifest"
CHECKSUMS = "SHA256"
_UNLISTED = frozenset({MANIFEST, "pg_wal"})
"""What the manifest says nothing about: itself, and the WAL that came by a connection of its own."""


def check_base(folder: Path) -> int:
    """Read every file; returns their bytes. Unavailable names the first that is missing, torn or foreign."""
    text = (folder / MANIFEST).read_bytes()
    manifest = json.loads(text)
    # the last line, which holds the checksum of all before it
    if (
        hashlib.sha256(text[: text.rindex(b'"Manifest-Checksum"')]).hexdigest()
        != manifest["Manifest-Checksum"]
    ):
        raise Unavailable(f"{folder / MANIFEST} is torn")
    listed = {entry["Path"]: entry for entry in manifest["Files"]}
    for name, entry in listed.items():
        _check_file(folder / name, entry["Size"], entry["Checksum"])
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] not in _UNLISTED and str(name) not in listed:
            raise Unavailable(f"{path} is not of this base backup")
    return sum(entry["Size"] for entry in listed.values())


def _check_file(path: Path, size: int, checksum: str) -> None:
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise Unavailable(f"{path} of the base backup: {error.strerror}") from None
    if path.stat().st_size != size or found != checksum:
        raise Unavailable(f"{path} of the base backup is not what PostgreSQL wrote")
