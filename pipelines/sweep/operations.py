"""Operations of the `machine` on a block of candles, in the arithmetic of Polars, to the last bit."""

import numpy as np
from numpy.typing import NDArray

from pipelines.backtest.account import Floats
from pipelines.backtest.compiled import njit

Bytes = NDArray[np.uint8]

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


@njit
def arithmetic(op: int, out: Floats, x: Floats, y: Floats) -> None:
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
def two_recursions(
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
def condition(op: int, out: Bytes, x: Bytes, y: Bytes, number: float, kept: Bytes) -> None:
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
        out[: min(rows, n)] = kept[: min(rows, n)]
        if n >= rows:
            out[rows:] = x[: n - rows]
            kept[:rows] = x[n - rows : n]


@njit
def compared(op: int, out: Bytes, x: Floats, y: Floats) -> None:
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
def from_past(
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


@njit
def streak(values: Floats, out: Floats) -> None:
    """How many values in a row are the same up to this one; null where it is null."""
    run = 0.0
    for t in range(values.size):
        run = run + 1.0 if t > 0 and values[t] == values[t - 1] else 1.0
        out[t] = run if values[t] == values[t] else np.nan
