"""The seeded market: reproducible, without holes, and its candles exactly those of its trades."""

import hashlib
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from config.settings import PROJECT_ROOT
from pipelines.exchanges.sim.bars import BARS
from pipelines.exchanges.sim.days import DAY_MS, MINUTE_MS, DayTrades, roll_up
from pipelines.exchanges.sim.history import History
from pipelines.exchanges.sim.model import MarketModel
from pipelines.exchanges.sim.path import FIRST_DAY
from pipelines.exchanges.sim.specs import MODEL_SPECS, decimal_text

DAY = 20_600
SYMBOLS = [spec.symbol for spec in MODEL_SPECS]

FINGERPRINT = """
import hashlib
from pipelines.exchanges.sim.model import MarketModel
trades = MarketModel(3).day("SOL-USDT", 20600)
columns = (trades.ids, trades.ts, trades.price, trades.size)
print(hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest())
"""


def frame_of(trades: DayTrades) -> pl.DataFrame:
    return pl.DataFrame({"ts": trades.ts, "price": trades.price, "size": trades.size})


def independent(trades: pl.DataFrame, minutes: int) -> dict[int, tuple[int, ...]]:
    length = minutes * MINUTE_MS
    rows = (
        trades.with_columns(open_ms=pl.col("ts") // length * length, value=pl.col("price") * pl.col("size"))
        .group_by("open_ms", maintain_order=True)
        .agg(
            pl.col("price").first().alias("open"),
            pl.col("price").max().alias("high"),
            pl.col("price").min().alias("low"),
            pl.col("price").last().alias("close"),
            pl.col("size").sum(),
            pl.col("value").sum(),
            pl.len().alias("count"),
        )
    )
    return {row[0]: row[1:] for row in rows.rows()}


def test_the_same_seed_gives_the_same_day_in_another_process():
    """A history survives a restart: nothing in it depends on the process."""
    trades = MarketModel(3).day("SOL-USDT", DAY)
    columns = (trades.ids, trades.ts, trades.price, trades.size)
    here = hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", FINGERPRINT], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == here


def test_another_seed_gives_another_day():
    """The seed is what decides."""
    assert not np.array_equal(
        MarketModel(3).day("BTC-USDT", DAY).price[:100], MarketModel(4).day("BTC-USDT", DAY).price[:100]
    )


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_ids_are_consecutive_over_days_and_time_never_runs_back(symbol):
    """Three days in a row have one unbroken row of ids, each day's inside its bounds."""
    model = MarketModel(1)
    days = [model.day(symbol, DAY + offset) for offset in range(3)]
    ids = np.concatenate([trades.ids for trades in days])
    assert np.array_equal(ids, np.arange(ids[0], ids[0] + len(ids)))
    for offset, trades in enumerate(days):
        assert np.all(np.diff(trades.ts) >= 0)
        assert trades.ts[0] >= (DAY + offset) * DAY_MS and trades.ts[-1] < (DAY + offset + 1) * DAY_MS
        assert trades.price.min() > 0 and trades.size.min() > 0


@pytest.mark.parametrize("symbol", ["BTC-USDT", "ETC-USDT"])
def test_the_day_of_an_id_is_the_day_that_holds_it(symbol):
    """The closed formula and the generated days agree at both ends of days."""
    model = MarketModel(5)
    for day in (FIRST_DAY, FIRST_DAY + 1, DAY, DAY + 1):
        ids = model.day(symbol, day).ids
        assert model.day_of_id(symbol, int(ids[0])) == day
        assert model.day_of_id(symbol, int(ids[-1])) == day
    assert model.day(symbol, FIRST_DAY).ids[0] == 1


def test_prices_join_at_midnight_and_stay_in_a_realistic_band():
    """No jump over 1 % between days, and decades of prices within a factor of six of the level."""
    model = MarketModel(2)
    previous = int(model.day("BTC-USDT", DAY - 1).price[-1])
    for day in range(DAY, DAY + 5):
        trades = model.day("BTC-USDT", day)
        assert abs(int(trades.price[0]) / previous - 1) < 0.01
        previous = int(trades.price[-1])
    levels = [int(model.day("ETC-USDT", day).price[0]) for day in range(FIRST_DAY, FIRST_DAY + 12_000, 400)]
    assert min(levels) > 25_000 / 6 and max(levels) < 25_000 * 6


def test_thin_symbols_have_empty_minutes_and_busy_ones_bursts():
    """Clients meet both: minutes without a trade, and minutes with ten times the usual."""
    history = History(MarketModel(1))
    now = (DAY + 1) * DAY_MS
    assert (history.minutes("ETC-USDT", DAY, now).count == 0).sum() > 100
    busy = history.minutes("BTC-USDT", DAY, now).count
    assert busy.max() > 4 * busy.mean()


@pytest.mark.parametrize("symbol", ["BTC-USDT", "LTC-USDT", "ETC-USDT"])
@pytest.mark.parametrize("minutes", [1, 5, 15, 60, 240])
def test_candles_are_exactly_those_of_the_trades(symbol, minutes):
    """Open, high, low, close, volume, value and count equal a group-by over the single matches."""
    model = MarketModel(1)
    history = History(model)
    name = f"{minutes}m" if minutes < 60 else f"{minutes // 60}H"
    bar, now = BARS[name], (DAY + 2) * DAY_MS
    opens = bar.opens(bar.index(DAY * DAY_MS), bar.index(now) - 1)
    candles = history.candles(symbol, bar, opens, now)
    trades = pl.concat([frame_of(model.day(symbol, DAY)), frame_of(model.day(symbol, DAY + 1))])
    expected = independent(trades, minutes)
    close = history.last_price(symbol, DAY)
    for row in zip(*(column.tolist() for column in candles.columns()), strict=True):
        flat = (close, close, close, close, 0, 0, 0)
        assert row[1:] == expected.get(row[0], flat)
        close = row[4]
    assert len(candles) == 2 * 1_440 // minutes


def test_a_running_candle_holds_only_what_happened_so_far():
    """In the middle of an hour the last candle equals the trades up to that instant."""
    model = MarketModel(1)
    history, now = History(model), DAY * DAY_MS + 37 * MINUTE_MS + 12_345
    bar = BARS["1H"]
    candles = history.candles("BTC-USDT", bar, bar.opens(bar.index(now), bar.index(now)), now)
    trades = frame_of(model.day("BTC-USDT", DAY)).filter(pl.col("ts") <= now)
    assert candles.volume[0] == trades["size"].sum()
    assert candles.close[0] == trades["price"][-1]
    assert candles.high[0] == trades["price"].max()


def test_an_empty_first_minute_of_a_larger_candle_does_not_set_its_open():
    """A 15m candle opens at its first trade, not at the flat price of an empty minute before it."""
    history, now = History(MarketModel(1)), (DAY + 1) * DAY_MS
    minutes = history.minutes("ETC-USDT", DAY, now)
    bar = BARS["15m"]
    candles = history.candles("ETC-USDT", bar, bar.opens(DAY * 96, DAY * 96 + 95), now)
    checked = 0
    for place in range(96):
        inside = minutes.part(place * 15, place * 15 + 15)
        traded = np.flatnonzero(inside.count)
        if len(traded) and traded[0] > 0 and inside.open[traded[0]] != inside.open[0]:
            assert candles.open[place] == inside.open[traded[0]]
            checked += 1
    assert checked > 5


def test_value_sums_stay_exact_beyond_64_bits():
    """The value of a long candle of a busy market leaves 64 bits of ticks × lots, and is still exact."""
    hours = History(MarketModel(1)).hours("BTC-USDT", DAY, (DAY + 1) * DAY_MS)
    hours.value[:] = 10**18
    rolled = roll_up(hours, np.array([DAY * DAY_MS]))
    assert int(rolled.value[0]) == 24 * 10**18


@pytest.mark.parametrize(
    ("name", "opens"),
    [
        ("1D", "2026-05-25T16:00:00"),
        ("1Dutc", "2026-05-26T00:00:00"),
        ("1W", "2026-05-24T16:00:00"),
        ("1Wutc", "2026-05-25T00:00:00"),
        ("1M", "2026-04-30T16:00:00"),
        ("1Mutc", "2026-05-01T00:00:00"),
        ("3Mutc", "2026-04-01T00:00:00"),
        ("6H", "2026-05-26T04:00:00"),
        ("6Hutc", "2026-05-26T06:00:00"),
        ("4H", "2026-05-26T08:00:00"),
    ],
)
def test_bars_open_where_okx_opens_them(name, opens):
    """Plain names open at UTC+8, `utc` names at UTC; weeks start on Monday, quarters in January."""
    at = np.datetime64("2026-05-26T09:30:00", "ms").astype(int)
    bar = BARS[name]
    assert bar.open_ms(bar.index(int(at))) == np.datetime64(opens, "ms").astype(int)


@pytest.mark.parametrize(
    ("units", "decimals", "text"), [(1205, 2, "12.05"), (1200, 2, "12"), (5, 8, "0.00000005"), (7, 0, "7")]
)
def test_integers_become_the_text_the_exchange_writes(units, decimals, text):
    """Exact, and without trailing zeros."""
    assert decimal_text(units, decimals) == text
