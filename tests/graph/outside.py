"""Code in an interpreter of its own, as Dagster runs it: with these settings and no others."""

import asyncio
import os
import subprocess
import sys

from config.settings import PROJECT_ROOT


def environment(**given: object) -> dict[str, str]:
    """This process's, without its settings of ours and of Dagster, and with those given."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("TCP_", "DAGSTER_"))}
    return outer | {name: str(value) for name, value in given.items()}


def run_outside(*command: str, **settings: object) -> str:
    """What `python COMMAND` prints; its errors fail the test."""
    done = subprocess.run(
        (sys.executable, "-W", "ignore", *command),
        cwd=PROJECT_ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def run_beside(code: str, **settings: object) -> str:
    """What the code prints, while servers of this process go on."""
    return await asyncio.to_thread(run_outside, "-c", code, **settings)
