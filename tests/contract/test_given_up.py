"""A service that used up its tries is started again, once what kept it down is over."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack.home import Home
from cli.stack.supervisor import Supervisor
from config.settings import PROJECT_ROOT
from tests.stack import eventually

pytestmark = pytest.mark.servers
NEEDS_ROOM = """
import pathlib, sys, time
if not pathlib.Path(sys.argv[1]).exists():
    sys.exit("no room")
time.sleep(600)
"""


LAUNCH = """
import os, sys
from pathlib import Path
from cli.stack.home import Home
from cli.stack.services import Service
from cli.stack.supervisor import Supervisor

folder = Path(sys.argv[1])
command = (sys.executable, str(folder / "needy.py"), str(folder / "room"))
services = [Service(name, command, folder, start_seconds=1, start_tries=1) for name in ("needy", "unwanted")]
Supervisor(Home(folder / "home")).launch(services, os.environ)
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """Of a service that cannot live before the file `room` is there, and of one that nobody started."""
    (tmp_path / "needy.py").write_text(NEEDS_ROOM)
    home = Home(tmp_path / "home")
    home.make()
    subprocess.run([sys.executable, "-c", LAUNCH, str(tmp_path)], cwd=PROJECT_ROOT, check=True)
    supervisor = Supervisor(home)
    yield supervisor
    supervisor.shutdown()


def _states(supervisor: Supervisor) -> dict[str, str]:
    return {process.name: process.state for process in supervisor.processes()}


def test_what_was_given_up_is_tried_again_and_nothing_else(supervisor: Supervisor, tmp_path: Path) -> None:
    """While the cause lasts it is given up again; what was never started, or runs, is left alone."""
    supervisor.start("needy")
    for _ in range(2):
        eventually(lambda: _states(supervisor)["needy"] == "FATAL", 60, "given up")
        assert supervisor.start_given_up() == ["needy"]
    eventually(lambda: _states(supervisor)["needy"] == "FATAL", 60, "given up")
    (tmp_path / "room").touch()
    assert supervisor.start_given_up() == ["needy"]
    eventually(lambda: _states(supervisor)["needy"] == "RUNNING", 60, "running")
    assert supervisor.start_given_up() == []
    assert _states(supervisor)["unwanted"] == "STOPPED"
