"""What the watcher remembers while PostgreSQL is away: a file, from which its next process goes on."""

import contextlib
import os
from pathlib import Path

import msgspec
import structlog

from pipelines.notifications.desk import Memory

FILE = "notify.json"
"""In TCP_HOME."""
_log = structlog.get_logger("notify")


class Notebook:
    """One file, there only while the database does not know what is in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: bytes | None = None

    def read(self) -> Memory:
        """What an earlier process wrote; an empty memory where nothing is there, or nothing readable."""
        try:
            self._written = self._path.read_bytes()
            return msgspec.json.decode(self._written, type=Memory)
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError) as error:
            _log.warning("not read", file=str(self._path), reason=str(error))
        return Memory()

    def write(self, document: bytes) -> None:
        """Keep it, whole or not at all; a disk that takes nothing is logged once a document."""
        if document == self._written:
            return
        self._written = document
        unfinished = self._path.with_name(self._path.name + ".part")
        try:
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(document)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self._path)
        except OSError as error:
            _log.warning("not remembered", file=str(self._path), reason=str(error))

    def clear(self) -> None:
        """The database knows it now."""
        if self._written is not None:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
            self._written = None
