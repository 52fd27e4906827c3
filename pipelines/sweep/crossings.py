"""Sweeps of strategies that trade the crossing of two lines: no signal columns, only the lines."""

from collections.abc import Callable, Iterator

import numpy as np

from core.timeframes import Timeframe
from pipelines.backtest.account import Floats, Ints
from pipelines.backtest.candles import Stretch
from pipelines.backtest.request import Market
from pipelines.sweep.lines import LINES_BYTES, Pair, compute, crossing_pair, lines_at_once, parts
from pipelines.sweep.prices import Prices
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.walk import Costs
from strategies.base import Strategy
from strategies.indicators.base import Indicator

COMBINATIONS_AT_ONCE = 2_000
"""Combinations between two reports of progress."""


def walk_pairs(
    pairs: list[Pair],
    warmups: Ints,
    piece: Stretch,
    prices: Prices,
    request: SweepRequest,
    floats: Floats,
    integers: Ints,
    report: Callable[[int, int], None],
) -> bool:
    """Walk every pair into its row of the states; False, with the states spoilt, when a line has holes, or
    few pairs share one: such lines are computed on the way. warmups: candles before each strategy may signal,
    which are more than its two lines need where it has other ones, or a longer look-back."""
    from pipelines.sweep.events import finish_all

    number: dict[Indicator, int] = {}
    chosen = np.array([[number.setdefault(line, len(number)) for line in pair] for pair in pairs], np.int64)
    if len(number) > max(2, len(pairs) // 2):
        return False
    periods = [_plain_ema(line) for line in number]
    if None not in periods:
        spans = np.array(periods, np.float64)
        _walk_emas(chosen, warmups, spans, piece, prices, request, floats, integers, report)
    elif not _walk_computed(pairs, warmups, piece, prices, request, floats, integers, report):
        return False
    finish_all(floats, integers, costs(request), prices)
    return True


def costs(request: Market) -> Costs:
    """Of a fill, as the kernels want them."""
    return Costs(request.fee, request.slippage, request.pays_in_quote)


def cannot_look_ahead(strategy: Strategy) -> bool:
    """Whether all it does is to trade the crossings of lines that the kernel itself runs from candle to
    candle."""
    pair = crossing_pair(strategy)
    return pair is not None and None not in (_plain_ema(pair[0]), _plain_ema(pair[1]))


def _plain_ema(indicator: Indicator) -> int | None:
    """Its period, if it is an EMA of the strategy's own closes that the kernel can run itself."""
    if indicator.shipped != "ema" or indicator.timeframe is not None:
        return None
    parameters = dict(indicator.parameters)
    plain = parameters["source"] == "close" and parameters["seed"] == "first"
    return int(parameters["period"]) if plain else None


def _begins(chosen: Ints, known: Ints, warmups: Ints) -> Ints:
    """Of each combination, the first candle that may signal; known: of each line, its first value. The candle
    before a crossing has both lines, too."""
    begins: Ints = np.maximum(known[chosen].max(axis=1) + 1, warmups - 1)
    return begins


def _walk_emas(
    chosen: Ints,
    warmups: Ints,
    periods: Floats,
    piece: Stretch,
    prices: Prices,
    request: SweepRequest,
    floats: Floats,
    integers: Ints,
    report: Callable[[int, int], None],
) -> None:
    """All combinations through one stretch of candles after the other, so that the lines of a stretch, not
    of the whole history, are in memory, and each is computed once however many combinations there are."""
    import numba

    from pipelines.sweep.events import BLOCK, ema_lines, walk_crossings

    count = chosen.shape[0]
    groups = min(count, 4 * numba.get_num_threads())
    values = piece.candles["close"].to_numpy(writable=True)
    step = max(1, LINES_BYTES // 4 // (8 * periods.size * BLOCK)) * BLOCK
    lines = np.empty((periods.size, min(step, values.size) + 1))
    carried = np.zeros(periods.size)
    alphas, begins = 2 / (periods + 1), _begins(chosen, (periods - 1).astype(np.int64), warmups)
    for begin in range(0, values.size, step):
        end = min(begin + step, values.size)
        ema_lines(values, alphas, carried, lines, begin, end)
        walk_crossings(
            floats,
            integers,
            lines,
            begin - 1,
            end,
            chosen,
            groups,
            begins,
            piece.warm,
            costs(request),
            prices,
        )
        report(count * end // values.size, count)


def _walk_computed(
    pairs: list[Pair],
    warmups: Ints,
    piece: Stretch,
    prices: Prices,
    request: SweepRequest,
    floats: Floats,
    integers: Ints,
    report: Callable[[int, int], None],
) -> bool:
    import numba

    from pipelines.sweep.events import walk_crossings

    done, total = 0, piece.candles.height
    for part in parts(pairs, lines_at_once(total)):
        distinct = list(dict.fromkeys(indicator for n in part for indicator in pairs[n]))
        computed = compute(piece.candles, distinct, Timeframe(request.timeframe))
        if computed is None:
            return False
        number = {indicator: n for n, indicator in enumerate(distinct)}
        for some in _batches(part):
            rows = np.array(some)
            chosen = np.array([[number[i] for i in pairs[n]] for n in some], np.int64)
            states, wholes = floats[rows], integers[rows]
            groups = min(len(some), 4 * numba.get_num_threads())
            walk_crossings(
                states,
                wholes,
                computed[0],
                0,
                total,
                chosen,
                groups,
                _begins(chosen, computed[1], warmups[rows]),
                piece.warm,
                costs(request),
                prices,
            )
            floats[rows], integers[rows] = states, wholes
            done += len(some)
            report(done, len(pairs))
    return True


def _batches(numbers: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(numbers), COMBINATIONS_AT_ONCE):
        yield numbers[start : start + COMBINATIONS_AT_ONCE]
