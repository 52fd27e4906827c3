"""Passwords the stack makes up for its own servers: one file each in TCP_HOME, mode 0600."""

import os
import secrets
from pathlib import Path


def secret(home: Path, name: str) -> str:
    """The password called `name` of this home; made at the first call."""
    path = home / "secrets" / name
    if not path.exists():
        for folder in (home, path.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{name}.{os.getpid()}")
        write_private(temporary, secrets.token_urlsafe(24))
        try:
            os.link(temporary, path)  # the first of two processes wins, and both read the same
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path.read_text(encoding="utf-8")


def write_private(path: Path, text: str) -> None:
    """Write a file only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
