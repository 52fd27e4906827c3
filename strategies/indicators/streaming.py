"""Indicators a candle at a time: the same numbers as their column form, within 1e-9.

    line = stream(ema(20))
    for candle in candles:
        value = line(candle)        # None before its warm-up

Every indicator has a streaming form. Those of the package keep a few numbers; any other one, such as one of
your own, is computed on its newest candles.
"""

from collections import deque
from collections.abc import Callable
from math import log
from typing import NamedTuple, Protocol

from core.timeframes import Timeframe
from strategies.indicators.base import Indicator
from strategies.indicators.running import (
    Before,
    Smooth,
    Window,
    deviation_of,
    highest,
    lowest,
    mean,
    mean_of,
    settled,
    total,
)


class Priced(Protocol):
    """What a candle has: `strategies.steps.Step`, `Bar` and others."""

    @property
    def close_ms(self) -> int: ...
    @property
    def open(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def close(self) -> float: ...
    @property
    def volume(self) -> float: ...


class Bar(NamedTuple):
    """A candle, labelled by its close; prices in quote currency, volume in base currency."""

    close_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float


Stream = Callable[[Priced], float | None]


def stream(indicator: Indicator, own: Timeframe = Timeframe.M1) -> Stream:
    """A function that takes candles in order and gives the indicator's value at each.

    own: timeframe of the candles, which counts for indicators on a higher one
    """
    build = _FORMS.get(indicator.shipped or "")
    made = build(**dict(indicator.parameters)) if build else _on_newest(indicator)
    return made if indicator.timeframe is None else _on_higher(made, indicator.timeframe, own)


def _on_newest(indicator: Indicator) -> Stream:
    import polars as pl

    kept: deque[Bar] = deque(maxlen=indicator.memory)

    def value(bar: Priced) -> float | None:
        kept.append(Bar(bar.close_ms, bar.open, bar.high, bar.low, bar.close, bar.volume))
        frame = pl.DataFrame(list(kept), schema=list(Bar._fields), orient="row")
        timed = frame.with_columns(pl.from_epoch("close_ms", time_unit="ms").alias("timestamp"))
        found: float | None = timed.select(indicator.expression.fill_nan(None).alias("v"))["v"][-1]
        return found

    return value


def _on_higher(made: Stream, timeframe: Timeframe, own: Timeframe) -> Stream:
    """Feeds whole higher candles; the value stays until the next one closes."""
    bars: list[Priced] = []
    label = 0
    shown: float | None = None
    whole = False

    def close() -> None:
        nonlocal shown
        if bars and whole:
            high, low = max(bar.high for bar in bars), min(bar.low for bar in bars)
            volume = sum(bar.volume for bar in bars)
            shown = made(Bar(label, bars[0].open, high, low, bars[-1].close, volume))
        bars.clear()

    def value(bar: Priced) -> float | None:
        nonlocal label, whole
        now = timeframe.close_ms(bar.close_ms - 1)
        if now != label:
            begun_inside = label != 0 or bar.close_ms - own.ms <= now - timeframe.ms
            close()
            label, whole = now, begun_inside
        bars.append(bar)
        if bar.close_ms == label:
            close()
        return shown

    return value


def _sma(period: int, source: str) -> Stream:
    line = mean(period)
    return lambda bar: _settled(line.push(getattr(bar, source)))


def _wma(period: int, source: str) -> Stream:
    weights = period * (period + 1) / 2
    line = Window(period, lambda values: sum((n + 1) * v for n, v in enumerate(values)) / weights)
    return lambda bar: _settled(line.push(getattr(bar, source)))


def _ema(period: int, source: str, seed: str) -> Stream:
    line = Smooth(2 / (period + 1), period, seed)
    return lambda bar: line.push(getattr(bar, source))


def _rsi(period: int) -> Stream:
    before, gain, loss = Before(), Smooth(1 / period, period), Smooth(1 / period, period)

    def value(bar: Priced) -> float | None:
        last = before.push(bar.close)
        change = None if last is None else bar.close - last
        up = gain.push(None if change is None else max(change, 0.0))
        down = loss.push(None if change is None else max(-change, 0.0))
        if up is None or down is None:
            return None
        return 50.0 if up + down == 0 else 100 * up / (up + down)

    return value


def _macd(fast_period: int, slow_period: int, seed: str) -> Stream:
    fast, slow = _ema(fast_period, "close", seed), _ema(slow_period, "close", seed)

    def value(bar: Priced) -> float | None:
        one, two = fast(bar), slow(bar)
        return None if one is None or two is None else one - two

    return value


def _macd_signal(fast_period: int, slow_period: int, signal_period: int, seed: str) -> Stream:
    line, signal = _macd(fast_period, slow_period, seed), Smooth(2 / (signal_period + 1), signal_period, seed)
    return lambda bar: signal.push(line(bar))


def _fast_k(period: int) -> Stream:
    top, bottom = highest(period), lowest(period)

    def value(bar: Priced) -> float | None:
        high, low = top.push(bar.high), bottom.push(bar.low)
        if high is None or low is None:
            return None
        return 50.0 if high == low else 100 * (bar.close - low) / (high - low)

    return value


def _stochastic_k(period: int, smoothing: int) -> Stream:
    fast, slow = _fast_k(period), mean(smoothing)
    return lambda bar: slow.push(fast(bar))


def _stochastic_d(period: int, smoothing: int, signal_period: int) -> Stream:
    slow, signal = _stochastic_k(period, smoothing), mean(signal_period)
    return lambda bar: signal.push(slow(bar))


def _true_range() -> Stream:
    before = Before()

    def value(bar: Priced) -> float | None:
        last = before.push(bar.close)
        if last is None:
            return None
        return max(bar.high - bar.low, abs(bar.high - last), abs(bar.low - last))

    return value


def _atr(period: int) -> Stream:
    span, line = _true_range(), Smooth(1 / period, period)
    return lambda bar: line.push(span(bar))


def _directional(period: int, upwards: bool) -> Stream:
    high_before, low_before, span = Before(), Before(), _atr(period)
    line = Smooth(1 / period, period)

    def value(bar: Priced) -> float | None:
        high, low, width = high_before.push(bar.high), low_before.push(bar.low), span(bar)
        if high is None or low is None:
            return None
        up, down = bar.high - high, low - bar.low
        ahead, behind = (up, down) if upwards else (down, up)
        moved = line.push(ahead if ahead > behind and ahead > 0 else 0.0)
        if moved is None or width is None:
            return None
        return 0.0 if width == 0 else 100 * moved / width

    return value


def _adx(period: int) -> Stream:
    plus, minus = _directional(period, True), _directional(period, False)
    line = Smooth(1 / period, period)

    def value(bar: Priced) -> float | None:
        up, down = plus(bar), minus(bar)
        if up is None or down is None:
            return line.push(None)
        return line.push(0.0 if up + down == 0 else 100 * abs(up - down) / (up + down))

    return value


def _supertrend(period: int, multiple: float) -> Stream:
    span = _atr(period)
    upper = lower = last = 0.0
    bullish, begun = True, False

    def value(bar: Priced) -> float | None:
        nonlocal upper, lower, last, bullish, begun
        width, before, last = span(bar), last, bar.close
        if width is None:
            return None
        middle = (bar.high + bar.low) / 2
        above, below = middle + multiple * width, middle - multiple * width
        if not begun:
            bullish, upper, lower, begun = bar.close >= middle, above, below, True
        upper = above if above < upper or before > upper else upper
        lower = below if below > lower or before < lower else lower
        bullish = bar.close > (lower if bullish else upper)
        return lower if bullish else upper

    return value


def _stdev(period: int) -> Stream:
    line = Window(period, deviation_of)
    return lambda bar: line.push(bar.close)


def _bollinger(period: int, deviations: float) -> Stream:
    line = Window(period, lambda values: settled(mean_of(values) + deviations * deviation_of(values)))
    return lambda bar: line.push(bar.close)


def _keltner(period: int, multiple: float, atr_period: int) -> Stream:
    middle, span = _ema(period, "close", "mean"), _atr(atr_period)

    def value(bar: Priced) -> float | None:
        line, width = middle(bar), span(bar)
        return None if line is None or width is None else line + multiple * width

    return value


def _donchian_upper(period: int) -> Stream:
    before, line = Before(), highest(period)
    return lambda bar: line.push(before.push(bar.high))


def _donchian_lower(period: int) -> Stream:
    before, line = Before(), lowest(period)
    return lambda bar: line.push(before.push(bar.low))


def _chandelier_stop(period: int, atr_period: int, distance: float) -> Stream:
    top, span = highest(period), _atr(atr_period)

    def value(bar: Priced) -> float | None:
        high, width = top.push(bar.high), span(bar)
        return None if high is None or width is None else high - distance * width

    return value


def _realised_volatility(period: int, candles_a_year: float) -> Stream:
    before, line = Before(), Window(period, lambda values: deviation_of(values, 1))

    def value(bar: Priced) -> float | None:
        last = before.push(bar.close)
        spread = line.push(None if last is None else log(bar.close / last))
        return None if spread is None else spread * candles_a_year**0.5

    return value


def _obv() -> Stream:
    before, sum_ = Before(), 0.0

    def value(bar: Priced) -> float | None:
        nonlocal sum_
        last = before.push(bar.close)
        if last is not None and bar.close != last:
            sum_ += bar.volume if bar.close > last else -bar.volume
        return sum_

    return value


def _vwap_anchored() -> Stream:
    money = traded = 0.0

    def value(bar: Priced) -> float | None:
        nonlocal money, traded
        money += _typical(bar) * bar.volume
        traded += bar.volume
        return money / traded if traded > 0 else None

    return value


def _vwap(period: int) -> Stream:
    money, traded = total(period), total(period)

    def value(bar: Priced) -> float | None:
        paid, volume = money.push(_typical(bar) * bar.volume), traded.push(bar.volume)
        return paid / volume if paid is not None and volume else None

    return value


def _typical(bar: Priced) -> float:
    return (bar.high + bar.low + bar.close) / 3


def _settled(value: float | None) -> float | None:
    return None if value is None else settled(value)


_FORMS: dict[str, Callable[..., Stream]] = {
    "sma": _sma,
    "wma": _wma,
    "ema": _ema,
    "rsi": _rsi,
    "macd": _macd,
    "macd_signal": _macd_signal,
    "stochastic_k": _stochastic_k,
    "stochastic_d": _stochastic_d,
    "atr": _atr,
    "plus_di": lambda period: _directional(period, True),
    "minus_di": lambda period: _directional(period, False),
    "adx": _adx,
    "supertrend": _supertrend,
    "stdev": _stdev,
    "bollinger_upper": _bollinger,
    "bollinger_lower": lambda period, deviations: _bollinger(period, -deviations),
    "keltner_upper": _keltner,
    "keltner_lower": lambda period, multiple, atr_period: _keltner(period, -multiple, atr_period),
    "donchian_upper": _donchian_upper,
    "donchian_lower": _donchian_lower,
    "chandelier_stop": _chandelier_stop,
    "realised_volatility": _realised_volatility,
    "obv": _obv,
    "vwap_anchored": _vwap_anchored,
    "vwap": _vwap,
}
