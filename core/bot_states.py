"""The states of a bot. `Actual.move` is the only way from one to another.

People set the desired state (`bots.status`); the supervisor brings the actual one (`bots.state`) there. A
process that runs is starting, running or paused; in the other states there is none.

    stateDiagram-v2
        [*] --> stopped
        stopped --> starting: wanted active or paused
        starting --> running: its first heartbeat
        starting --> paused: its first heartbeat, wanted paused
        running --> paused: wanted paused
        paused --> running: wanted active
        starting --> stopped: wanted stopped, or the daemon ends
        running --> stopped: wanted stopped, a new configuration, or the daemon ends
        paused --> stopped: wanted stopped, a new configuration, or the daemon ends
        starting --> crashed: died, hung or over a limit
        running --> crashed: died, hung or over a limit
        paused --> crashed: died, hung or over a limit
        crashed --> starting: at most 3 times an hour
        crashed --> stopped: wanted stopped
        crashed --> error: the 4th time within an hour, or unusable
        error --> starting: someone starts it again
        error --> stopped: wanted stopped

docs/images/bot-states.svg shows the same; a test holds both against the table below.
"""

from enum import StrEnum


class Desired(StrEnum):
    """`bots.status`: what people want; `error` is set by the supervisor when it gives up."""

    ACTIVE = "active"
    PAUSED = "paused"
    STOPPED = "stopped"
    ERROR = "error"


class Actual(StrEnum):
    """`bots.state`: what is."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    CRASHED = "crashed"
    ERROR = "error"

    @property
    def has_process(self) -> bool:
        """Whether a process should exist in this state."""
        return self in {Actual.STARTING, Actual.RUNNING, Actual.PAUSED}

    def move(self, to: "Actual") -> "Actual":
        """`to`, if the diagram allows it from here (staying is allowed); IllegalMove otherwise."""
        if to is not self and to not in _MOVES[self]:
            raise IllegalMove(f"a bot cannot go from {self} to {to}")
        return to


class Step(StrEnum):
    """What brings an actual state nearer to the desired one."""

    NONE = "none"
    START = "start"
    STOP = "stop"
    SETTLE_STOPPED = "settle_stopped"
    SETTLE_ERROR = "settle_error"


_MOVES: dict[Actual, frozenset[Actual]] = {
    Actual.STOPPED: frozenset({Actual.STARTING}),
    Actual.STARTING: frozenset({Actual.RUNNING, Actual.PAUSED, Actual.STOPPED, Actual.CRASHED}),
    Actual.RUNNING: frozenset({Actual.PAUSED, Actual.STOPPED, Actual.CRASHED}),
    Actual.PAUSED: frozenset({Actual.RUNNING, Actual.STOPPED, Actual.CRASHED}),
    Actual.CRASHED: frozenset({Actual.STARTING, Actual.STOPPED, Actual.ERROR}),
    Actual.ERROR: frozenset({Actual.STARTING, Actual.STOPPED}),
}


class IllegalMove(ValueError):
    """A change of state that the diagram does not have: a bug, never a user's mistake."""


def next_step(desired: Desired, actual: Actual) -> Step:
    """What the supervisor has to do. Pausing and resuming are done by the bot's own process.

    | desired \\ actual | starting running paused | stopped        | crashed | error |
    |------------------|-------------------------|----------------|---------|-------|
    | active, paused   | none                    | start          | start   | start |
    | stopped          | stop                    | none           | settle  | settle|
    | error            | stop                    | none           | settle  | none  |
    """
    if desired in {Desired.ACTIVE, Desired.PAUSED}:
        return Step.NONE if actual.has_process else Step.START
    if actual.has_process:
        return Step.STOP
    if desired is Desired.STOPPED:
        return Step.NONE if actual is Actual.STOPPED else Step.SETTLE_STOPPED
    return Step.SETTLE_ERROR if actual is Actual.CRASHED else Step.NONE
