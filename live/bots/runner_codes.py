"""How the process of a bot ends."""

from signal import SIGUSR1

LAST_WORDS = SIGUSR1
"""Has the process write the stacks of all its threads to its log, whatever it is doing."""

STOPPED = 0
"""By a signal. Where the supervisor sent none it counts as a crash: a strategy can end its process so too."""
CRASHED = 1
"""An exception; its stack trace is in bot_crashes if the database could be reached."""
UNUSABLE = 2
"""The bot cannot be run as configured, so that starting it again would not help."""
ORPHANED = 3
"""The daemon that started it is gone."""
UNWANTED = 113
"""The bot saw that nobody wants it to run any more (started by hand: 0)."""
LOST = 1_000
"""No code of a process: the one that reports the ends of bots died, and they with it."""
