"""The path inside candles, read from the database: minutes or trades decide what came first."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, text

from core.candles import Candle
from core.errors import BadInput, Unavailable
from core.timeframes import Timeframe
from core.trades import Side, Trade
from pipelines.backtest.intrabar import path_from_warehouse
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from pipelines.lake.archive import archive_raw_trades
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.trades import copy_trades
from strategies.columns import resample
from strategies.sample import sample_candles

pytestmark = pytest.mark.servers
STOPS = {"stop_loss": 0.003, "take_profit": 0.003}
NAMES = ("open", "high", "low", "close", "volume")


def _exact(frame: pl.DataFrame, timeframe: Timeframe) -> list[Candle]:
    rows = frame.with_columns(at=pl.col("timestamp").dt.epoch("ms")).iter_rows(named=True)
    return [
        Candle("BTC-USDT", timeframe, row["at"], *(Decimal(str(row[name])) for name in NAMES)) for row in rows
    ]


def _trades(minutes: list[Candle]) -> list[Trade]:
    trades = []
    for minute in minutes:
        for n, price in enumerate((minute.open, minute.low, minute.high, minute.close)):
            if minute.volume > 0:
                at_ms, size = minute.open_ms + 15_000 * n, minute.volume / 4
                trades.append(Trade("BTC-USDT", len(trades) + 1, at_ms, price, size, Side.BUY))
    return trades


@pytest.fixture
def market(database_url: str) -> tuple[str, pl.DataFrame, pl.DataFrame]:
    """Quarters, the minutes of all of them and the trades of the first half, stored; and both as frames."""
    rounded = pl.col("open", "high", "low", "close").round(2)
    minutes = sample_candles(15 * 96).with_columns(rounded, pl.col("volume").round(4))
    quarters = resample(minutes, Timeframe.M15, Timeframe.M1).with_columns(pl.col("volume").round(4))
    exact = _exact(minutes, Timeframe.M1)
    engine: Engine = engine_of(database_url)
    with engine.begin() as connection:
        upsert_candles(connection, [*exact, *_exact(quarters, Timeframe.M15)])
        copy_trades(connection, _trades(exact[: 15 * 48]))
    engine.dispose()
    return database_url, quarters, minutes


def _run(url: str | None, candles: pl.DataFrame | None = None, **options: Any) -> Any:
    request = BacktestRequest(
        strategy="ema_crossover",
        parameters={"fast_period": 3, "slow_period": 8},
        symbol="BTC-USDT",
        timeframe="15m",
        risk=STOPS,
        **options,
    )
    return execute(request, url, candles, save=False)


def test_minutes_and_trades_are_laid_under_candles(market: tuple[str, pl.DataFrame, pl.DataFrame]) -> None:
    """With minutes every candle is decided by its path, with trades those of which trades are stored; the
    others by the worse order."""
    url, _, _ = market
    whole = _run(url, execution={})
    fine = _run(url, execution={"intrabar": "1m"})
    half = _run(url, execution={"intrabar": "trades"})
    assert (whole.outcome.covered, fine.outcome.covered, half.outcome.covered) == (0, 96, 48)
    assert whole.trades.height > 2
    exits = [result.trades["exit_time"].to_list() for result in (whole, fine, half)]
    assert exits[0] != exits[1] and exits[1] != exits[2]
    assert half.to_document()["intrabar_candles"] == 48
    seconds = half.trades.filter(pl.col("exit_reason").is_in(["stop_loss", "take_profit"]))["exit_time"]
    assert (seconds.dt.second() != 0).any()


def test_archived_trades_are_as_good_as_stored_ones(
    market: tuple[str, pl.DataFrame, pl.DataFrame], tmp_path: Path
) -> None:
    """Days of which the lake alone has the trades, or both have some, give the path that the database gave;
    a file that is lost is an error, not a coarser path."""
    url, quarters, _ = market
    lake, own = str(tmp_path / "lake"), engine_of(url)
    close_ms = quarters["timestamp"].dt.epoch("ms")
    span = (int(close_ms[0]) - Timeframe.M15.ms, int(close_ms[-1]))

    def read() -> pl.DataFrame:
        return path_from_warehouse(url, lake, "BTC-USDT", "trades", *span)

    stored, days = read(), quarters["timestamp"].dt.date().unique().sort()
    assert stored.height > 1_000
    archive_raw_trades(url, lake, "BTC-USDT", days[0])
    assert read().equals(stored)
    with own.begin() as connection:
        connection.execute(text("DELETE FROM raw_trades WHERE trade_id % 3 = 0"))
    assert read().equals(stored)
    for day in days:
        archive_raw_trades(url, lake, "BTC-USDT", day, drop=True)
    with own.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM raw_trades")).scalar_one() == 0
    assert read().equals(stored)
    lost = next(Path(lake).rglob("*.parquet"))
    lost.unlink()
    with pytest.raises(Unavailable, match=r"of the lake cannot be read: .*tcp data verify"):
        read()


def test_what_cannot_lie_inside_is_refused(market: tuple[str, pl.DataFrame, pl.DataFrame]) -> None:
    """A path no finer than the candles, and one to be read without a database, are each one line."""
    url, quarters, _ = market
    for wrong in ("15m", "1h"):
        with pytest.raises(BadInput, match=f"{wrong} is not inside 15m candles"):
            _run(url, execution={"intrabar": wrong})
    with pytest.raises(BadInput, match="is read from the database"):
        _run(None, quarters, execution={"intrabar": "1m"})
    with pytest.raises(BadInput, match="'seconds' is not one of"):
        _run(url, execution={"intrabar": "seconds"})
