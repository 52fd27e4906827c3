"""What a simulated market emitted, loaded into Postgres from the market model alone, and SQL that compares it
with what the product stored. Nothing of the collector takes part."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, text

from core.timeframes import Timeframe
from pipelines.exchanges.sim.days import DAY_MS
from pipelines.exchanges.sim.model import MarketModel
from pipelines.warehouse.database import driver

_TABLES = """
    CREATE SCHEMA IF NOT EXISTS truth;
    DROP TABLE IF EXISTS truth.emitted, truth.candles, truth.begins;
    CREATE TABLE truth.emitted (
        symbol text, trade_id bigint, at_ms bigint, price numeric, size numeric, side text,
        PRIMARY KEY (symbol, trade_id)
    );
    CREATE TABLE truth.candles (
        timeframe text, symbol text, close_ms bigint, open numeric, high numeric, low numeric, close numeric,
        volume numeric, n bigint, PRIMARY KEY (timeframe, symbol, close_ms)
    );
    CREATE TABLE truth.begins (symbol text PRIMARY KEY, first_ms bigint, first_id bigint)
"""
_BEGINS = """
    INSERT INTO truth.begins
    SELECT symbol, first_ms, (SELECT min(trade_id) FROM truth.emitted e
                              WHERE e.symbol = m.symbol AND at_ms >= first_ms)
    FROM (SELECT symbol, (extract(epoch FROM min(timestamp)) * 1000)::bigint - 60000 AS first_ms
          FROM market_data WHERE timeframe = '1m' AND source <> 'exchange' GROUP BY 1) m
    ON CONFLICT DO NOTHING
"""
# One row a candle; an empty one is flat at the price before it.
_EXPECTED = """
    INSERT INTO truth.candles
    WITH traded AS (
        SELECT symbol, at_ms - at_ms % :length + :length AS close_ms,
               (array_agg(price ORDER BY trade_id))[1] AS open, max(price) AS high, min(price) AS low,
               (array_agg(price ORDER BY trade_id DESC))[1] AS close, sum(size) AS volume, count(*) AS n
        FROM truth.emitted GROUP BY 1, 2
    )
    SELECT :timeframe, symbol, close_ms, coalesce(t.open, before), coalesce(t.high, before),
           coalesce(t.low, before), coalesce(t.close, before), coalesce(t.volume, 0), coalesce(t.n, 0)
    FROM (
        SELECT s.symbol, c.close_ms, t.open, t.high, t.low, t.close, t.volume, t.n,
               max(t.close_ms) OVER (PARTITION BY s.symbol ORDER BY c.close_ms) AS last_ms
        FROM unnest(cast(:symbols AS text[])) AS s (symbol)
        CROSS JOIN generate_series(cast(:first AS bigint) + :length, cast(:last AS bigint), :length)
            AS c (close_ms)
        LEFT JOIN traded t ON t.symbol = s.symbol AND t.close_ms = c.close_ms
    ) t LEFT JOIN (SELECT symbol, close_ms AS last_ms, close AS before FROM traded) p USING (symbol, last_ms)
"""
# `own`: the candle lies wholly behind the first minute that was collected, so that the number of its trades
# must be equal too; of one that had begun by then the exchange's minutes are a part, which have no number.
_DIFFERENT = """
    WITH expected AS (
        SELECT c.*, close_ms - :length >= first_ms AS own
        FROM truth.candles c JOIN truth.begins USING (symbol)
        WHERE timeframe = :timeframe AND close_ms > first_ms
    ), stored AS (
        SELECT symbol, (extract(epoch FROM timestamp) * 1000)::bigint AS close_ms, open, high, low, close,
               volume, trades_count AS n, source, provisional
        FROM market_data m JOIN truth.begins b USING (symbol)
        WHERE timeframe = :timeframe AND timestamp > to_timestamp(b.first_ms / 1000.0)
          AND timestamp <= to_timestamp(:last / 1000.0)
    )
    SELECT symbol, to_timestamp(close_ms / 1000.0) AS at, e.own,
           (e.open, e.high, e.low, e.close, e.volume, e.n)::text AS expected,
           (s.open, s.high, s.low, s.close, s.volume, s.n, s.source, s.provisional)::text AS found
    FROM expected e FULL JOIN stored s USING (symbol, close_ms)
    WHERE (e.open, e.high, e.low, e.close, e.volume)
          IS DISTINCT FROM (s.open, s.high, s.low, s.close, s.volume)
       OR s.provisional OR (e.own AND e.n <> s.n)
    ORDER BY close_ms, symbol
"""
_COUNT = """
    SELECT count(*) FROM market_data JOIN truth.begins USING (symbol)
    WHERE timeframe = :timeframe AND timestamp <= to_timestamp(:last / 1000.0)
      AND timestamp - :length * interval '1 ms' >= to_timestamp(first_ms / 1000.0)
"""
# Each stored row must begin where the one before it ended, from the first id of the first collected minute up
# to the last one that was emitted. (What reconciliation looked up of earlier minutes may lie alone.)
_SEQUENCE = """
    WITH ordered AS (
        SELECT symbol, trade_id - count AS before,
               greatest(lag(trade_id) OVER (PARTITION BY symbol ORDER BY trade_id), first_id - 1) AS previous
        FROM raw_trades JOIN truth.begins USING (symbol) WHERE trade_id >= first_id
    ), ends AS (
        SELECT symbol, (SELECT max(trade_id) FROM raw_trades r WHERE r.symbol = e.symbol) AS stored,
               max(trade_id) AS emitted
        FROM truth.emitted e GROUP BY 1
    )
    SELECT symbol || ': ' || CASE WHEN before > previous THEN 'missing ' || previous + 1 || ' to ' || before
                                  ELSE 'twice ' || before + 1 || ' to ' || previous END
    FROM ordered WHERE before <> previous
    UNION ALL
    SELECT symbol || ': the last stored is ' || coalesce(stored, 0) || ', the last emitted ' || emitted
    FROM ends WHERE stored IS DISTINCT FROM emitted
    ORDER BY 1
"""
_ROWS = """
    SELECT r.symbol || ' ' || r.trade_id || ' is not as it was emitted' AS fault
    FROM (SELECT *, generate_series(trade_id - count + 1, trade_id) AS id FROM raw_trades) r
    LEFT JOIN truth.emitted e ON e.symbol = r.symbol AND e.trade_id = r.id
    GROUP BY r.symbol, r.trade_id, r.count, r.price, r.size, r.timestamp, r.side
    HAVING count(e.trade_id) <> r.count OR sum(e.size) <> r.size OR min(e.price) <> r.price
        OR max(e.price) <> r.price OR max(e.at_ms) <> extract(epoch FROM r.timestamp) * 1000
        OR min(e.side) <> r.side
    ORDER BY 1 LIMIT 20
"""
_GAPS = """
    SELECT 'the ledger: ' || symbol || ' ' || first_id || ' to ' || last_id || ' is ' || state
    FROM data_gaps WHERE state NOT IN ('filled', 'refilled') ORDER BY 1
"""


class Emitted:
    """Trades of a market model in `truth.emitted`: from 00:00 UTC of the day of `start_ms` to `end_ms`."""

    def __init__(
        self, engine: Engine, seed: int, activity: float, symbols: Sequence[str], start_ms: int, end_ms: int
    ) -> None:
        self._engine = engine
        self._symbols = list(symbols)
        self._start_ms = start_ms
        self._first_ms = start_ms - start_ms % DAY_MS
        self._end_ms = end_ms
        self._model = MarketModel(seed, activity)

    def load(self) -> int:
        """Fill the tables; the number of trades from the start on."""
        with self._engine.begin() as connection:
            for statement in _TABLES.split(";"):
                connection.execute(text(statement))
            with (
                driver(connection).cursor() as cursor,
                cursor.copy("COPY truth.emitted FROM STDIN") as copy,
            ):
                for symbol in self._symbols:
                    for day in range(self._first_ms // DAY_MS, (self._end_ms - 1) // DAY_MS + 1):
                        copy.write(self._lines(symbol, day))
            for timeframe in Timeframe:
                connection.execute(text(_EXPECTED), self._values(timeframe))
            connection.execute(text("ANALYZE truth.emitted"))
            connection.execute(text("ANALYZE truth.candles"))
            query = text("SELECT count(*) FROM truth.emitted WHERE at_ms >= :start")
            return int(connection.execute(query, {"start": self._start_ms}).scalar_one())

    def note_begin(self) -> int:
        """Note the first collected minute of each symbol that has one by now; for how many it is known."""
        with self._engine.begin() as connection:
            connection.execute(text(_BEGINS))
            return int(connection.execute(text("SELECT count(*) FROM truth.begins")).scalar_one())

    def faults(self, own_only: bool = False) -> tuple[list[str], dict[str, int]]:
        """(what is not as it should be, in one snapshot; how many own candles of each timeframe there are,
        and under `trades` how many ids are stored). own_only: leave out candles that had begun before the
        first collected minute"""
        found: list[str] = []
        compared: dict[str, int] = {}
        with self._engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            for query in (_GAPS, _SEQUENCE, _ROWS):
                found += connection.execute(text(query)).scalars()
            query = "SELECT coalesce(sum(count), 0) FROM raw_trades JOIN truth.begins USING (symbol) "
            stored = connection.execute(text(query + "WHERE trade_id >= first_id"))
            compared["trades"] = int(stored.scalar_one())
            for timeframe in Timeframe:
                values = self._values(timeframe)
                compared[timeframe.value] = connection.execute(text(_COUNT), values).scalar_one()
                found += [
                    f"{timeframe.value} {row.symbol} {row.at:%d %H:%M}: expected {row.expected}, "
                    f"found {row.found}{'' if row.own else ', begun before the first trade'}"
                    for row in connection.execute(text(_DIFFERENT), values)
                    if row.own or not own_only
                ]
        return found, compared

    def _values(self, timeframe: Timeframe) -> dict[str, Any]:
        return {
            "timeframe": timeframe.value,
            "length": timeframe.ms,
            "symbols": self._symbols,
            "first": self._first_ms,
            "last": self._end_ms - self._end_ms % timeframe.ms,
        }

    def _lines(self, symbol: str, day: int) -> str:
        trades, spec = self._model.day(symbol, day), self._model.specs[symbol]
        trades = trades.part(0, trades.until(self._end_ms - 1))
        return "".join(
            f"{symbol}\t{trade_id}\t{ts}\t{spec.price_text(price)}\t{spec.size_text(size)}\t"
            f"{'buy' if buy else 'sell'}\n"
            for trade_id, ts, price, size, buy in zip(
                trades.ids.tolist(),
                trades.ts.tolist(),
                trades.price.tolist(),
                trades.size.tolist(),
                trades.buy.tolist(),
                strict=True,
            )
        )
