"""The stack for a while: memory, lag, gaps and restarts each half minute, and every candle against SQL."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
from sqlalchemy import text

from cli.stack.table import columns
from tests.live_stack import BOTS, LiveStack, live_stack
from tests.soaks.report import say
from tests.stack import eventually
from tests.stored_market import market_faults, unjudged_candles

EVERY_S = 30
START_S = 300
SETTLE_S = 60
_FIGURES = text(
    """
    SELECT (SELECT extract(epoch FROM h.exchange_time - (SELECT max(timestamp) FROM raw_trades))
            FROM heartbeats h WHERE component = 'live'),
           (SELECT count(*) FROM data_gaps WHERE state IN ('open', 'refilling')),
           (SELECT count(*) FROM data_gaps),
           (SELECT coalesce(sum(restarts), 0) FROM bots),
           (SELECT count(*) FROM raw_trades), (SELECT count(*) FROM signals), (SELECT count(*) FROM trades)
    """
)
HEADER = (
    "minute",
    "daemon MB",
    "dashboard MB",
    "bots MB",
    "lag s",
    "gaps open",
    "gaps",
    "restarts",
    "market trades",
    "signals",
    "bot trades",
)


class Sample(NamedTuple):
    """One look at the stack; memory in MB, lag in wall seconds between exchange and newest stored trade."""

    minute: float
    daemon: float
    dashboard: float
    bots: float
    lag_s: float
    open_gaps: int
    gaps: int
    restarts: int
    market_trades: int
    signals: int
    bot_trades: int

    def row(self) -> list[str]:
        """As cells of the table."""
        return [f"{value:.1f}" if isinstance(value, float) else str(value) for value in self]


def run(minutes: float, speed: float) -> list[str]:
    """What was different or lost; prints what it sees."""
    with (
        tempfile.TemporaryDirectory(prefix="tcp-soak-") as folder,
        live_stack(Path(folder), f"{speed:g}") as stack,
    ):
        eventually(lambda: stack.judging() == BOTS, START_S, "signals of every bot")
        samples = _watch(stack, minutes, speed)
        faults = _faults(stack)
    say(columns([HEADER, *(sample.row() for sample in samples)]))
    return faults


def _watch(stack: LiveStack, minutes: float, speed: float) -> list[Sample]:
    began = time.monotonic()
    samples: list[Sample] = []
    while True:
        samples.append(_sample(stack, (time.monotonic() - began) / 60, speed))
        say("  ".join(f"{name} {cell}" for name, cell in zip(HEADER, samples[-1].row(), strict=True)))
        left = began + minutes * 60 - time.monotonic()
        if left <= 0:
            return samples
        time.sleep(min(EVERY_S, left))


def _sample(stack: LiveStack, minute: float, speed: float) -> Sample:
    services = stack.tcp.status()
    live = services["live"]["pid"]
    with stack.engine.connect() as connection:
        lag, *counts = connection.execute(_FIGURES).one()
        pids = list(connection.execute(text("SELECT pid FROM bots WHERE pid IS NOT NULL")).scalars())
    memory = (_megabytes([live]), _megabytes([services["dashboard"]["pid"]]), _megabytes(pids))
    return Sample(minute, *memory, float(lag) / speed, *(int(count) for count in counts))


def _megabytes(pids: Sequence[int | None]) -> float:
    total = 0
    for pid in pids:
        try:
            total += psutil.Process(pid).memory_info().rss if pid else 0
        except psutil.NoSuchProcess:
            continue  # it restarts at this moment
    return total / 2**20


def _faults(stack: LiveStack) -> list[str]:
    """What is different when the writers had time to settle; the compared candles are printed."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        faults, compared = market_faults(stack.engine)
        faults += [f"{name} did not judge {n} candles" for name, n in unjudged_candles(stack.engine).items()]
        if not faults or time.monotonic() > deadline:
            say(f"candles compared with SQL: {compared}")
            return faults
        time.sleep(1)
