"""Backtests and sweeps from and into a real PostgreSQL."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from sqlalchemy import func, select

from core.candles import Candle
from core.errors import BadInput
from core.timeframes import Timeframe
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from pipelines.backtest.saved import read_runs
from pipelines.backtest.store import EQUITY_POINTS, thinned
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import execute_sweep
from pipelines.warehouse import tables
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.database import engine
from strategies.sample import sample_candles

MARKET: dict[str, Any] = {"symbol": "BTC-USDT", "timeframe": "1m"}


@pytest.fixture
def candles(database_url: str) -> pl.DataFrame:
    """A thousand minutes, stored."""
    frame = sample_candles(1_000)
    rows = [
        Candle(
            symbol="BTC-USDT",
            timeframe=Timeframe.M1,
            close_ms=int(row["timestamp"].timestamp() * 1000),
            **{name: Decimal(str(row[name])) for name in ("open", "high", "low", "close", "volume")},
        )
        for row in frame.iter_rows(named=True)
    ]
    with engine(database_url).begin() as connection:
        upsert_candles(connection, rows)
    return frame


def test_the_database_gives_what_a_file_gives(database_url: str, candles: pl.DataFrame) -> None:
    """The same stretch from Postgres and from a frame has the same metrics and trades."""
    request = BacktestRequest(
        strategy="EMA_Crossover",
        start=candles["timestamp"][299],
        end=candles["timestamp"][899],
        parameters={"fast_period": 3, "slow_period": 9},
        **MARKET,
    )
    stored = execute(request, database_url)
    given = execute(request, candles=candles)
    assert stored.metrics == given.metrics
    assert stored.trades.equals(given.trades)
    assert stored.candles == given.candles == 600
    assert stored.warmup_candles == given.warmup_candles > 27
    assert stored.start == candles["timestamp"][299]
    assert stored.trades.height > 3


def test_a_run_is_kept_whole(database_url: str, candles: pl.DataFrame) -> None:
    """Run, signals, trades and equity are in their tables under the id of the result."""
    result = execute(
        BacktestRequest(strategy="rsi_reversion", parameters={"period": 5}, **MARKET), database_url
    )
    with engine(database_url).connect() as connection:
        run = connection.execute(select(tables.strategy_runs)).one()
        count = {
            table.name: connection.execute(
                select(func.count()).select_from(table).where(table.c.run_id == result.id)
            ).scalar_one()
            for table in (tables.strategy_signals, tables.backtest_trades, tables.backtest_equity)
        }
        trades = connection.execute(select(tables.backtest_trades).order_by("n")).all()
    assert run.id == result.id
    assert (run.kind, run.status, run.strategy_name) == ("backtest", "done", "rsi_reversion")
    assert run.parameters == result.parameters
    assert run.metrics == result.metrics
    assert run.final_value == result.final_value
    assert count["strategy_signals"] == result.signals.height > 0
    assert count["backtest_equity"] == 1_000
    assert [row.pnl for row in trades] == result.trades["pnl"].to_list()
    assert [row.entry_time for row in trades] == result.trades["entry_time"].to_list()
    assert read_runs([result.id], database_url)[0]["metrics"] == result.metrics


def test_nothing_is_kept_of_a_failed_run(database_url: str, candles: pl.DataFrame) -> None:
    """A stretch without candles is refused, and no row is written."""
    late = candles["timestamp"][-1] + timedelta(days=1)
    with pytest.raises(BadInput, match="no candles"):
        execute(BacktestRequest(strategy="buy_and_hold", start=late, **MARKET), database_url)
    with pytest.raises(BadInput, match="ETH-USDT"):
        execute(BacktestRequest(strategy="buy_and_hold", symbol="ETH-USDT", timeframe="1m"), database_url)
    with engine(database_url).connect() as connection:
        assert connection.execute(select(func.count()).select_from(tables.strategy_runs)).scalar_one() == 0


def test_a_sweep_is_kept_in_its_order(database_url: str, candles: pl.DataFrame) -> None:
    """A sweep's rows are in sweep_results, best first, and each equals the table that was returned."""
    grid: dict[str, Any] = {"fast_period": [2, 4, 30], "slow_period": [8, 20]}
    request = SweepRequest(strategy="ema_crossover", grid=grid, sort="total_return", **MARKET)
    table = execute_sweep(request, database_url, sweep_id="sweep1")
    with engine(database_url).connect() as connection:
        run = connection.execute(select(tables.strategy_runs)).one()
        rows = connection.execute(select(tables.sweep_results).order_by("n")).all()
    assert run.kind == "sweep"
    assert run.parameters["combinations"] == 4
    assert run.parameters["skipped"] == 2
    assert [row.sweep_id for row in rows] == ["sweep1"] * 4
    assert [row.metrics["total_return"] for row in rows] == table["total_return"].to_list()
    assert [row.parameters["fast_period"] for row in rows] == table["fast_period"].to_list()
    assert table["total_return"].is_sorted(descending=True)


def test_an_unknown_run_is_named(database_url: str) -> None:
    """Comparing a run that is not there names it."""
    with pytest.raises(BadInput, match="'nope' is not in the database"):
        read_runs(["nope"], database_url)


def test_a_thinned_curve_keeps_its_extremes() -> None:
    """A long equity curve is cut to what is kept, with its ends, its peak and its trough."""
    candles = sample_candles(60_000)
    curve = candles.select("timestamp", equity="close")
    kept = thinned(curve)
    assert kept.height <= EQUITY_POINTS
    assert kept["timestamp"].is_sorted()
    assert (kept["equity"].max(), kept["equity"].min()) == (curve["equity"].max(), curve["equity"].min())
    assert kept.row(0) == curve.row(0)
    assert kept.row(-1) == curve.row(-1)
