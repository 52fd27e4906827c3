"""The exchange's clock, asked for once a second."""

import asyncio
import time

import structlog

from core.errors import Unavailable
from pipelines.clock import ExchangeClock
from pipelines.exchanges.base import ExchangeRest

EVERY_S = 1.0
FIRST_EVERY_S = 0.3
FIRST_SAMPLES = 3
SLOWEST_S = 0.1
"""An answer that took longer may be anything up to that much wrong: more than the grace of a candle bears."""
PATIENCE = 10
"""Slow answers in a row after which one is taken all the same: better a rough clock than none."""

_log = structlog.get_logger("clock")


async def follow_clock(rest: ExchangeRest, clock: ExchangeClock) -> None:
    """Sample for ever; an exchange that does not answer leaves the clock running at its last rate."""
    samples = slow = 0
    while True:
        await asyncio.sleep(FIRST_EVERY_S if samples < FIRST_SAMPLES else EVERY_S)
        try:
            good = await sample(rest, clock, slowest_s=SLOWEST_S if slow < PATIENCE else None)
        except Unavailable as error:
            _log.warning("no time from the exchange", reason=str(error))
            continue
        slow = 0 if good else slow + 1
        samples += good


async def sample(rest: ExchangeRest, clock: ExchangeClock, slowest_s: float | None = None) -> bool:
    """Ask once. False: the answer took longer than `slowest_s` and was not used."""
    asked = time.monotonic()
    exchange_ms = await rest.server_time_ms()
    answered = time.monotonic()
    used = clock.answer(exchange_ms, asked, answered, slowest_s)
    if not used:
        _log.debug("slow answer", round_trip_s=round(answered - asked, 3))
    return used
