"""What a bot's process wrote: the end of its log file, where the daemon runs on this machine."""

from collections import deque
from pathlib import Path

from config.settings import Settings
from core.errors import BadInput

LINES = 400
MOST_BYTES = 200_000


def log_of(settings: Settings, bot: str) -> Path:
    """Where the daemon puts what a bot's process says, when it runs on this machine."""
    return settings.home / "logs" / "bots" / f"{bot}.log"


def log_tail(settings: Settings, bot: str, lines: int = LINES) -> str:
    """The last lines of a bot's log, or why there are none."""
    path = log_of(settings, bot)
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MOST_BYTES))
            found = b"".join(deque(file, maxlen=lines)).decode("utf-8", "replace")
    except FileNotFoundError:
        return f"Nothing yet: the daemon writes {path.name} on the machine that runs the bot."
    except OSError as error:
        raise BadInput("log", f"{path} cannot be read: {error.strerror}") from None
    return found or "Nothing yet."
