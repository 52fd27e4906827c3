"""What a simulated market emitted, loaded into Postgres from the market model alone, and SQL that compares it
with what the product stored. Nothing of the collector takes part."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, text

from core.timeframes import Timeframe
from pipelines.exchanges.sim.days import DAY_MS
from pipelines.exchanges.sim.model import MarketModel
from pipelines.warehouse.database import driver

_TABLE = """
    CREATE SCHEMA IF NOT EXISTS truth;
    DROP TABLE IF EXISTS truth.emitted;
    CREATE UNLOGGED TABLE truth.emitted (
        symbol text, trade_id bigint, at_ms bigint, price numeric, size numeric, side text,
        PRIMARY KEY (symbol, trade_id)
    );
    CREATE INDEX ON truth.emitted (symbol, at_ms, trade_id)
"""
# One row a candle of the stretch; an empty one is flat at the price before it. `own`: it lies wholly behind
# the first minute that was collected, so that the number of its trades must be equal too.
_CANDLES = """
    WITH stretch AS (
        SELECT s.symbol, open_ms, open_ms + :length AS close_ms,
               to_timestamp(open_ms / 1000.0) >=
                   (SELECT min(timestamp) - interval '1 minute' FROM market_data m
                    WHERE m.symbol = s.symbol AND timeframe = '1m' AND source <> 'exchange') AS own
        FROM unnest(cast(:symbols AS text[])) AS s (symbol),
             generate_series(cast(:first AS bigint), cast(:last AS bigint) - :length, :length) AS open_ms
    ), traded AS (
        SELECT symbol, at_ms - at_ms % :length AS open_ms,
               (array_agg(price ORDER BY trade_id))[1] AS open, max(price) AS high, min(price) AS low,
               (array_agg(price ORDER BY trade_id DESC))[1] AS close, sum(size) AS volume, count(*) AS n
        FROM truth.emitted GROUP BY 1, 2
    ), expected AS (
        SELECT s.symbol, s.close_ms, s.own, coalesce(t.open, p.price) AS open,
               coalesce(t.high, p.price) AS high, coalesce(t.low, p.price) AS low,
               coalesce(t.close, p.price) AS close, coalesce(t.volume, 0) AS volume, coalesce(t.n, 0) AS n
        FROM stretch s LEFT JOIN traded t USING (symbol, open_ms)
        LEFT JOIN LATERAL (SELECT price FROM truth.emitted e WHERE e.symbol = s.symbol AND e.at_ms < s.open_ms
                           ORDER BY at_ms DESC, trade_id DESC LIMIT 1) p ON t.n IS NULL
    ), stored AS (
        SELECT symbol, (extract(epoch FROM timestamp) * 1000)::bigint AS close_ms, open, high, low, close,
               volume, trades_count AS n, source, provisional
        FROM market_data WHERE timeframe = :timeframe
          AND timestamp > to_timestamp(:first / 1000.0) AND timestamp <= to_timestamp(:last / 1000.0)
    )
    SELECT symbol, to_timestamp(close_ms / 1000.0) AS at, e.own,
           (e.open, e.high, e.low, e.close, e.volume, e.n)::text AS expected,
           (s.open, s.high, s.low, s.close, s.volume, s.n, s.source, s.provisional)::text AS found
    FROM expected e FULL JOIN stored s USING (symbol, close_ms)
    WHERE (e.open, e.high, e.low, e.close, e.volume)
          IS DISTINCT FROM (s.open, s.high, s.low, s.close, s.volume)
       OR s.provisional OR (e.own AND (e.n <> s.n OR s.source = 'exchange'))
    ORDER BY close_ms, symbol
"""
_COUNT = """
    SELECT count(*) FROM market_data WHERE timeframe = :timeframe AND source <> 'exchange'
      AND timestamp > to_timestamp(:first / 1000.0) AND timestamp <= to_timestamp(:last / 1000.0)
"""
_IDS = """
    WITH ids AS (
        SELECT symbol, generate_series(trade_id - count + 1, trade_id) AS trade_id FROM raw_trades
    ), times AS (SELECT symbol, trade_id, count(*) AS n FROM ids GROUP BY 1, 2
    ), begins AS (SELECT symbol, min(trade_id) AS first FROM ids GROUP BY 1)
    SELECT (SELECT count(*) FROM times) AS stored,
           (SELECT array_agg(symbol || ' ' || trade_id || ' is stored ' || n || ' times')
            FROM (SELECT * FROM times WHERE n > 1 ORDER BY 1, 2 LIMIT 20) twice) AS twice,
           (SELECT array_agg(symbol || ' ' || trade_id || ' is missing')
            FROM (SELECT e.symbol, e.trade_id FROM truth.emitted e JOIN begins b USING (symbol)
                  WHERE e.trade_id >= b.first
                    AND NOT EXISTS (SELECT FROM times t
                                    WHERE t.symbol = e.symbol AND t.trade_id = e.trade_id)
                  ORDER BY 1, 2 LIMIT 20) absent) AS absent,
           (SELECT array_agg(symbol || ' ' || trade_id || ' was never emitted')
            FROM (SELECT t.symbol, t.trade_id FROM times t
                  WHERE NOT EXISTS (SELECT FROM truth.emitted e
                                    WHERE e.symbol = t.symbol AND e.trade_id = t.trade_id)
                  ORDER BY 1, 2 LIMIT 20) invented) AS invented
"""
_ROWS = """
    SELECT r.symbol || ' ' || r.trade_id || ' is not as it was emitted' AS fault
    FROM raw_trades r JOIN truth.emitted e
      ON e.symbol = r.symbol AND e.trade_id BETWEEN r.trade_id - r.count + 1 AND r.trade_id
    GROUP BY r.symbol, r.trade_id, r.count, r.price, r.size, r.timestamp, r.side
    HAVING count(*) <> r.count OR sum(e.size) <> r.size OR min(e.price) <> r.price OR max(e.price) <> r.price
        OR max(e.at_ms) <> extract(epoch FROM r.timestamp) * 1000 OR min(e.side) <> r.side
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
        self._first_ms = start_ms - start_ms % DAY_MS
        self._end_ms = end_ms
        self._model = MarketModel(seed, activity)

    def load(self) -> int:
        """Fill the table; the number of its trades."""
        with self._engine.begin() as connection:
            for statement in _TABLE.split(";"):
                connection.execute(text(statement))
            with (
                driver(connection).cursor() as cursor,
                cursor.copy("COPY truth.emitted FROM STDIN") as copy,
            ):
                for symbol in self._symbols:
                    for day in range(self._first_ms // DAY_MS, (self._end_ms - 1) // DAY_MS + 1):
                        copy.write(self._lines(symbol, day))
            count = int(connection.execute(text("SELECT count(*) FROM truth.emitted")).scalar_one())
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE truth.emitted"))
            connection.execute(text("ANALYZE raw_trades"))
        return count

    def faults(self) -> tuple[list[str], dict[str, int]]:
        """(what is not as it should be, in one snapshot; how many own candles of each timeframe there are,
        and under `trades` how many ids are stored)."""
        found: list[str] = []
        compared: dict[str, int] = {}
        with self._engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            found += self._scalars(connection, _GAPS)
            ids = connection.execute(text(_IDS)).one()
            compared["trades"] = ids.stored
            for some in (ids.twice, ids.absent, ids.invented):
                found += some or []
            found += self._scalars(connection, _ROWS)
            for timeframe in Timeframe:
                values = self._stretch(timeframe)
                compared[timeframe.value] = connection.execute(text(_COUNT), values).scalar_one()
                found += [
                    f"{timeframe.value} {row.symbol} {row.at:%d %H:%M}: expected {row.expected}, "
                    f"found {row.found}{'' if row.own else ', begun before the first trade'}"
                    for row in connection.execute(text(_CANDLES), values)
                ]
        return found, compared

    def _scalars(self, connection: Connection, query: str) -> list[str]:
        return list(connection.execute(text(query)).scalars())

    def _stretch(self, timeframe: Timeframe) -> dict[str, Any]:
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
