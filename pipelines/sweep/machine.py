"""The machine that computes formulas: straight-line programs over blocks of candles, compiled once for all.

A program is rows of code: operation, where the result goes, up to three operands, its number. A float operand
is a row of `columns` (over all candles) where it is not negative, else the register −1 − n of this block. A
condition is a byte for each candle: bit 0 it holds, bit 1 it does not hold, neither where it is unknown.
Arithmetic is that of Polars, to the last bit; null is NaN.
"""

import numba
import numpy as np

from pipelines.backtest.account import Floats, Ints
from pipelines.backtest.compiled import borrowed, njit, njit_inlined, njit_parallel
from pipelines.sweep.events import walk_flags
from pipelines.sweep.operations import (
    AND,
    GT,
    SEEDED,
    SHIFT,
    SMOOTH,
    WHEN,
    WHENCONDITION,
    Bytes,
    arithmetic,
    compared,
    condition,
    from_past,
    two_recursions,
)
from pipelines.sweep.prices import Prices
from pipelines.sweep.walk import Costs

BLOCK = 4096
"""Candles of a block: the registers of a program stay in the processor's cache."""
KEPT = 64
"""Rows of a condition that are kept for the next block."""
STATE = 8
"""Numbers that an operation keeps for the next block."""
OP, TO, A, B, C = range(5)
"""Columns of the code."""


@njit_inlined
def _paired(code: Ints, numbers: Floats, states: Floats, k: int) -> bool:
    """Whether an operation and the next are recursions that can go side by side."""
    if k + 1 >= code.shape[0] or code[k + 1, OP] != code[k, OP] or code[k + 1, A] == code[k, TO]:
        return False
    return bool(states[k, 1] >= numbers[k, 1] and states[k + 1, 1] >= numbers[k + 1, 1])


@njit_inlined
def _operand(columns: Floats, registers: Floats, which: int, begin: int, end: int) -> Floats:
    if which >= 0:
        return columns[which, begin:end]
    return registers[-1 - which, : end - begin]


@njit
def _run(
    code: Ints,
    numbers: Floats,
    begin: int,
    end: int,
    columns: Floats,
    registers: Floats,
    conditions: Bytes,
    states: Floats,
    kept: Bytes,
) -> bool:
    """A program on candles begin … end − 1; False where it came upon something that Polars has to judge."""
    code, numbers, columns, registers = (
        borrowed(code),
        borrowed(numbers),
        borrowed(columns),
        borrowed(registers),
    )
    conditions, states, kept = borrowed(conditions), borrowed(states), borrowed(kept)
    size, fine, k = end - begin, True, -1
    while k + 1 < code.shape[0]:
        k += 1
        op, to, a, b, c = code[k, OP], code[k, TO], code[k, A], code[k, B], code[k, C]
        if op >= AND:
            if op == WHENCONDITION:
                asked, yes, no = conditions[a], conditions[b], conditions[c]
                for t in range(size):
                    conditions[to, t] = yes[t] if asked[t] & np.uint8(1) else no[t]
            else:
                condition(op, conditions[to, :size], conditions[a], conditions[b], numbers[k, 0], kept[k])
        elif op >= GT:
            x = _operand(columns, registers, a, begin, end)
            compared(op, conditions[to, :size], x, _operand(columns, registers, b, begin, end))
        elif op in (SMOOTH, SEEDED) and _paired(code, numbers, states, k):
            out, x = _operand(columns, registers, to, begin, end), _operand(columns, registers, a, begin, end)
            k += 1
            two_recursions(
                out, x, numbers[k - 1, 0], states[k - 1],
                _operand(columns, registers, code[k, TO], begin, end),
                _operand(columns, registers, code[k, A], begin, end), numbers[k, 0], states[k],
            )  # fmt: skip
        else:
            out = _operand(columns, registers, to, begin, end)
            if op == WHEN:
                x, y = (
                    _operand(columns, registers, b, begin, end),
                    _operand(columns, registers, c, begin, end),
                )
                asked = conditions[a]
                for t in range(size):
                    out[t] = x[t] if asked[t] & np.uint8(1) else y[t]
            elif op == SHIFT:
                rows = int(numbers[k, 0])
                for t in range(begin, end):
                    out[t - begin] = columns[a, t - rows] if t >= rows else np.nan
            else:
                x, y = (
                    _operand(columns, registers, a, begin, end),
                    _operand(columns, registers, b, begin, end),
                )
                if op < WHEN:
                    arithmetic(op, out, x, y)
                else:
                    z = _operand(columns, registers, c, begin, end)
                    fine &= from_past(op, out, x, y, z, begin, numbers[k, 0], numbers[k, 1], states[k])
    return fine


@njit_parallel
def fill_columns(
    code: Ints, numbers: Floats, starts: Ints, registers: int, conditions: int, columns: Floats, fine: Bytes
) -> None:
    """Each program on all candles; they write to different rows of `columns` and read none of these."""
    for p in numba.prange(starts.size - 1):
        own, own_numbers = code[starts[p] : starts[p + 1]], numbers[starts[p] : starts[p + 1]]
        floats, flags = np.empty((registers, BLOCK)), np.empty((conditions, BLOCK), np.uint8)
        states = np.zeros((own.shape[0], STATE))
        kept = np.zeros((own.shape[0], KEPT), np.uint8)
        for begin in range(0, columns.shape[1], BLOCK):
            end = min(begin + BLOCK, columns.shape[1])
            if not _run(own, own_numbers, begin, end, columns, floats, flags, states, kept):
                fine[p] = 0


@njit
def signals(
    code: Ints,
    numbers: Floats,
    registers: int,
    conditions: int,
    columns: Floats,
    warmup: int,
    buy: Bytes,
    sell: Bytes,
) -> bool:
    """The flags of a program whose first two conditions are those of buying and selling: 1 where to act, as
    `strategies.evaluate.flags` has it; False as in `_run`."""
    floats, flags = np.empty((registers, BLOCK)), np.empty((conditions, BLOCK), np.uint8)
    states = np.zeros((code.shape[0], STATE))
    kept = np.zeros((code.shape[0], KEPT), np.uint8)
    for begin in range(0, columns.shape[1], BLOCK):
        end = min(begin + BLOCK, columns.shape[1])
        if not _run(code, numbers, begin, end, columns, floats, flags, states, kept):
            return False
        ups, downs, buys, sells = flags[0], flags[1], buy[begin:end], sell[begin:end]
        for t in range(end - begin):
            sells[t] = downs[t] & np.uint8(1)
            buys[t] = ups[t] & ~downs[t] & np.uint8(1)
    buy[: warmup - 1] = 0
    sell[: warmup - 1] = 0
    return True


@njit_parallel
def walk_programs(
    states: Floats,
    wholes: Ints,
    code: Ints,
    numbers: Floats,
    starts: Ints,
    warmups: Ints,
    registers: int,
    conditions: int,
    columns: Floats,
    warm: int,
    fine: Bytes,
    costs: Costs,
    prices: Prices,
) -> None:
    """Walk each program's signals into its row of the states, as `events` does."""
    size = (columns.shape[1] + 7) // 8 * 8
    for p in numba.prange(starts.size - 1):
        buy, sell = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        own, own_numbers = code[starts[p] : starts[p + 1]], numbers[starts[p] : starts[p + 1]]
        if signals(own, own_numbers, registers, conditions, columns, warmups[p], buy, sell):
            walk_flags(states[p], wholes[p], buy, sell, warm, costs, prices)
        else:
            fine[p] = 0
