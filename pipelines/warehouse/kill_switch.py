"""The kill switch, of one bot or of all: what waits is withdrawn, every order is vetoed, positions are sold.

The switch is a row that every decision reads in its own transaction, so it holds from the moment it is
stored, over restarts, for bots that run and bots that do not. A bot that decided in the same instant
withdraws its order at the next price it sees. Turning it off lets bots go on from where they are.
"""

from decimal import Decimal

import msgspec
from sqlalchemy import Engine, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from config.files import BotFile, ConfigError, parse_model
from core.accounts import Account, Outcome, Rules
from core.decisions import withdraw
from core.errors import TcpError
from core.fills import Costs
from core.instruments import Instrument
from core.matching import match_open
from core.orders import Order, OrderType
from core.risk import SOLD, RiskLimits
from core.timeframes import Timeframe
from core.trades import Side
from pipelines.warehouse.bot_ledger import Ledger
from pipelines.warehouse.bots import BotRow, cancel_open_orders, find_bot, list_bots
from pipelines.warehouse.controls import set_kill_switch
from pipelines.warehouse.health import record_event
from pipelines.warehouse.instruments import read_instruments
from pipelines.warehouse.real_orders import sender_is_missing
from pipelines.warehouse.sql import EXCHANGE, to_ms
from pipelines.warehouse.tables import bots, positions

_NEWEST = text("""
    SELECT close, greatest(timestamp, (SELECT exchange_time FROM heartbeats WHERE component = 'live')) AS at
    FROM market_data WHERE exchange = :exchange AND symbol = :symbol AND timeframe = '1m'
    ORDER BY timestamp DESC LIMIT 1
""").bindparams(exchange=EXCHANGE)


class Switched(msgspec.Struct, frozen=True):
    """What turning the switch did.

    bot: whose switch; None: that of all · cancelled: orders withdrawn · sold: bots whose position was sold
    unsold: bot → why its position was not
    """

    on: bool
    bot: str | None = None
    cancelled: int = 0
    sold: tuple[str, ...] = ()
    unsold: dict[str, str] = {}


def switch(engine: Engine, on: bool, reason: str, bot: str | None = None, flatten: bool = False) -> Switched:
    """Turn the switch of one bot, or of all, and note it in system_events.

    flatten: with `on`, sell what the bots hold, each in one transaction: at the newest stored price less
    spread and slippage. Doing it again sells what could not be sold before. BadInput: no such bot.
    """
    row = None if bot is None else find_bot(engine, bot)
    bot_id, wanted = (None if row is None else row.id), on and flatten
    set_kill_switch(engine, on, reason, bot_id, wanted)
    done = Switched(on, bot)
    if on:
        cancelled = cancel_open_orders(engine, "the kill switch was turned on", bot_id)
        done = msgspec.structs.replace(done, cancelled=cancelled)
    if wanted:
        sold, unsold = flatten_bots(engine, [row] if row is not None else list_bots(engine, deleted=True))
        done = msgspec.structs.replace(done, sold=sold, unsold=unsold)
    _note(engine, done, reason)
    return done


def flatten_bots(engine: Engine, rows: list[BotRow]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Sell what these bots hold; those that sold, and of the others why not: what is wrong with one keeps no
    other from being sold. Bots that hold nothing are in neither."""
    listed = read_instruments(engine)
    sold: list[str] = []
    unsold: dict[str, str] = {}
    for row in rows:
        if row.quantity == 0:
            continue
        try:
            trouble = _flatten(engine, row, listed.get(row.symbol))
        except (ConfigError, TcpError, SQLAlchemyError) as error:
            trouble = str(error).partition("\n")[0]
        if trouble is None:
            sold.append(row.name)
        else:
            unsold[row.name] = trouble
    return tuple(sold), unsold


def _flatten(engine: Engine, row: BotRow, instrument: Instrument | None) -> str | None:
    """Sell what a bot holds; why that was not possible."""
    config = parse_model(BotFile, row.config, f"bot {row.name}")
    if config.broker != "paper":
        missing = sender_is_missing(engine, config.broker)
        if missing is None:
            return (
                f"it trades at {config.broker}: the process that sends its orders withdraws and sells there"
            )
        return f"it trades at {config.broker}, where nobody withdraws or sells for it now: {missing}"
    if instrument is None:
        return f"the rules of {row.symbol} are not stored: start the daemon once"
    ledger = Ledger(engine, row.id, row.symbol, Timeframe.parse(row.timeframe))
    with engine.begin() as connection:
        connection.execute(select(positions.c.cash).where(positions.c.bot_id == row.id).with_for_update())
        newest = connection.execute(_NEWEST, {"symbol": row.symbol}).one_or_none()
        if newest is None:
            return f"no price of {row.symbol} is stored"
        outcome = _sale(config, instrument, ledger.restore(), newest.close, to_ms(newest.at))
        if not outcome.executions:
            return outcome.orders[-1].reason if outcome.orders else "it holds nothing that could be sold"
        signal_id: str = connection.execute(
            text("SELECT id FROM signals WHERE bot_id = :bot_id ORDER BY timestamp DESC LIMIT 1"),
            {"bot_id": row.id},
        ).scalar_one()
        ledger.write(connection, _with_signal(outcome, signal_id), to_ms(newest.at), None)
        value = outcome.account.portfolio.value(newest.close)
        connection.execute(update(bots).where(bots.c.id == row.id).values(current_balance=value))
        connection.execute(
            update(positions).where(positions.c.bot_id == row.id).values(revision=positions.c.revision + 1)
        )
    return None


def _sale(config: BotFile, instrument: Instrument, account: Account, price: Decimal, at_ms: int) -> Outcome:
    """All that is held sold at `price`, as an order at the market; what waits is withdrawn."""
    spread = config.execution.spread if config.execution is not None else Decimal(0)
    costs = Costs(config.fee, config.slippage, spread=spread)
    rules = Rules(config.bot_id, instrument, costs, RiskLimits())
    withdrawn = withdraw(account, SOLD)
    order = Order(
        id=f"{config.bot_id}-{at_ms}-sold",
        signal_id="",
        side=Side.SELL,
        order_type=OrderType.MARKET,
        timestamp_ms=at_ms,
        price=price,
        quantity=account.portfolio.quantity,
        reason=SOLD,
    )
    account = msgspec.structs.replace(withdrawn.account, open_order=order)
    met = match_open(rules, account, price, at_ms, at_ms)
    return msgspec.structs.replace(met, orders=(*withdrawn.orders, *met.orders))


def _with_signal(outcome: Outcome, signal_id: str) -> Outcome:
    """The sale named after the newest signal: the tables want one."""

    def named(order: Order) -> Order:
        return order if order.signal_id else msgspec.structs.replace(order, signal_id=signal_id)

    executions = tuple(msgspec.structs.replace(one, order=named(one.order)) for one in outcome.executions)
    orders = tuple(named(order) for order in outcome.orders)
    return msgspec.structs.replace(outcome, orders=orders, executions=executions)


def _note(engine: Engine, done: Switched, reason: str) -> None:
    whose = "all bots" if done.bot is None else f"bot {done.bot}"
    parts = [f"the kill switch of {whose} is {'on' if done.on else 'off'}"]
    if done.cancelled:
        parts.append(f"{done.cancelled} orders withdrawn")
    if done.sold:
        parts.append(f"sold what {', '.join(done.sold)} held")
    parts += [f"{name} was not sold: {why}" for name, why in done.unsold.items()]
    record_event(
        engine,
        "warning" if done.on else "info",
        "risk",
        f"kill_switch_{'on' if done.on else 'off'}",
        "; ".join(parts),
        {"reason": reason, **msgspec.to_builtins(done)},
    )
