"""How the process that sends real orders ends."""

STOPPED = 0
FAILED = 1
UNUSABLE = 2
"""Its settings or keys are wrong: starting it again will not help before somebody mends them."""
