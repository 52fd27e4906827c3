"""The states of a bot, in one enforced table.

People set the desired state (`bots.status`); the supervisor brings the actual one (`bots.state`) there.

                        ┌───────────────────────────────────────────┐
                        ▼                                           │
    (new) ──▶ stopped ──────▶ starting ──▶ running ◀──▶ paused ─────┤ desired: stopped
                 ▲  ▲            │  │         │            │        │ (or the daemon ends)
                 │  └────────────┘  │         │            │        │
                 │     (stopped     │         └────────────┼────────┘
                 │      meanwhile)  ▼                      ▼
                 ├───────────── crashed ◀── died, hung or over its limits
                 │               │    │
                 │               │    └──▶ starting    at most 3 times an hour
                 │               ▼
                 └──────────── error ────▶ starting    only when someone starts it again

A process that runs is starting, running or paused; in the other states there is none.
"""

from enum import StrEnum

MAX_RESTARTS_AN_HOUR = 3


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


def move(current: Actual, to: Actual) -> Actual:
    """`to`, if the diagram allows it from `current` (staying is allowed); IllegalMove otherwise."""
    if to is not current and to not in _MOVES[current]:
        raise IllegalMove(f"a bot cannot go from {current} to {to}")
    return to


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
