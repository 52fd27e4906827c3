"""The risk gate of both kernels that have limits: `core.risk` in floats.

Its memory is an array of whole numbers beside the account's: times in ms, closes of candles.
"""

from typing import TYPE_CHECKING

import numpy as np

from pipelines.backtest.account import Ints
from pipelines.backtest.compiled import njit_inlined

if TYPE_CHECKING:
    from pipelines.backtest.exits import Rules

TOUCH = 1e-12
"""A price so close to a trigger touches it: the trigger is a product of rounded numbers."""
HOUR_MS, DAY_MS = 3_600_000, 86_400_000

# LOST_AT, LOST_IN: time and candle of the newest losing exit, −1 for none · STREAK: such exits in a row on
# the UTC day STREAK_DAY · HALTED: 1 once a stop was reached · GIVEN: orders so far, the newest of which
# follow in a ring, as many as the limits ask about.
LOST_AT, LOST_IN, STREAK, STREAK_DAY, HALTED, GIVEN = range(6)
RING = 6


def new_memory(rules: "Rules") -> Ints:
    """Before the first candle."""
    memory = np.zeros(RING + max(rules.orders_an_hour, rules.orders_a_day), np.int64)
    memory[LOST_IN] = -1
    return memory


@njit_inlined
def remember_order(memory: Ints, now_ms: int) -> None:
    """A buy was decided or a round trip has ended."""
    size = memory.size - RING
    if size > 0:
        memory[RING + memory[GIVEN] % size] = now_ms
        memory[GIVEN] += 1


@njit_inlined
def remember_exit(memory: Ints, candle: int, now_ms: int, day: int, spent: float, gained: float) -> None:
    """A round trip has ended in that candle; spent, gained: quote currency, fees deducted."""
    remember_order(memory, now_ms)
    if memory[STREAK_DAY] != day:
        memory[STREAK], memory[STREAK_DAY] = 0, day
    if gained > spent * TOUCH:
        memory[STREAK] = 0
    else:
        memory[STREAK] += 1
        memory[LOST_AT], memory[LOST_IN] = now_ms, candle


@njit_inlined
def lost_too_much(
    memory: Ints, rules: "Rules", day: int, day_value: float, peak: float, value: float
) -> bool:
    """Whether the day's loss, the drawdown or the losses in a row have reached their limit."""
    if rules.max_daily_loss > 0.0 and (day_value - value) / day_value >= rules.max_daily_loss * (1.0 - TOUCH):
        return True
    if rules.max_drawdown > 0.0 and (peak - value) / peak >= rules.max_drawdown * (1.0 - TOUCH):
        return True
    return bool(0 < rules.max_losses <= memory[STREAK] and memory[STREAK_DAY] == day)


@njit_inlined
def holds_up(
    memory: Ints, rules: "Rules", candle: int, now_ms: int, silent: int, before: float, close: float
) -> bool:
    """Whether the data, the losing exits or the number of orders speak against a buy at this close.

    silent: candles without a trade up to here; before: the close before this one, 0 for none
    """
    if memory[HALTED] or 0 < rules.max_silent < silent:
        return True
    far = before * rules.deviation * (1.0 + TOUCH)
    if far > 0.0 and abs(close - before) > far:
        return True
    if memory[LOST_IN] >= 0 and (
        candle - memory[LOST_IN] < rules.cooldown_candles or now_ms - memory[LOST_AT] < rules.cooldown_ms
    ):
        return True
    size, given = memory.size - RING, memory[GIVEN]
    hour, day = rules.orders_an_hour, rules.orders_a_day
    if 0 < hour <= given and memory[RING + (given - hour) % size] > now_ms - HOUR_MS:
        return True
    return bool(0 < day <= given and memory[RING + (given - day) % size] > now_ms - DAY_MS)
