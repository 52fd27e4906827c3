"""Backup and restore of the database with PostgreSQL's own tools."""

import os
import subprocess
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from cli.stack.postgres import installation
from core.errors import BadInput, Unavailable

MAGIC = b"PGDMP"


def dump(url: str, file: Path) -> int:
    """Write a backup; it appears under its name only when it is complete. Returns its bytes."""
    if file.exists():
        raise BadInput(str(file), "exists already: choose another name")
    if not file.parent.is_dir():
        raise BadInput(str(file), f"the folder {file.parent} does not exist")
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        _run("pg_dump", url, "--format=custom", "--no-owner", f"--file={temporary}")
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    return file.stat().st_size


def check_dump(file: Path) -> None:
    """BadInput when this is no backup."""
    try:
        with file.open("rb") as stream:
            start = stream.read(len(MAGIC))
    except OSError as error:
        raise BadInput(str(file), error.strerror or "cannot be read") from None
    if start != MAGIC:
        raise BadInput(str(file), "is not a backup made by `tcp db backup`")


def load(url: str, file: Path) -> None:
    """Replace the database's content in one transaction: all of it or nothing."""
    _run("pg_restore", url, "--clean", "--if-exists", "--no-owner", "--single-transaction", str(file))


def _run(program: str, url: str, *arguments: str) -> None:
    """Run a client tool; the password goes through the environment, not the command line."""
    parts = make_url(url)
    shown = URL.create(
        "postgresql", parts.username, None, parts.host, parts.port, parts.database, parts.query
    )
    command = [str(installation() / "bin" / program), f"--dbname={shown.render_as_string()}", *arguments]
    environment = {**os.environ, "PGPASSWORD": str(parts.password or ""), "PGCONNECT_TIMEOUT": "5"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        raise Unavailable(f"{program}: {lines[0]}")
