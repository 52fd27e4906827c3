"""Large tables, made inside the server: as many rows as asked for, in the shape the product writes."""

from string import Template

from sqlalchemy import Engine, text

from pipelines.warehouse.trade_days import DAY_MS, ensure_partitions

START_MS = 1_756_684_800_000
"""Midnight, 1 September 2025."""
BOTS = 50
DAYS = 10
LENGTHS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "1d": 1440}

_CANDLES = """
    INSERT INTO market_data (exchange, symbol, timeframe, timestamp, open, high, low, close, volume,
                             trades_count, source)
    SELECT 'okx', symbol, '$timeframe', $start + n * make_interval(mins => $minutes), 60000 + n % 977,
           60000 + n % 983, 59000 + n % 971, 60000 + n % 967, n % 13, n % 89, 'trades'
    FROM unnest($symbols) AS symbol, generate_series(1, $rows / (5 * $minutes)) AS n
"""
_REST = (
    """
    INSERT INTO bots (name, strategy_name, symbol, timeframe, status, config, virtual_balance,
                      current_balance)
    SELECT 'bot_' || lpad(n::text, 3, '0'), 'ema_crossover', ($symbols)[1 + n % 5], '1m', 'active', '{}',
           10000, 10000 FROM generate_series(1, $bots) AS n
    """,
    """
    INSERT INTO positions (bot_id, symbol, cash, quantity, cost, realised_pnl, fees, last_candle, fills)
    SELECT id, symbol, 10000, 0, 0, 0, 0, $start, $rows / $bots FROM bots
    """,
    """
    INSERT INTO raw_trades (exchange, symbol, trade_id, timestamp, price, size, side, count, source)
    SELECT 'okx', symbol, 1000 + n, $start + n * (make_interval(days => $days) / ($rows / 5 + 1)),
           60000 + n % 997, 0.001 * (1 + n % 7), CASE WHEN n % 2 = 0 THEN 'buy' ELSE 'sell' END, 1,
           'websocket'
    FROM unnest($symbols) AS symbol, generate_series(1, $rows / 5) AS n
    """,
    """
    INSERT INTO signals (id, bot_id, timestamp, signal_type, price, confidence, indicators)
    SELECT b.name || '-' || n, b.id, $start + n * interval '1 minute',
           CASE WHEN n % 97 = 0 THEN 'buy' WHEN n % 97 = 40 THEN 'sell' ELSE 'hold' END, 60000, 0.5,
           '{"ema": 60000.5}'
    FROM bots b, generate_series(1, $rows / $bots) AS n
    """,
    "ALTER TABLE trades DISABLE TRIGGER USER",  # they are counted above
    """
    INSERT INTO trades (id, bot_id, timestamp, side, price, quantity, fees, pnl, balance_after)
    SELECT b.name || '-' || n, b.id, $start + n * interval '1 minute',
           CASE WHEN n % 2 = 0 THEN 'sell' ELSE 'buy' END, 60000, 0.01, 0.6, 1, 10000 + n % 101
    FROM bots b, generate_series(1, $rows / $bots) AS n
    """,
    "ALTER TABLE trades ENABLE TRIGGER USER",
    """
    INSERT INTO bot_performance (bot_id, timestamp, total_value, cash_balance, crypto_balance,
                                 total_trades, winning_trades, total_fees)
    SELECT b.id, $start + n * interval '1 minute', 10000 + n % 1009, 5000, 5000 + n % 1009, n / 100,
           n / 200, n / 10.0
    FROM bots b, generate_series(1, $rows / $bots) AS n
    """,
    """
    INSERT INTO system_events (timestamp, level, component, event, message)
    SELECT $start + n * interval '1 minute', 'info', 'live', 'feed_live', 'text'
    FROM generate_series(1, $rows) AS n
    """,
    """
    INSERT INTO data_gaps (exchange, symbol, first_id, last_id, state, detected_at)
    SELECT 'okx', symbol, n, n,
           CASE n % 1000 WHEN 0 THEN 'open' WHEN 500 THEN 'unfillable' ELSE 'refilled' END,
           $start + n * interval '1 minute'
    FROM unnest($symbols) AS symbol, generate_series(1, $rows / 5) AS n
    """,
    """
    INSERT INTO candle_differences (exchange, symbol, timeframe, timestamp, explanation, detected_at,
                                    resolved_at)
    SELECT 'okx', symbol, '1m', $start + n * interval '1 minute', 'stale', $start + n * interval '1 minute',
           CASE WHEN n % 1000 > 0 THEN $start + n * interval '1 minute' END
    FROM unnest($symbols) AS symbol, generate_series(1, $rows / 5) AS n
    """,
)


def fill(engine: Engine, rows: int) -> None:
    """About that many rows in each table that grows, and fresh statistics of the planner."""
    with engine.begin() as connection:
        ensure_partitions(connection, START_MS, START_MS + DAYS * DAY_MS)
    values = {
        "rows": rows,
        "bots": BOTS,
        "days": DAYS,
        "start": "to_timestamp(1756684800)",
        "symbols": "ARRAY['BTC-USDT', 'ETH-USDT', 'SOL-USDT', 'XRP-USDT', 'ADA-USDT']",
    }
    statements = [Template(statement).substitute(values) for statement in _REST]
    for timeframe, minutes in LENGTHS.items():
        statements.append(Template(_CANDLES).substitute(values, timeframe=timeframe, minutes=minutes))
    for statement in statements:
        with engine.begin() as connection:
            connection.execute(text(statement))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
