"""Every file that is generated from the code, with its text as it has to be."""

from pathlib import Path

from cli.reference.environment import environment_file
from config.settings import PROJECT_ROOT

DEPLOY = PROJECT_ROOT / "deploy"


def generated() -> dict[Path, str]:
    """Path → text; a test compares them with the files of the checkout."""
    return {DEPLOY / "tcp.env": environment_file()}
