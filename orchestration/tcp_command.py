"""Running a command of ours that reports as JSON. Knows no Dagster."""

import json
import subprocess
import sys
from typing import Any

from config.settings import PROJECT_ROOT
from core.errors import BadInput, Unavailable

_BAD_INPUT = 2


def run_tcp(*arguments: str) -> dict[str, Any]:
    """The document that `tcp ARGUMENTS --json` prints.

    BadInput or Unavailable with the command's own line where it fails.
    """
    done = subprocess.run(
        (sys.executable, "-m", "cli.main", *arguments, "--json"),
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        line = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        if done.returncode == _BAD_INPUT:
            raise BadInput(f"tcp {arguments[0]}", line.removeprefix("tcp: "))
        raise Unavailable(line.removeprefix("tcp: "))
    document: dict[str, Any] = json.loads(done.stdout)
    return document
