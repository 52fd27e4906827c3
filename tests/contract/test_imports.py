"""Candles of files, put into the warehouse: every number, none over other ones, none that is not over."""

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import text

from core.candles import Candle
from core.errors import BadInput
from core.timeframes import Timeframe
from pipelines.backfill.imports import import_candles
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.coverage import candle_totals
from pipelines.warehouse.database import engine
from pipelines.warehouse.health import beat

pytestmark = pytest.mark.servers

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
NOW_MS = 1_789_000_000_000
END_MS = NOW_MS - NOW_MS % DAY
SYMBOL = "BTC-USDT"


@pytest.mark.real_data
def test_an_import_keeps_every_number(database_url: str, shared_data: Path):
    """A file labelled by the open is stored by the close, digit for digit; a repeat changes nothing."""
    path = shared_data / "candles" / "btcusdt_1m.csv"
    report = import_candles(database_url, path, "binance", SYMBOL, "1m", "open", now_ms=NOW_MS)
    raw = pl.read_csv(path, infer_schema_length=0)
    assert (report.rows, report.new, report.replaced) == (raw.height, raw.height, 0)
    query = "SELECT timestamp, open, close, volume FROM market_data WHERE exchange = 'binance' ORDER BY 1"
    with engine(database_url).connect() as connection:
        rows = connection.execute(text(query)).all()
    times = raw[raw.columns[0]].cast(pl.Int64)
    assert [round(r.timestamp.timestamp() * 1000) for r in rows] == (times + MINUTE).to_list()
    for name in ("open", "close", "volume"):
        found = [f"{getattr(r, name):f}".rstrip("0").rstrip(".") for r in rows]
        assert found == [t.rstrip("0").rstrip(".") if "." in t else t for t in raw[name]]
    again = import_candles(database_url, path, "binance", SYMBOL, "1m", "open", now_ms=NOW_MS)
    assert (again.new, again.replaced) == (0, 0)


def test_an_import_puts_nothing_over_other_numbers_unless_told(database_url: str, tmp_path: Path):
    """Stored candles that differ are counted and named, and nothing of the file is stored; those that are
    provisional are completed; with `replace` the file's numbers stand, and the report says how many."""
    path = tmp_path / "candles.csv"
    times = [END_MS - n * MINUTE for n in (3, 2, 1, 0)]
    rows = [f"{at},1,2,0.5,1.5,7" for at in times]
    path.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]))
    numbers = [Decimal(n) for n in ("1", "2", "0.5", "1.5", "8.000000000000000001")]
    ours = [Candle(SYMBOL, Timeframe.M1, at, *numbers, provisional=at == times[0]) for at in times[:3]]
    with engine(database_url).begin() as connection:
        upsert_candles(connection, ours)

    def volumes() -> list[Decimal]:
        with engine(database_url).connect() as connection:
            return list(
                connection.execute(text("SELECT volume FROM market_data ORDER BY timestamp")).scalars()
            )

    with pytest.raises(BadInput, match=r"2 of its candles .* ends at 2026-09-09T23:58:00Z: .* --replace"):
        import_candles(database_url, path, "okx", SYMBOL, "1m", now_ms=NOW_MS)
    assert volumes() == [numbers[-1]] * 3
    report = import_candles(database_url, path, "okx", SYMBOL, "1m", replace=True, now_ms=NOW_MS)
    assert (report.rows, report.new, report.replaced) == (4, 2, 2) and volumes() == [7] * 4


def test_an_import_refuses_what_is_not_over(database_url: str, tmp_path: Path):
    """A candle that ends after the present is named with file, line and remedy, and nothing of the file is
    stored; the same goes for the last candle made of shorter ones. Where the exchange's clock is ahead of
    this machine's, it is the present."""
    path = tmp_path / "candles.csv"
    times = [END_MS - 2 * MINUTE, END_MS - MINUTE, END_MS + MINUTE]
    rows = [f"{at},1,2,0.5,1.5,7" for at in times]
    path.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]))

    def load(now_ms: int, timeframe: str = "1m", aggregate: bool = False) -> int:
        options = ("binance", SYMBOL, timeframe, "close", 0, aggregate)
        return import_candles(database_url, path, *options, now_ms=now_ms).rows

    with pytest.raises(
        BadInput, match=r"candles.csv: line 4: .* and it is 2026-09-10T00:00:59Z: leave out"
    ) as no:
        load(END_MS + MINUTE - 1)
    assert "--timestamps and --offset" in str(no.value)
    with pytest.raises(
        BadInput, match=r"candles.csv: the last candle ends at 2026-09-10T01:00:00Z, .* the rows"
    ):
        load(END_MS + HOUR - 1, "1h", aggregate=True)
    assert candle_totals(engine(database_url)) == []
    beat(engine(database_url), "collector", END_MS, END_MS + MINUTE, {})
    assert load(END_MS) == 3
