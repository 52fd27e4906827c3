"""What the stack consists of: every process, its command line, how it is stopped. Pure."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from config.settings import PROJECT_ROOT

SERVERS = ("postgres", "redis", "sim")
"""Started for any command that needs them, and left running."""


@dataclass(frozen=True)
class Service:
    """A supervised process. `nice` makes room for the trading path on a small machine; one that ends before
    `start_seconds` failed to start, and the pause before the next try grows; after `start_tries` (60: half an
    hour) it is given up. `keys`: whether it may see the keys of an account, if the environment has them."""

    name: str
    command: tuple[str, ...]
    folder: Path = PROJECT_ROOT
    user: str | None = None
    start_seconds: int = 5
    start_tries: int = 60
    stop_signal: str = "TERM"
    stop_seconds: int = 15
    stop_children: bool = False
    nice: int = 0
    keys: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


def tcp(*arguments: str) -> tuple[str, ...]:
    """Command line of one of our own commands in this interpreter."""
    return (sys.executable, "-m", "cli.main", *arguments)


def beside_python(program: str) -> str:
    """A program that pip put beside the interpreter (dagster-webserver …)."""
    return str(Path(sys.executable).parent / program)


def sim_service(port: int, speed: str, state_file: Path) -> Service:
    """The simulated exchange; its virtual clock goes on from `state_file` after a restart."""
    options = ("--port", str(port), "--speed", speed, "--state-file", str(state_file))
    return Service("sim", tcp("sim", *options), start_seconds=2)


def live_service() -> Service:
    """The daemon; it stops its bots itself, so only it is signalled."""
    return Service("live", tcp("live"), stop_seconds=20, keys=True)


def dashboard_service() -> Service:
    """The dashboard."""
    return Service("dashboard", tcp("dashboard"), stop_seconds=8, stop_children=True)


def notify_service() -> Service:
    """The watcher that tells people; started where it has somebody to tell."""
    return Service("notify", tcp("notify"), nice=5)


def dagster_services(port: int, code_port: int, host: str = "127.0.0.1") -> tuple[Service, ...]:
    """Dagster's three processes."""
    workspace = str(PROJECT_ROOT / "workspace.yaml")
    code = (
        "code-server",
        "start",
        "-h",
        "127.0.0.1",
        "-p",
        str(code_port),
        "-m",
        "orchestration.definitions",
    )
    return (
        Service(
            "dagster-code",
            (beside_python("dagster"), *code, "-d", str(PROJECT_ROOT)),
            nice=5,
            stop_children=True,
        ),
        Service(
            "dagster-webserver",
            (beside_python("dagster-webserver"), "-h", host, "-p", str(port), "-w", workspace),
            nice=5,
            stop_children=True,
        ),
        Service(
            "dagster-daemon",
            (beside_python("dagster-daemon"), "run", "-w", workspace),
            nice=5,
            stop_children=True,
        ),
    )
