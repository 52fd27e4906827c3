"""Writing is idempotent: however batches are repeated, cut and interleaved, the tables are the same."""

from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from core.candles import Candle
from core.timeframes import Timeframe
from core.trades import Side, Trade
from live.collector.batch import Batch, Chunk
from live.collector.transaction import write_chunk
from pipelines.warehouse.database import engine

pytestmark = pytest.mark.servers

MIDNIGHT = 1_763_683_200_000
SYMBOLS = ("BTC-USDT", "ETH-USDT")
UNHURRIED = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def trade(symbol: str, n: int) -> Trade:
    """Spread over midnight, so that batches need two partitions."""
    return Trade(symbol, n, MIDNIGHT + (n - 30) * 1_000, Decimal(n) / 7, Decimal("1e-18") * n, Side.BUY)


def candle(symbol: str, minute: int, version: int = 0) -> Candle:
    price = Decimal(100 + minute + version)
    close_ms = MIDNIGHT + minute * 60_000
    return Candle(symbol, Timeframe.M1, close_ms, price, price, price, price, Decimal(version), version)


def written(database_url: str, batches: Sequence[Batch]) -> tuple[list[tuple], list[tuple]]:
    """The tables after these batches, each in a transaction, on a connection of its own or not."""
    with engine(database_url).connect() as connection:
        connection.execute(text("TRUNCATE raw_trades, market_data"))
        connection.commit()
        for batch in batches:
            with connection.begin():
                write_chunk(connection, Chunk(batch))
        trades = connection.execute(
            text("SELECT symbol, trade_id, timestamp, price, size FROM raw_trades ORDER BY 1, 2, 3")
        ).all()
        candles = connection.execute(
            text(
                "SELECT symbol, timestamp, open, high, low, close, volume, trades_count, source, provisional,"
                " revision FROM market_data ORDER BY 1, 2"
            )
        ).all()
    return [tuple(row) for row in trades], [tuple(row) for row in candles]


parts = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from(SYMBOLS), st.integers(1, 60)), max_size=12),
        st.lists(st.tuples(st.sampled_from(SYMBOLS), st.integers(1, 6)), max_size=4),
    ),
    min_size=1,
    max_size=8,
)


@UNHURRIED
@given(parts=parts, data=st.data())
def test_any_order_any_cut_and_any_repeat_give_the_same_tables(database_url, parts, data):
    batches = [Batch([trade(*t) for t in trades], [candle(*c) for c in candles]) for trades, candles in parts]
    whole = Batch([t for b in batches for t in b.trades], [c for b in batches for c in b.candles])
    repeats = data.draw(st.lists(st.sampled_from(batches), max_size=4))
    shuffled = data.draw(st.permutations(batches + repeats))
    assert written(database_url, shuffled) == written(database_url, [whole])


@UNHURRIED
@given(
    versions=st.lists(
        st.tuples(st.sampled_from(SYMBOLS), st.integers(1, 3), st.integers(0, 3)), min_size=1, max_size=12
    ),
    again=st.integers(0, 11),
)
def test_after_a_restart_from_any_point_each_candle_is_its_last_version(database_url, versions, again):
    """A process that died repeats what it had not noted as done, in the same order."""
    batches = [Batch([], [candle(*version)]) for version in versions]
    _, once = written(database_url, batches)
    _, twice = written(database_url, batches + batches[again:])
    assert [row[:-1] for row in twice] == [row[:-1] for row in once]
    assert all(late[-1] >= early[-1] for late, early in zip(twice, once, strict=True))
