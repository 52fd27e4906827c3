"""Stopping a stack so that no process is left."""

import time
from contextlib import suppress

from cli.stack.home import Home
from cli.stack.leftovers import end_leftovers
from cli.stack.services import SERVERS
from cli.stack.started import forget
from cli.stack.supervisor import Supervisor
from core.errors import Unavailable

STOPPED = frozenset({"STOPPED", "EXITED", "FATAL", "BACKOFF"})
APPS_S = 25
SERVERS_S = 35


def stop_everything(home: Home) -> bool:
    """Stop applications, then servers, then supervisord, then what escaped; whether anything ran."""
    with home.changing():
        supervisor = Supervisor(home)
        ran = supervisor.answers()
        if ran:
            with suppress(Unavailable):  # when it dies meanwhile, the sweep below finds its children
                _stop_supervised(supervisor)
        forget(home)
        return end_leftovers(home) > 0 or ran


def _stop_supervised(supervisor: Supervisor) -> None:
    rows = supervisor.processes()
    _stop(supervisor, [row.name for row in rows if row.name not in SERVERS], APPS_S)
    _stop(supervisor, [row.name for row in rows if row.name in SERVERS], SERVERS_S)
    supervisor.shutdown()
    deadline = time.monotonic() + 10
    while supervisor.answers() and time.monotonic() < deadline:
        time.sleep(0.05)


def _stop(supervisor: Supervisor, names: list[str], seconds: float) -> None:
    supervisor.stop(*names)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        running = [row for row in supervisor.processes() if row.name in names and row.state not in STOPPED]
        if not running:
            return
        time.sleep(0.05)
