"""What a run left in the database, checked by SQL alone: nothing of the product takes part."""

from typing import Any

from sqlalchemy import Connection, Engine, text

from core.timeframes import Timeframe

_CANDLES = text(
    """
    WITH own AS (
        SELECT symbol,
               to_timestamp((floor(extract(epoch FROM timestamp) * 1000 / :ms) + 1) * :ms / 1000) AS at,
               (array_agg(price ORDER BY trade_id))[1] AS open, max(price) AS high, min(price) AS low,
               (array_agg(price ORDER BY trade_id DESC))[1] AS close, sum(size) AS volume, sum(count) AS n
        FROM raw_trades GROUP BY 1, 2
    ), built AS (
        SELECT * FROM market_data WHERE timeframe = :timeframe AND source = 'trades'
    )
    SELECT (SELECT count(*) FROM built),
           (SELECT array_agg(b.symbol || ' ' || b.timestamp ORDER BY b.timestamp)
            FROM built b LEFT JOIN own o ON o.symbol = b.symbol AND o.at = b.timestamp
            WHERE (b.open, b.high, b.low, b.close, b.volume, b.trades_count)
                  IS DISTINCT FROM (o.open, o.high, o.low, o.close, o.volume, o.n)),
           (SELECT array_agg(o.symbol || ' ' || o.at ORDER BY o.at) FROM own o
            WHERE o.at < (SELECT max(timestamp) FROM built b WHERE b.symbol = o.symbol)
              AND NOT EXISTS (SELECT FROM market_data m WHERE m.timeframe = :timeframe
                              AND m.symbol = o.symbol AND m.timestamp = o.at))
    """
)
_HOLES = text(
    """
    SELECT symbol || ' ' || before || ' to ' || trade_id FROM (
        SELECT symbol, trade_id, count, lag(trade_id) OVER (PARTITION BY symbol ORDER BY trade_id) AS before
        FROM raw_trades) numbered
    WHERE trade_id - count <> before ORDER BY 1
    """
)
_UNJUDGED = text(
    """
    SELECT b.name, count(*) AS candles FROM bots b
    JOIN LATERAL (SELECT min(timestamp) AS first, max(timestamp) AS last FROM signals
                  WHERE bot_id = b.id) judged ON true
    JOIN market_data m ON m.symbol = b.symbol AND m.timeframe = b.timeframe
         AND m.timestamp BETWEEN judged.first AND judged.last
    WHERE NOT EXISTS (SELECT FROM signals s WHERE s.bot_id = b.id AND s.timestamp = m.timestamp)
    GROUP BY b.name
    """
)
_TWICE = text("SELECT bot_id, timestamp FROM signals GROUP BY 1, 2 HAVING count(*) > 1")


def market_faults(engine: Engine) -> tuple[list[str], dict[str, int]]:
    """(differences between the candles built from trades and those SQL builds, and holes in the trade ids;
    how many candles of each timeframe were compared), all in one snapshot."""
    faults: list[str] = []
    compared: dict[str, int] = {}
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        for timeframe in Timeframe:
            count, different, absent = _row(connection, timeframe)
            compared[timeframe.value] = count
            faults += [f"{timeframe}: {name} is different" for name in different or ()]
            faults += [f"{timeframe}: {name} is missing" for name in absent or ()]
        faults += [f"hole: {hole}" for hole in connection.execute(_HOLES).scalars()]
    return faults, compared


def unjudged_candles(engine: Engine) -> dict[str, int]:
    """Bot → final candles between its first and last signal that it did not judge; nobody judges twice."""
    with engine.connect() as connection:
        assert connection.execute(_TWICE).all() == []
        return {row.name: row.candles for row in connection.execute(_UNJUDGED)}


def _row(connection: Connection, timeframe: Timeframe) -> Any:
    return connection.execute(_CANDLES, {"ms": timeframe.ms, "timeframe": timeframe.value}).one()
