"""What a running stack lets others see: secrets outside of their files, ports off loopback, open folders."""

import ipaddress
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import psutil

from cli.stack import clients
from cli.stack.home import Home
from cli.stack.leftovers import marked
from tests.stack import Tcp

PRIVATE = ("secrets", "redis/redis.conf", "supervisord.conf")
"""Where the secrets of a home are, each readable by its owner alone."""
COMMANDS = (("status",), ("status", "--json"), ("doctor",), ("bots", "list"), ("data", "status"))
PAGES = (
    "/",
    "/_dash-layout",
    "/_dash-dependencies",
    "/metrics",
    "/healthz",
    "/api/openapi.json",
    "/api/bots",
    "/api/data/health",
    "/api/backtest/results",
    "/api/nothing",
)


def leaks(tcp: Tcp, dashboard: str, given: dict[str, str]) -> list[str]:
    """Where a secret is that should not be there. given: name → secret, besides those of the home."""
    made = {path.name: path.read_text() for path in (tcp.home / "secrets").iterdir()}
    secrets = {name: value.encode() for name, value in {**made, **given}.items()}
    assert len(secrets) >= 4 and all(len(value) >= 7 for value in secrets.values())
    return [
        f"{name} is in {where}"
        for where, content in _contents(tcp, dashboard)
        for name, value in secrets.items()
        if value in content
    ]


def _contents(tcp: Tcp, dashboard: str) -> Iterator[tuple[str, bytes]]:
    for path in sorted(tcp.home.rglob("*")):
        inside = str(path.relative_to(tcp.home))
        if path.is_file() and not inside.startswith(PRIVATE):
            yield inside, path.read_bytes()
    for command in COMMANDS:
        result = tcp.run(*command)
        assert result.stdout, (command, result.stderr)
        yield f"tcp {' '.join(command)}", (result.stdout + result.stderr).encode()
    for page in PAGES:
        yield page, _page(dashboard + page)
    for process in marked(Home(tcp.home)):
        yield f"the command line of {process.name()}", "\0".join(process.cmdline()).encode()
    yield "a backup", _backup(tcp)


def _page(address: str) -> bytes:
    try:
        with urlopen(address, timeout=20) as response:
            return bytes(response.read())
    except OSError as error:  # a refusal has a body too
        return bytes(error.read()) if hasattr(error, "read") else str(error).encode()


def _backup(tcp: Tcp) -> bytes:
    """All rows of all tables: events, heartbeats, configurations, Dagster's runs."""
    file = tcp.home.parent / "privacy.dump"
    assert tcp.run("db", "backup", str(file)).returncode == 0
    assert file.stat().st_mode & 0o077 == 0
    return subprocess.run(
        clients.command("pg_restore", "--file=-", str(file)), capture_output=True, check=True
    ).stdout


def open_ports(home: Path) -> list[str]:
    """What is wrong with the ports of a running stack: one that other machines reach, whichever of its
    processes listens, or one of its servers that is not there to be looked at."""
    known = set(json.loads((home / "ports.json").read_text()).values())
    own = {process.pid for process in marked(Home(home))}
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for connection in psutil.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
        and (connection.pid in own or connection.laddr.port in known)
    }
    return [
        *(f"{ip}:{port} is reached from outside" for ip, port in listening if not _is_loopback(ip)),
        *(f"nobody listens on {port}" for port in known - {port for _, port in listening}),
    ]


def _is_loopback(ip: str) -> bool:
    address = ipaddress.ip_address(ip)
    mapped = getattr(address, "ipv4_mapped", None)  # ::ffff:127.0.0.1, of a socket that speaks both
    return (mapped or address).is_loopback


def open_to_others(home: Path) -> list[str]:
    """What other users of the machine may enter or read: the home itself, and its secrets one by one."""
    private = [home, *(home / name for name in PRIVATE), *(home / "secrets").iterdir()]
    return [f"{path} is {path.stat().st_mode & 0o777:o}" for path in private if path.stat().st_mode & 0o077]
