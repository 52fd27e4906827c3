"""What the strategies that ship do on candles made for it."""

from datetime import UTC, datetime, timedelta
from math import ceil, log

import polars as pl
import pytest

from core.errors import BadInput
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from strategies import registry
from strategies.evaluate import evaluate


def candles_of(closes: list[float], hours: int = 1) -> pl.DataFrame:
    """Candles that open at the close before and have 0.1 of room above and below."""
    opens = [closes[0], *closes[:-1]]
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "timestamp": [begin + timedelta(hours=hours * (n + 1)) for n in range(len(closes))],
            "open": opens,
            "high": [max(pair) + 0.1 for pair in zip(opens, closes, strict=True)],
            "low": [min(pair) - 0.1 for pair in zip(opens, closes, strict=True)],
            "close": closes,
            "volume": [1.0] * len(closes),
        }
    ).with_columns(pl.col("timestamp").cast(pl.Datetime("us", "UTC")))


def rows(judged: pl.DataFrame, side: str) -> list[int]:
    """Candles with that signal."""
    return judged[side].arg_true().to_list()


def test_a_breakout_is_bought_and_left_by_the_stop_before_the_channel() -> None:
    """The close above the channel buys; a fall of some average ranges from the high sells, though the
    channel's low is far below; with a wide stop the channel decides."""
    flat, rise = [100.0] * 12, [101.0, 102.0, 103.0, 104.0, 105.0, 106.0]
    closes = [*flat, *rise, 103.0, 102.5, 99.0, 98.0]
    near = {"entry_period": 5, "exit_period": 8, "atr_period": 5, "stop_distance": 2.0}
    judged = evaluate(registry.build("donchian_breakout", near), candles_of(closes))
    assert rows(judged, "buy")[0] == 12
    assert rows(judged, "sell")[0] == 18
    wide = registry.build("donchian_breakout", near | {"stop_distance": 20.0})
    assert rows(evaluate(wide, candles_of(closes)), "sell")[0] == 20


CALM = [100.0 + 0.01 * (n % 2) for n in range(20)]
WILD = [100.0 + 3.0 * (n % 2) for n in range(20)]


def test_volatility_sells_and_buys_at_its_steps() -> None:
    """It buys where volatility stays in its step, and sells where it has entered another one."""
    strategy = registry.build("volatility_target", {"period": 5, "target": 0.3, "band": 0.5}, "1h")
    judged = evaluate(strategy, candles_of([*CALM, *WILD, *CALM]))
    step = [max(0, ceil(log(v / 0.3) / log(1.5))) if v else None for v in judged["volatility"]]
    moved = [n for n in range(1, 60) if None not in (step[n - 1], step[n]) and step[n - 1] != step[n]]
    assert moved and 21 in moved
    assert rows(judged, "sell") == moved
    assert rows(judged, "buy") == [n for n in range(6, 60) if n not in moved]
    assert judged["confidence"][10] == 1.0
    assert 0.05 < judged["confidence"][30] < 1.0


def test_volatility_scales_the_position() -> None:
    """Everything is spent on calm candles, and target / volatility of the account on wild ones, unless the
    risk block says otherwise; the result shows the sizing that was used."""
    market = {"strategy": "volatility_target", "symbol": "BTC-USDT", "timeframe": "1h", "fee": 0.0}
    parameters = {"period": 5, "target": 0.3, "band": 0.5}
    candles = candles_of([*CALM, *WILD, *WILD])
    found = execute(BacktestRequest(parameters=parameters, **market), candles=candles)
    judged = evaluate(registry.build("volatility_target", parameters, "1h"), candles)
    part, first, last = (
        judged["confidence"],
        found.trades.row(0, named=True),
        found.trades.row(-1, named=True),
    )
    assert first["quantity"] * first["entry_price"] == pytest.approx(10_000)
    decided = candles["timestamp"].index_of(last["entry_time"])
    assert decided is not None and part[decided] < 0.5
    cash = 10_000 + float(found.trades["pnl"].head(-1).sum())
    assert last["quantity"] * last["entry_price"] == pytest.approx(cash * part[decided])
    assert found.to_document()["risk"] == {"sizing": "volatility", "size": 0.3, "volatility_candles": 5}
    given = {"sizing": "percent", "size": 1}
    whole = execute(BacktestRequest(parameters=parameters, risk=given, **market), candles=candles)
    last = whole.trades.row(-1, named=True)
    cash = 10_000 + float(whole.trades["pnl"].head(-1).sum())
    assert last["quantity"] * last["entry_price"] == pytest.approx(cash)


def test_the_grid_buys_rungs_down_and_sells_rungs_up() -> None:
    """Each rung counts once; small moves within a rung are not traded; a jump over rungs is one signal."""
    closes = [100.0, 98.9, 99.5, 97.9, 98.9, 100.1, 99.5, 95.0, 100.0]
    strategy = registry.build("grid_trading", {"spacing": 0.01, "session_hours": 24}, "1h")
    judged = evaluate(strategy, candles_of(closes))
    assert rows(judged, "buy") == [1, 3, 7]
    assert rows(judged, "sell") == [5, 8]
    assert judged["rung"].to_list() == [0, -1, -1, -2, -2, 0, 0, -5, 0]
    assert set(judged["middle"]) == {100.0}
    deeper = registry.build("grid_trading", {"spacing": 0.01, "first_rung": 3}, "1h")
    assert rows(evaluate(deeper, candles_of(closes)), "buy") == [7]


def test_the_grid_is_laid_anew_after_its_session() -> None:
    """The first candle that opens in the next session has its own open as the middle."""
    closes = [100.0, 98.0, 96.0, 94.0, 93.0, 93.0]
    strategy = registry.build("grid_trading", {"spacing": 0.01, "session_hours": 4}, "1h")
    judged = evaluate(strategy, candles_of(closes))
    assert judged["middle"].to_list() == [100.0] * 4 + [94.0] * 2
    with pytest.raises(BadInput, match="4 hours"):
        registry.build("grid_trading", {"session_hours": 4}, "4h")
