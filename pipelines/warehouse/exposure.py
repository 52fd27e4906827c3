"""The limits over all bots: kept in `controls`, and asked in the transaction of the buy they are about.

Whoever adds to the exposure locks the row of the limits until its decision is committed, and only then reads
what everybody has; so two bots never both take the last room. Candles that lead to no buy, and databases
without such limits, wait for nobody.
"""

from typing import Any

import msgspec
from msgspec import json
from sqlalchemy import Connection, Engine, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert

from core.exposure import Holding, PortfolioLimits, PortfolioState, objection
from core.fills import exact
from core.orders import Order
from core.portfolio import Portfolio
from pipelines.warehouse.controls import PORTFOLIO_LIMITS
from pipelines.warehouse.sql import EXCHANGE, to_ms
from pipelines.warehouse.tables import controls

_STATE = "portfolio_state:"
# The newest minute's close values a coin; what was paid for it where there is none. A waiting buy counts with
# all that it may still spend, one at an exchange with what is not matched of it. Coins that a deleted bot has
# at an exchange are still there: its account counts until they are sold.
_HOLDINGS = text("""
    SELECT b.id AS bot_id, b.symbol, split_part(b.symbol, '-', 2) AS quote, b.virtual_balance AS capital,
           p.cash, p.quantity, p.cost, price.close AS price,
           p.quantity > 0 AND p.quantity >= coalesce(i.min_size, 0) AS is_open,
           coalesce((SELECT sum(coalesce((o.state->>'budget')::numeric,
                                         o.price * (o.quantity - o.filled_quantity)))
                     FROM orders o
                     WHERE o.bot_id = b.id AND o.side = 'buy'
                       AND o.status IN ('open', 'partially_filled')), 0)
           + coalesce((SELECT sum(coalesce(e.limit_price, o.price) * (e.quantity - e.filled_quantity))
                       FROM exchange_orders e JOIN orders o ON o.id = e.order_id
                       WHERE e.bot_id = b.id AND e.side = 'buy'
                         AND e.state IN ('submitting', 'sending', 'working')), 0) AS on_order
    FROM bots b
    JOIN positions p ON p.bot_id = b.id
    LEFT JOIN instruments i ON i.exchange = :exchange AND i.symbol = b.symbol
    LEFT JOIN LATERAL (
        SELECT close FROM market_data m
        WHERE m.exchange = :exchange AND m.symbol = b.symbol AND m.timeframe = '1m'
        ORDER BY m.timestamp DESC LIMIT 1) price ON true
    WHERE (b.deleted_at IS NULL OR (b.config->>'broker' <> 'paper'
                                    AND p.quantity > 0 AND p.quantity >= coalesce(i.min_size, 0)))
      AND (CAST(:quote AS text) IS NULL OR split_part(b.symbol, '-', 2) = :quote)
    ORDER BY b.id
""").bindparams(exchange=EXCHANGE)


class PortfolioNow(msgspec.Struct, frozen=True):
    """All bots of a quote currency, as of one moment."""

    quote: str
    holdings: tuple[Holding, ...]
    state: PortfolioState


def store_limits(engine: Engine, limits: PortfolioLimits | None) -> None:
    """Put limits over all bots in force; None, or none in them: there are no such limits."""
    with engine.begin() as connection:
        if limits is None or limits == PortfolioLimits():
            connection.execute(delete(controls).where(controls.c.name == PORTFOLIO_LIMITS))
        else:
            _put(connection, PORTFOLIO_LIMITS, limits)


def read_limits(engine: Engine) -> PortfolioLimits:
    """The limits in force."""
    with engine.connect() as connection:
        return _limits(connection, lock=False) or PortfolioLimits()


def admit(connection: Connection, bot_id: int, order: Order, portfolio: Portfolio) -> str | None:
    """Why this buy must not be sent for the sake of all bots together; None if it may, and then its room is
    taken when the connection's transaction commits.

    portfolio: the bot's account with all that this transaction did to it
    """
    limits = _limits(connection, lock=True)
    if limits is None:
        return None
    _, _, quote = _symbol_of(connection, bot_id)
    rows = connection.execute(_HOLDINGS, {"quote": quote}).all()
    holdings = [_holding(row) if row.bot_id != bot_id else _wanting(row, order, portfolio) for row in rows]
    state = _state(connection, quote).after(holdings, order.timestamp_ms, limits)
    _put(connection, _STATE + quote, state)
    return objection(limits, state, holdings, bot_id)


def look(engine: Engine, now_ms: int) -> list[tuple[PortfolioNow, str | None]]:
    """Measure the combined accounts at `now_ms` (exchange time), so that peaks and days are known when a bot
    wants to buy; each quote currency with the stop that was reached by it just now, None for none."""
    with engine.begin() as connection:
        limits = _limits(connection, lock=True)
        if limits is None:
            return []
        found = []
        for quote, holdings in _by_quote(connection).items():
            before = _state(connection, quote)
            state = before.after(holdings, now_ms, limits)
            if state != before:
                _put(connection, _STATE + quote, state)
            lost = state.lost_too_much(limits)
            news = lost if lost is not None and before.lost_too_much(limits) is None else None
            found.append((PortfolioNow(quote, tuple(holdings), state), news))
        return found


def portfolios(engine: Engine) -> list[PortfolioNow]:
    """The combined accounts as they are, by quote currency."""
    with engine.connect() as connection:
        return [
            PortfolioNow(quote, tuple(holdings), _state(connection, quote))
            for quote, holdings in _by_quote(connection).items()
        ]


def reset_portfolios(engine: Engine) -> list[str]:
    """Lift the stops over all bots and measure from here on; returns those that were halted, by quote."""
    with engine.begin() as connection:
        _limits(connection, lock=True)
        halted = []
        statement = select(controls.c.name, controls.c.value).where(controls.c.name.startswith(_STATE))
        for row in connection.execute(statement).all():
            name, state = str(row.name), msgspec.convert(row.value, PortfolioState)
            if state.halted is not None:
                halted.append(name.removeprefix(_STATE))
            _put(connection, name, state.reset())
        return halted


def exchange_time_ms(connection: Connection) -> int:
    """The exchange's time as the daemon's heartbeat tells, else the server's."""
    statement = text(
        "SELECT coalesce((SELECT exchange_time FROM heartbeats WHERE component = 'live'), now())"
    )
    return to_ms(connection.execute(statement).scalar_one())


def _symbol_of(connection: Connection, bot_id: int) -> tuple[str, str, str]:
    symbol: str = connection.execute(
        text("SELECT symbol FROM bots WHERE id = :bot_id"), {"bot_id": bot_id}
    ).scalar_one()
    return symbol.partition("-")


def _by_quote(connection: Connection) -> dict[str, list[Holding]]:
    found: dict[str, list[Holding]] = {}
    for row in connection.execute(_HOLDINGS, {"quote": None}):
        found.setdefault(row.quote, []).append(_holding(row))
    return found


def _holding(row: Any) -> Holding:
    with exact():
        coins = row.cost if row.price is None else row.quantity * row.price
        return Holding(
            row.bot_id, row.symbol, row.capital, row.cash, coins, min(row.on_order, row.cash), row.is_open
        )


def _wanting(row: Any, order: Order, portfolio: Portfolio) -> Holding:
    """The buyer, at the price it decided at, with its buy."""
    with exact():
        wanted = order.price * order.quantity if order.budget is None else order.budget
        coins = portfolio.coin_value(order.price)
        return Holding(
            row.bot_id, row.symbol, row.capital, portfolio.cash, coins, min(wanted, portfolio.cash)
        )


def _limits(connection: Connection, lock: bool) -> PortfolioLimits | None:
    statement = select(controls.c.value).where(controls.c.name == PORTFOLIO_LIMITS)
    value = connection.execute(statement.with_for_update() if lock else statement).scalar_one_or_none()
    return None if value is None else msgspec.convert(value, PortfolioLimits)


def _state(connection: Connection, quote: str) -> PortfolioState:
    statement = select(controls.c.value).where(controls.c.name == _STATE + quote)
    value = connection.execute(statement).scalar_one_or_none()
    return PortfolioState() if value is None else msgspec.convert(value, PortfolioState)


def _put(connection: Connection, name: str, value: msgspec.Struct) -> None:
    row = insert(controls).values(name=name, value=json.decode(json.encode(value)))
    update = {"value": row.excluded.value, "updated_at": func.now()}
    connection.execute(row.on_conflict_do_update(index_elements=["name"], set_=update))
