"""Which answers set the clock."""

import asyncio

from live.collector.follow import sample
from pipelines.clock import ExchangeClock


class Exchange:
    """Only the time, after a delay."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s

    async def server_time_ms(self) -> int:
        await asyncio.sleep(self.delay_s)
        return 1_000_000


async def test_an_answer_that_took_too_long_does_not_set_the_clock():
    """A simulated exchange, busy for three seconds, put the clock 15 minutes ahead: candles closed early."""
    clock = ExchangeClock()
    assert not await sample(Exchange(0.03), clock, slowest_s=0.01)  # type: ignore[arg-type]
    assert not clock.is_set
    assert await sample(Exchange(0.03), clock)  # type: ignore[arg-type]
    assert clock.is_set
