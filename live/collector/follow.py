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

_log = structlog.get_logger("clock")


async def follow_clock(rest: ExchangeRest, clock: ExchangeClock) -> None:
    """Sample for ever; an exchange that does not answer leaves the clock running at its last rate."""
    samples = 0
    while True:
        await asyncio.sleep(FIRST_EVERY_S if samples < FIRST_SAMPLES else EVERY_S)
        try:
            await sample(rest, clock)
        except Unavailable as error:
            _log.warning("no time from the exchange", reason=str(error))
        samples += 1


async def sample(rest: ExchangeRest, clock: ExchangeClock) -> None:
    """Take one sample; the answer is as old as half the way."""
    asked = time.monotonic()
    exchange_ms = await rest.server_time_ms()
    clock.sample(exchange_ms, (asked + time.monotonic()) / 2)
