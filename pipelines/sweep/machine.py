"""The machine that computes formulas: straight-line programs over blocks of candles, compiled once for all.

A program is rows of code: operation, where the result goes, up to three operands, its number. A float operand
is a row of `columns` (over all candles) where it is not negative, else the register −1 − n of this block. A
condition is a byte for each candle: bit 0 it holds, bit 1 it does not hold, neither where it is unknown.
Arithmetic is that of Polars, to the last bit; null is NaN.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from pipelines.backtest.account import Floats, Ints
from pipelines.backtest.compiled import njit, njit_inlined, njit_parallel
from pipelines.sweep.events import walk_flags

Bytes = NDArray[np.uint8]

BLOCK = 1024
"""Candles of a block: the registers of a program stay in the processor's nearest cache."""
KEPT = 64
"""Rows of a condition that are kept for the next block."""
STATE = 8
"""Numbers that an operation keeps for the next block."""

# What there is. A float is made of floats up to WHEN, of its own past from SHIFT on; conditions follow.
OPERATIONS = (
    "add", "sub", "mul", "div", "max", "min", "atleast", "atmost", "fill", "abs", "neg", "when",
    "number", "shift", "smooth", "seeded", "follow", "check",
    "gt", "eq", "isknown", "and", "or", "not", "whencondition", "fillcondition", "known", "shiftcondition",
)  # fmt: skip
(
    ADD, SUB, MUL, DIV, MAX, MIN, ATLEAST, ATMOST, FILL, ABS, NEG, WHEN,
    NUMBER, SHIFT, SMOOTH, SEEDED, FOLLOW, CHECK,
    GT, EQ, ISKNOWN, AND, OR, NOT, WHENCONDITION, FILLCONDITION, KNOWN, SHIFTCONDITION,
) = range(len(OPERATIONS))  # fmt: skip
OP, TO, A, B, C = range(5)


@njit
def _arithmetic(op: int, out: Floats, x: Floats, y: Floats) -> None:
    n = out.size
    if op == ADD:
        for t in range(n):
            out[t] = x[t] + y[t]
    elif op == SUB:
        for t in range(n):
            out[t] = x[t] - y[t]
    elif op == MUL:
        for t in range(n):
            out[t] = x[t] * y[t]
    elif op == DIV:
        for t in range(n):
            out[t] = x[t] / y[t]
    elif op == MAX:  # of those that are known
        for t in range(n):
            out[t] = x[t] if x[t] >= y[t] or y[t] != y[t] else y[t]
    elif op == MIN:
        for t in range(n):
            out[t] = x[t] if x[t] <= y[t] or y[t] != y[t] else y[t]
    elif op == ATLEAST:
        for t in range(n):
            out[t] = y[t] if x[t] < y[t] else x[t]
    elif op == ATMOST:
        for t in range(n):
            out[t] = y[t] if x[t] > y[t] else x[t]
    elif op == FILL:
        for t in range(n):
            out[t] = x[t] if x[t] == x[t] else y[t]
    elif op == ABS:
        for t in range(n):
            out[t] = abs(x[t])
    else:
        for t in range(n):
            out[t] = -x[t]


@njit
def _smooth(out: Floats, x: Floats, alpha: float, least: float, state: Floats) -> None:
    """m += alpha·(x − m), which nulls pass by; null before it has seen `least` values."""
    mean, seen = state[0], state[1]
    for t in range(x.size):
        if x[t] == x[t]:
            mean = x[t] if seen == 0.0 else mean + alpha * (x[t] - mean)
            seen += 1.0
            out[t] = mean if seen >= least else np.nan
        else:
            out[t] = np.nan
    state[0], state[1] = mean, seen


@njit
def _seeded(out: Floats, x: Floats, alpha: float, period: float, state: Floats) -> bool:
    """The same from the mean of the first `period` values; False where one of them is missing."""
    mean, seen, total, error = state[0], state[1], state[2], state[3]
    t = 0
    while t < x.size and seen < period:
        out[t] = np.nan
        if x[t] == x[t]:
            seen += 1.0
            left = x[t] - error  # Kahan's sum, as in a rolling mean
            added = total + left
            error, total = (added - total) - left, added
            if seen == period:
                mean = total / period
                out[t] = mean
        elif seen > 0.0:
            return False
        t += 1
    for k in range(t, x.size):
        if x[k] == x[k]:
            mean += alpha * (x[k] - mean)
            out[k] = mean
        else:
            out[k] = np.nan
    state[0], state[1], state[2], state[3] = mean, seen, total, error
    return True


@njit
def _two(
    out: Floats,
    x: Floats,
    alpha: float,
    state: Floats,
    out2: Floats,
    x2: Floats,
    alpha2: float,
    state2: Floats,
) -> None:
    """Two that have begun, side by side: each alone leaves the processor waiting for its own last step."""
    one, two = state[0], state2[0]
    for t in range(x.size):
        a, b = x[t], x2[t]
        if a == a and b == b:
            one += alpha * (a - one)
            two += alpha2 * (b - two)
            out[t], out2[t] = one, two
            continue
        if a == a:
            one += alpha * (a - one)
        if b == b:
            two += alpha2 * (b - two)
        out[t] = one if a == a else np.nan
        out2[t] = two if b == b else np.nan
    state[0], state2[0] = one, two


@njit_inlined
def _paired(code: Ints, numbers: Floats, states: Floats, k: int) -> bool:
    """Whether an operation and the next are recursions that can go side by side."""
    if k + 1 >= code.shape[0] or code[k + 1, OP] != code[k, OP] or code[k + 1, A] == code[k, TO]:
        return False
    return bool(states[k, 1] >= numbers[k, 1] and states[k + 1, 1] >= numbers[k + 1, 1])


@njit
def _follow(out: Floats, middle: Floats, span: Floats, close: Floats, multiple: float, state: Floats) -> None:
    """The band of a SuperTrend; see `strategies.indicators.trend`."""
    upper, lower, bullish, begun, before = state[0], state[1], state[2] != 0.0, state[3] != 0.0, state[4]
    for t in range(out.size):
        if span[t] != span[t]:
            out[t] = np.nan
            before = close[t]
            continue
        new_upper, new_lower = middle[t] + multiple * span[t], middle[t] - multiple * span[t]
        if not begun:
            bullish, upper, lower, begun = close[t] >= middle[t], new_upper, new_lower, True
        if new_upper < upper or before > upper:
            upper = new_upper
        if new_lower > lower or before < lower:
            lower = new_lower
        bullish = close[t] > (lower if bullish else upper)
        out[t] = lower if bullish else upper
        before = close[t]
    state[0], state[1], state[2], state[3] = upper, lower, 1.0 if bullish else 0.0, 1.0 if begun else 0.0
    state[4] = before


@njit
def _condition(op: int, out: Bytes, x: Bytes, y: Bytes, number: float, kept: Bytes) -> None:
    n = out.size
    if op == AND:
        for t in range(n):
            out[t] = (x[t] & y[t] & np.uint8(1)) | ((x[t] | y[t]) & np.uint8(2))
    elif op == OR:
        for t in range(n):
            out[t] = ((x[t] | y[t]) & np.uint8(1)) | (x[t] & y[t] & np.uint8(2))
    elif op == NOT:
        for t in range(n):
            out[t] = (x[t] >> np.uint8(1)) | ((x[t] & np.uint8(1)) << np.uint8(1))
    elif op == FILLCONDITION:
        code = np.uint8(1) if number != 0.0 else np.uint8(2)
        for t in range(n):
            out[t] = x[t] if x[t] != np.uint8(0) else code
    elif op == KNOWN:
        out[:] = np.uint8(1) if number != 0.0 else np.uint8(2)
    else:  # shifted: what is kept is the end of the block before
        rows = int(number)
        for t in range(min(rows, n)):
            out[t] = kept[t]
        for t in range(rows, n):
            out[t] = x[t - rows]
        if n >= rows:
            kept[:rows] = x[n - rows : n]


@njit
def _compared(op: int, out: Bytes, x: Floats, y: Floats) -> None:
    n = out.size
    if op == GT:
        for t in range(n):
            out[t] = np.uint8(x[t] > y[t]) | (np.uint8(x[t] <= y[t]) << np.uint8(1))
    elif op == EQ:
        for t in range(n):
            out[t] = np.uint8(x[t] == y[t]) | (np.uint8((x[t] < y[t]) | (x[t] > y[t])) << np.uint8(1))
    else:
        for t in range(n):
            out[t] = np.uint8(x[t] == x[t]) | (np.uint8(x[t] != x[t]) << np.uint8(1))


@njit
def _from_past(
    op: int, out: Floats, x: Floats, y: Floats, z: Floats, begin: int, one: float, two: float, state: Floats
) -> bool:
    """Operations that depend on where they are; whether it is well."""
    if op == NUMBER:
        if begin == 0:  # the register is its own
            out[:] = one
    elif op == SMOOTH:
        _smooth(out, x, one, two, state)
    elif op == SEEDED:
        return _seeded(out, x, one, two, state)
    elif op == FOLLOW:
        _follow(out, x, y, z, one, state)
    else:
        fine = True
        for t in range(x.size):
            fine &= (abs(x[t]) < np.inf) | (begin + t < one)
            out[t] = x[t]
        return fine
    return True


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
                _condition(op, conditions[to, :size], conditions[a], conditions[b], numbers[k, 0], kept[k])
        elif op >= GT:
            x = _operand(columns, registers, a, begin, end)
            _compared(op, conditions[to, :size], x, _operand(columns, registers, b, begin, end))
        elif op in (SMOOTH, SEEDED) and _paired(code, numbers, states, k):
            out, x = _operand(columns, registers, to, begin, end), _operand(columns, registers, a, begin, end)
            k += 1
            _two(
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
                    _arithmetic(op, out, x, y)
                else:
                    z = _operand(columns, registers, c, begin, end)
                    fine &= _from_past(op, out, x, y, z, begin, numbers[k, 0], numbers[k, 1], states[k])
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
        ups, downs = flags[0], flags[1]
        for t in range(end - begin):
            sell[begin + t] = downs[t] & np.uint8(1)
            buy[begin + t] = ups[t] & ~downs[t] & np.uint8(1)
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
    fill_next: bool,
    fee: float,
    slippage: float,
    pays_in_quote: bool,
    candle_ms: int,
    fills: Floats,
    close: Floats,
    close_ms: Ints,
    sums: Floats,
    squares: Floats,
    near: Floats,
    far: Floats,
    higher: Ints,
    day: Ints,
    day_end: Ints,
) -> None:
    """Walk each program's signals into its row of the states; the arrays are those of `events`."""
    size = (columns.shape[1] + 7) // 8 * 8
    for p in numba.prange(starts.size - 1):
        buy, sell = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        own, own_numbers = code[starts[p] : starts[p + 1]], numbers[starts[p] : starts[p + 1]]
        if signals(own, own_numbers, registers, conditions, columns, warmups[p], buy, sell):
            walk_flags(states[p], wholes[p], buy, sell, warm, fill_next, fee, slippage, pays_in_quote,
                       candle_ms, fills, close, close_ms, sums, squares, near, far, higher, day,
                       day_end)  # fmt: skip
        else:
            fine[p] = 0


@njit
def streak(values: Floats, out: Floats) -> None:
    """How many values in a row are the same up to this one; null where it is null."""
    run = 0.0
    for t in range(values.size):
        run = run + 1.0 if t > 0 and values[t] == values[t - 1] else 1.0
        out[t] = run if values[t] == values[t] else np.nan
