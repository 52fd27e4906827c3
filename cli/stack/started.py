"""What `tcp up` was started with, remembered in the home for a shell that does not have its variables."""

import json

from cli.stack.home import Home
from config.settings import Settings

REMEMBERED = frozenset({"exchange", "dashboard_host", "dashboard_port", "dagster_port", "symbols"})
"""Nothing secret: the file is as readable as the home."""


def remember(home: Home, settings: Settings) -> None:
    """Write what a running stack was started with."""
    text = json.dumps(settings.model_dump(include=set(REMEMBERED)), indent=1, sort_keys=True)
    home.started.write_text(f"{text}\n", encoding="utf-8")


def forget(home: Home) -> None:
    """The stack was stopped."""
    home.started.unlink(missing_ok=True)


def as_started(home: Home, settings: Settings) -> Settings:
    """The settings of the stack that runs: as remembered, and what this shell sets itself only without it."""
    try:
        document = json.loads(home.started.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):  # nothing was started, or its file was torn by a full disk
        return settings
    known = {name: document[name] for name in REMEMBERED if name in document}
    return settings.model_copy(update=known)
