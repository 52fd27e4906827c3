"""What bots left in the database, against arithmetic of its own and against a calm run of the same."""

from collections.abc import Iterable
from decimal import ROUND_DOWN, ROUND_UP, Context, Decimal, localcontext
from itertools import groupby
from typing import Any

from sqlalchemy import Engine, text

from config.files import BotFile
from live.bots.bot import Bot
from pipelines.clock import SystemClock
from pipelines.warehouse.bots import find_bot, save_bot
from tests import bot_bench as bench

CALM = "_calm"
"""Ends the name of a bot that repeats another one's run."""
_ATOM = Decimal(1).scaleb(-18)
_WIDE = Context(prec=76)
# From a bot's first candle on, each final candle and each signal, side by side.
_DECISIONS = """
    WITH began AS (SELECT bot_id, min(timestamp) AS first FROM signals GROUP BY 1), due AS (
        SELECT b.id, b.name, m.timestamp FROM bots b JOIN began ON began.bot_id = b.id
        JOIN market_data m ON m.symbol = b.symbol AND m.timeframe = b.timeframe AND m.timestamp >= first
    ), judged AS (
        SELECT b.id, b.name, s.timestamp, count(*) AS n FROM signals s JOIN bots b ON b.id = s.bot_id
        GROUP BY 1, 2, 3
    )
    SELECT coalesce(due.name, judged.name) || ': ' || coalesce(n, 0) || ' signals at '
           || coalesce(due.timestamp, judged.timestamp)
           || CASE WHEN due.id IS NULL THEN ', no candle' ELSE '' END
    FROM due FULL JOIN judged USING (id, timestamp) WHERE due.id IS NULL OR n IS DISTINCT FROM 1 ORDER BY 1
"""
_SNAPSHOTS = """
    SELECT b.name || ': signal without a snapshot, or the reverse, at ' || coalesce(s.timestamp, p.timestamp)
    FROM signals s FULL JOIN bot_performance p USING (bot_id, timestamp)
    JOIN bots b ON b.id = bot_id WHERE s.id IS NULL OR p.bot_id IS NULL ORDER BY 1
"""
_ORDERS = """
    SELECT o.id || ' is ' || o.status || ' with ' || o.filled_quantity || ' filled in ' || count(t.id)
           || ' trades of ' || coalesce(sum(t.quantity), 0)
    FROM orders o LEFT JOIN trades t ON t.order_id = o.id GROUP BY o.id
    HAVING coalesce(sum(t.quantity), 0) <> o.filled_quantity
        OR (o.status = 'filled') <> (count(t.id) > 0 AND o.filled_quantity = o.quantity)
    UNION ALL
    SELECT t.id || ' is a trade of no order' FROM trades t WHERE t.order_id IS NULL
"""
_FILLS = """
    SELECT t.side, t.price, t.quantity, t.fees, t.balance_after, t.id, t.timestamp FROM trades t
    JOIN bots b ON b.id = t.bot_id WHERE b.name = :name ORDER BY t.timestamp, t.side DESC, t.id
"""


def audit(engine: Engine) -> list[str]:
    """What is wrong with the rows of any bot, each line with its name."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        faults: list[str] = []
        for query in (_DECISIONS, _SNAPSHOTS, _ORDERS):
            faults += connection.execute(text(query)).scalars()
        positions = connection.execute(
            text("SELECT b.name, b.virtual_balance, p.* FROM positions p JOIN bots b ON b.id = p.bot_id")
        ).all()
        for position in positions:
            fills = connection.execute(text(_FILLS), {"name": position.name}).all()
            faults += _account_faults(position, fills)
    return faults


def _account_faults(position: Any, fills: Iterable[Any]) -> list[str]:
    """Cash, coins and fees added up from the fills alone, to the last of 18 digits.

    The fee of a buy was taken in coins and is stored in quote currency, rounded up; at prices of 1 and more
    one number of coins alone can have led to it.
    """
    faults = []
    cash, coins, fees = position.virtual_balance, Decimal(0), Decimal(0)
    with localcontext(_WIDE):
        for _, group in groupby(fills, key=lambda fill: fill.timestamp):
            # Of fills of the same moment the balance after each says which came first.
            left = list(group)
            while left:
                fill = next((one for one in left if one.balance_after == cash + _cash_of(one)), left[0])
                left.remove(fill)
                assert fill.price >= 1
                cash += _cash_of(fill)
                if fill.side == "buy":
                    coins += fill.quantity - (fill.fees / fill.price).quantize(_ATOM, ROUND_DOWN)
                else:
                    coins -= fill.quantity
                fees += fill.fees
                if fill.balance_after != cash:
                    faults.append(f"{fill.id}: cash after it is {fill.balance_after}, computed {cash}")
        stored, computed = (position.cash, position.quantity, position.fees), (cash, coins, fees)
    if stored != computed:
        faults.append(f"{position.name}: cash, coins and fees are {stored}, computed {computed}")
    return faults


def _cash_of(fill: Any) -> Decimal:
    """What a fill adds to the cash."""
    value = fill.quantity * fill.price
    if fill.side == "buy":
        return -value.quantize(_ATOM, ROUND_UP)
    return value.quantize(_ATOM, ROUND_DOWN) - fill.fees


def finish(engine: Engine, name: str) -> None:
    """Have a bot judge the candles that came while its daemon was being stopped."""
    bot = Bot(find_bot(engine, name), engine, SystemClock(), lambda message: None)
    while bot.catch_up():
        continue


def repeat_calmly(engine: Engine, name: str) -> str:
    """Have a new bot judge what `name` judged, from its first candle on, at once and undisturbed; its name.

    No daemon may run: it would start the new bot too.
    """
    first_ms = bench.scalar(
        engine,
        "SELECT (extract(epoch FROM min(s.timestamp)) * 1000)::bigint FROM signals s"
        " JOIN bots b ON b.id = s.bot_id WHERE b.name = :name",
        name=name,
    )
    document = find_bot(engine, name).config | {"bot_id": name + CALM}
    save_bot(engine, BotFile.model_validate(document), None)
    bot = Bot(find_bot(engine, name + CALM), engine, SystemClock(), lambda message: None)
    bot.live_close_ms = first_ms
    while bot.catch_up():
        continue
    return name + CALM


def differences(engine: Engine, name: str, other: str) -> list[str]:
    """Where the histories of two bots differ: table, number of row, both rows."""
    found = []
    ours, theirs = bench.history(engine, name), bench.history(engine, other)
    for table, rows in ours.items():
        if len(rows) != len(theirs[table]):
            found.append(f"{name}: {len(rows)} {table}, {other}: {len(theirs[table])}")
        pairs = zip(rows, theirs[table], strict=False)
        found += [f"{name}: {table} {n}: {a} and {b}" for n, (a, b) in enumerate(pairs) if a != b]
    return found
