"""Which loopback port a server of the stack gets: a free one, and the same one next time."""

import json
import os
import secrets
import socket
from contextlib import closing
from pathlib import Path

from core.errors import Unavailable

LOOPBACK = "127.0.0.1"


SERVERS = range(15_000, 32_000)
"""Below the ports that systems give to outgoing connections (Linux: from 32,768): one of those would take the
port of a server that is down for a moment, or has not begun to listen."""
TRIES = 1_000


def free_port() -> int:
    """A TCP port nobody uses at this moment. Unavailable when a thousand tries found none."""
    for _ in range(TRIES):
        port = SERVERS[secrets.randbelow(len(SERVERS))]
        if is_free(port):
            return port
    raise Unavailable(f"no free port on {LOOPBACK} between {SERVERS.start} and {SERVERS.stop}")


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could bind this port now (as servers do, with SO_REUSEADDR)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def listening(port: int, host: str = LOOPBACK, timeout_s: float = 0.5) -> bool:
    """Whether somebody accepts connections there."""
    try:
        with closing(socket.create_connection((host, port), timeout_s)):
            return True
    except OSError:
        return False


def remembered_port(home: Path, name: str) -> int:
    """The port of server `name` in this home: the one in `ports.json`, else a free one, written there."""
    path = home / "ports.json"
    known = _read(path)
    if name not in known:
        taken = set(known.values())
        port = free_port()
        while port in taken:
            port = free_port()
        _write(path, known | {name: port})
        return port
    return known[name]


def forget_port(home: Path, name: str) -> None:
    """Drop a remembered port, because somebody else took it meanwhile."""
    path = home / "ports.json"
    known = _read(path)
    if known.pop(name, None) is not None:
        _write(path, known)


def _read(path: Path) -> dict[str, int]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}  # absent or torn by a full disk: new ports are as good as the old ones
    return {str(name): int(port) for name, port in document.items()} if isinstance(document, dict) else {}


def _write(path: Path, ports: dict[str, int]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(ports, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(path)
