"""PostgreSQL's client tools, out of the wheel, against any server."""

import os
import subprocess

from sqlalchemy.engine import URL, make_url

from cli.stack.postgres import installation
from core.errors import Unavailable


def command(program: str, *arguments: str) -> list[str]:
    """The command line of a tool."""
    return [str(installation() / "bin" / program), *arguments]


def database_option(url: str) -> str:
    """The database as an argument, without its password."""
    parts = make_url(url)
    shown = URL.create(
        "postgresql", parts.username, None, parts.host, parts.port, parts.database, parts.query
    )
    return f"--dbname={shown.render_as_string()}"


def environment(url: str) -> dict[str, str]:
    """The password goes through the environment, not the command line."""
    return {**os.environ, "PGPASSWORD": str(make_url(url).password or ""), "PGCONNECT_TIMEOUT": "5"}


def run(program: str, url: str, *arguments: str) -> None:
    """Run a tool on a database to its end; Unavailable with its first line when it fails."""
    line = command(program, database_option(url), *arguments)
    result = subprocess.run(line, env=environment(url), capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise Unavailable(f"{program}: {first_line(result.stderr, result.returncode)}")


def first_line(errors: str, code: int) -> str:
    """What a tool complained of first."""
    return (errors.strip().splitlines() or [f"exit code {code}"])[0]
