"""What an exchange did with our orders, taken into the accounts of the bots: each match once."""

from collections.abc import Iterable, Mapping, Set
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, func, select, update
from sqlalchemy.dialects.postgresql import insert

from core.exchange_orders import (
    ExchangeFill,
    ExchangeOrder,
    SubmissionState,
    account_fill,
    closed_trip,
    follow,
)
from core.fills import Fill
from core.portfolio import Portfolio
from core.trades import Side
from pipelines.warehouse.exchange_orders import move
from pipelines.warehouse.sql import to_datetime, to_ms
from pipelines.warehouse.tables import bots, orders, positions, trades
from pipelines.warehouse.tables.exchange_orders import exchange_balances, exchange_fills, exchange_orders

Balances = Mapping[str, Decimal | None]
"""What an account holds by currency; None: nobody knows."""


class Difference(msgspec.Struct, frozen=True):
    """A currency of which the exchange's account holds something else than follows from our matches.

    amount: more (or less, below zero) than what was there before our first order, plus what we traded
    is_certain: False: a match that is not stored yet may explain it
    """

    currency: str
    held: Decimal
    amount: Decimal
    is_certain: bool = True


class FillNews(msgspec.Struct, frozen=True):
    """A bot, its account, and rows of `trades` that are new to it, oldest first. last_candle_ms: close of the
    last candle it judged."""

    bot: str
    status: str
    state: str
    portfolio: Portfolio
    last_candle_ms: int | None
    trades: tuple[Row[Any], ...]


def record(
    engine: Engine,
    order: ExchangeOrder,
    fills: Iterable[ExchangeFill],
    state: SubmissionState,
    reason: str | None,
    child_id: str | None,
) -> int:
    """Take in the matches of an order that are new, and its state, in one transaction with the account.

    Repeating it changes nothing: a match is known by the exchange's number. Returns how many were new.
    """
    with engine.begin() as connection:
        portfolio = read_portfolio(connection, order.bot_id)
        added = 0
        for fill in fills:
            change = account_fill(fill, order.symbol)
            if not _insert(connection, order, fill, change):
                continue
            added += 1
            portfolio, pnl = follow(portfolio, change)
            _insert_trade(connection, order, fill, change, pnl, portfolio.cash)
        if added or child_id != order.child_id:
            _count_filled(connection, order.order_id, child_id)
        moved = state.is_final and move(connection, order.order_id, state, reason)
        if moved and order.side is Side.SELL and (pnl := _realised(connection, order.order_id)) is not None:
            portfolio = closed_trip(portfolio, pnl)
        if added or moved:
            values = {name: getattr(portfolio, name) for name in Portfolio.__struct_fields__}
            connection.execute(
                update(positions)
                .where(positions.c.bot_id == order.bot_id)
                .values(values | {"updated_at": func.now()})
            )
    return added


def compare_balances(
    engine: Engine, broker: str, held: Balances, before: Mapping[str, Decimal] | None = None
) -> list[Difference]:
    """Lay the exchange's balances beside our matches, and keep both where they are certain.

    What a currency held beyond our matches when it was first seen belongs to others; any change of that
    afterwards (a deposit, a trade by hand, or a mistake) is a difference until it is gone or accepted.

    before: the differences of the comparison before this one, while orders are live: one that is the same is
    no match on its way. None: nothing is under way, so that each difference is certain
    """
    found = []
    with engine.begin() as connection:
        traded, others = _traded(connection, broker), _others(connection, broker)
        for currency in sorted(traded):
            now, ours = held.get(currency, Decimal(0)), traded[currency]
            if now is None or (currency not in others and before is not None):
                continue  # a baseline is taken in a quiet moment
            amount = now - ours - others.get(currency, now - ours)
            is_certain = before is None or not amount or before.get(currency) == amount
            if is_certain:
                _keep_balance(connection, broker, currency, now, ours)
            if amount:
                found.append(Difference(currency, now, amount, is_certain))
    return found


def _keep_balance(connection: Connection, broker: str, currency: str, held: Decimal, traded: Decimal) -> None:
    row = insert(exchange_balances).values(
        broker=broker, currency=currency, held=held, traded=traded, others=held - traded
    )
    changes = {"held": held, "traded": traded, "checked_at": func.now()}
    connection.execute(row.on_conflict_do_update(index_elements=["broker", "currency"], set_=changes))


def _others(connection: Connection, broker: str) -> dict[str, Decimal]:
    """What each currency held beyond our matches when it was first seen, or accepted."""
    columns = select(exchange_balances.c.currency, exchange_balances.c.others)
    rows = connection.execute(columns.where(exchange_balances.c.broker == broker))
    return {row.currency: row.others for row in rows}


def noted_pairs(engine: Engine, broker: str, symbols: Set[str]) -> set[str]:
    """Those of the pairs of which `note_balances` has stored both currencies."""
    with engine.connect() as connection:
        known = _others(connection, broker).keys()
    return {symbol for symbol in symbols if known >= set(symbol.split("-"))}


def note_balances(engine: Engine, broker: str, held: Balances, symbols: Set[str]) -> set[str]:
    """Before the first order: what the account holds of the currencies that the bots trade is others'.
    Returns the pairs of which that is stored now."""
    currencies = {part for symbol in symbols for part in symbol.split("-")}
    with engine.begin() as connection:
        traded = _traded(connection, broker)
        for currency in sorted(currencies):
            ours = traded.get(currency, Decimal(0))
            now = held.get(currency, Decimal(0))
            if now is None:
                continue
            row = insert(exchange_balances).values(
                broker=broker, currency=currency, held=now, traded=ours, others=now - ours
            )
            connection.execute(row.on_conflict_do_nothing())
    return noted_pairs(engine, broker, symbols)


def _traded(connection: Connection, broker: str) -> dict[str, Decimal]:
    """Changes of each currency by all our matches; a fee in a third currency included."""
    changes: dict[str, Decimal] = {}
    statement = (
        select(
            exchange_fills.c.symbol,
            exchange_fills.c.fee_currency,
            func.sum(exchange_fills.c.base_change).label("base"),
            func.sum(exchange_fills.c.quote_change).label("quote"),
            func.sum(exchange_fills.c.fee).label("fee"),
        )
        .where(exchange_fills.c.broker == broker)
        .group_by(exchange_fills.c.symbol, exchange_fills.c.fee_currency)
    )
    for row in connection.execute(statement):
        base, _, quote = row.symbol.partition("-")
        for currency, amount in ((base, row.base), (quote, row.quote)):
            changes[currency] = changes.get(currency, Decimal(0)) + amount
        if row.fee_currency not in (base, quote):
            changes[row.fee_currency] = changes.get(row.fee_currency, Decimal(0)) - row.fee
    return changes


def read_portfolio(connection: Connection, bot_id: int) -> Portfolio:
    """A bot's account, locked until the end of the transaction."""
    row = connection.execute(select(positions).where(positions.c.bot_id == bot_id).with_for_update()).one()
    return Portfolio(**{name: getattr(row, name) for name in Portfolio.__struct_fields__})


def entry_filled_ms(connection: Connection, bot_id: int) -> int | None:
    """Exchange time of the first match of a bot's newest buy that has any; None: it never bought."""
    entry = (
        select(exchange_orders.c.order_id)
        .join(orders, orders.c.id == exchange_orders.c.order_id)
        .where(
            exchange_orders.c.bot_id == bot_id,
            exchange_orders.c.side == Side.BUY.value,
            exchange_orders.c.filled_quantity > 0,
        )
        .order_by(orders.c.timestamp.desc())
        .limit(1)
        .scalar_subquery()
    )
    first = select(func.min(trades.c.timestamp)).where(trades.c.order_id == entry)
    at: datetime | None = connection.execute(first).scalar_one()
    return None if at is None else to_ms(at)


def newest_fills(engine: Engine, order_id: str, count: int) -> FillNews:
    """The newest matches of an order and the account after them, for telling of it."""
    query = (
        select(trades)
        .where(trades.c.order_id == order_id)
        .order_by(trades.c.timestamp.desc(), trades.c.id.desc())
        .limit(count)
    )
    with engine.connect() as connection:
        found = connection.execute(query).all()
        bot = connection.execute(select(bots).where(bots.c.id == found[0].bot_id)).one()
        position = connection.execute(select(positions).where(positions.c.bot_id == bot.id)).one()
    portfolio = Portfolio(**{name: getattr(position, name) for name in Portfolio.__struct_fields__})
    last_ms = None if position.last_candle is None else to_ms(position.last_candle)
    return FillNews(bot.name, bot.status, bot.state, portfolio, last_ms, tuple(reversed(found)))


def _insert(connection: Connection, order: ExchangeOrder, fill: ExchangeFill, change: Fill) -> bool:
    row = insert(exchange_fills).values(
        broker=order.broker,
        symbol=order.symbol,
        trade_id=fill.trade_id,
        order_id=order.order_id,
        timestamp=to_datetime(fill.timestamp_ms),
        side=fill.side.value,
        price=fill.price,
        quantity=fill.quantity,
        fee=fill.fee,
        fee_currency=fill.fee_currency,
        base_change=change.base_change,
        quote_change=change.quote_change,
    )
    written = row.on_conflict_do_nothing().returning(exchange_fills.c.trade_id)
    return connection.execute(written).one_or_none() is not None


def _insert_trade(
    connection: Connection,
    order: ExchangeOrder,
    fill: ExchangeFill,
    change: Fill,
    pnl: Decimal | None,
    cash: Decimal,
) -> None:
    signal = select(orders.c.signal_id).where(orders.c.id == order.order_id).scalar_subquery()
    row: dict[str, Any] = {
        "id": f"{order.order_id}-{fill.trade_id}",
        "bot_id": order.bot_id,
        "signal_id": signal,
        "order_id": order.order_id,
        "timestamp": to_datetime(fill.timestamp_ms),
        "side": fill.side.value,
        "price": fill.price,
        "quantity": fill.quantity,
        "fees": change.fee,
        "pnl": pnl,
        "balance_after": cash,
    }
    connection.execute(insert(trades).values(row))


def _count_filled(connection: Connection, order_id: str, child_id: str | None) -> None:
    filled = (
        select(func.coalesce(func.sum(exchange_fills.c.quantity), 0))
        .where(exchange_fills.c.order_id == order_id)
        .scalar_subquery()
    )
    for table, key, more in (
        (orders, orders.c.id, {}),
        (exchange_orders, exchange_orders.c.order_id, {"child_id": child_id}),
    ):
        values: dict[str, Any] = {"filled_quantity": filled, "updated_at": func.now(), **more}
        connection.execute(update(table).where(key == order_id).values(values))


def _realised(connection: Connection, order_id: str) -> Decimal | None:
    """What all matches of a sell realised; None when it had none."""
    total = select(func.sum(trades.c.pnl)).where(trades.c.order_id == order_id)
    return connection.execute(total).scalar_one()
