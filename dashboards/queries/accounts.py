"""The accounts of all bots as they are now, exact, and their value over time: no dbt model is asked."""

import sqlalchemy as sa
from sqlalchemy import Engine

from core.combined import Holder
from core.portfolio import Portfolio
from pipelines.warehouse.sql import EXCHANGE

# A coin's price is the close of its newest stored minute: a row of (exchange, symbol, timeframe, time).
_ACCOUNTS = sa.text("""
select b.name, b.symbol, split_part(b.symbol, '-', 2) as quote, b.virtual_balance, price.close,
       p.cash, p.quantity, p.cost, p.realised_pnl, p.fees, p.total_trades, p.winning_trades
from bots b
join positions p on p.bot_id = b.id
left join lateral (
    select close from market_data m
    where m.exchange = :exchange and m.symbol = b.symbol and m.timeframe = '1m'
    order by m.timestamp desc limit 1) price on true
where b.deleted_at is null
order by b.name
""").bindparams(exchange=EXCHANGE)


def holders(engine: Engine) -> list[Holder]:
    """Every bot's account with the newest price of its coin, by name; deleted bots are left out."""
    with engine.connect() as connection:
        rows = connection.execute(_ACCOUNTS).mappings().all()
    names = Portfolio.__struct_fields__
    return [
        Holder(
            bot=row["name"],
            symbol=row["symbol"],
            quote=row["quote"],
            capital=row["virtual_balance"],
            portfolio=Portfolio(**{name: row[name] for name in names}),
            price=row["close"],
        )
        for row in rows
    ]
