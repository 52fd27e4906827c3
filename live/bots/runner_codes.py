"""How the process of a bot ends."""

from signal import SIGUSR1

LAST_WORDS = SIGUSR1
"""Has the process write the stacks of all its threads to its log, whatever it is doing."""

STOPPED = 0
"""As asked."""
CRASHED = 1
"""An exception; its stack trace is in bot_crashes if the database could be reached."""
UNUSABLE = 2
"""The bot cannot be run as configured, so that starting it again would not help."""
ORPHANED = 3
"""The daemon that started it is gone."""
