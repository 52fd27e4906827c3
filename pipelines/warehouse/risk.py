"""The risk gate as people see and set it: limits over all bots from their file, halts, vetoes, resets."""

from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Engine, func, literal, select, tuple_, update

from config.files import parse_model, read_document
from config.limits import PortfolioLimits as LimitsFile
from config.settings import Settings
from core.exposure import PortfolioLimits, equity_of, exposure_of
from core.orders import OrderStatus
from core.risk import RiskState
from pipelines.warehouse.bots import find_bot, list_bots
from pipelines.warehouse.controls import kill_switch_is_on, switched_off_bots
from pipelines.warehouse.exposure import PortfolioNow, portfolios, read_limits, store_limits
from pipelines.warehouse.health import record_event
from pipelines.warehouse.smallest import refuse_small_limits
from pipelines.warehouse.tables import bots, orders, positions

FILE = "risk.json"


class BotRisk(msgspec.Struct, frozen=True):
    """How a bot stands with its gate.

    limits: as in its file · state: what they are measured against; None before the first candle
    halted: why it buys nothing until it is reset · vetoes: rejected orders; last_veto: reason of the newest
    """

    bot: str
    kill_switch: bool
    limits: dict[str, Any]
    state: RiskState | None
    halted: str | None
    vetoes: int
    last_veto: str | None
    last_veto_at: datetime | None


def limits_file(settings: Settings) -> Path:
    """Where the limits over all bots are."""
    return settings.config_dir / FILE


def check_limits(engine: Engine, document: object, where: str) -> PortfolioLimits:
    """A document as limits over all bots. ConfigError or BadInput names the field and the remedy."""
    wanted = parse_model(LimitsFile, document, where)
    symbols = sorted({row.symbol for row in list_bots(engine)})
    with engine.connect() as connection:
        refuse_small_limits(connection, wanted, symbols)
    return msgspec.convert(dict(wanted), PortfolioLimits)


def apply_limits(engine: Engine, document: object, where: str) -> PortfolioLimits:
    """Check a document and put it in force at once, for every bot's next buy."""
    limits = check_limits(engine, document, where)
    store_limits(engine, limits)
    message = f"limits over all bots are those of {where}"
    record_event(engine, "info", "risk", "limits_changed", message, msgspec.to_builtins(limits))
    return limits


def apply_limits_file(engine: Engine, settings: Settings) -> PortfolioLimits:
    """The file of the config folder put in force."""
    path = limits_file(settings)
    return apply_limits(engine, read_document(path), str(path))


def write_limits(engine: Engine, settings: Settings, document: dict[str, Any]) -> dict[str, Any]:
    """Put limits over all bots in force and write their file; returns those that are set.

    ConfigError or BadInput names the field, and then nothing was written.
    """
    limits = apply_limits(engine, document, "document")
    path = limits_file(settings)
    waiting = path.with_name(path.name + ".writing")
    waiting.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    waiting.replace(path)
    return {name: value for name, value in msgspec.structs.asdict(limits).items() if value}


def bot_risk(engine: Engine, name: str) -> BotRisk:
    """How a bot stands; BadInput when there is no such bot."""
    row = find_bot(engine, name)
    vetoed = (orders.c.bot_id == row.id, orders.c.status == OrderStatus.REJECTED.value)
    newest = select(orders.c.timestamp, orders.c.reason).where(*vetoed)
    with engine.connect() as connection:
        stored = connection.execute(select(positions.c.risk).where(positions.c.bot_id == row.id)).scalar()
        count = connection.execute(select(func.count()).where(*vetoed)).scalar_one()
        last = connection.execute(newest.order_by(orders.c.timestamp.desc()).limit(1)).one_or_none()
    state = None if stored is None else msgspec.convert(stored, RiskState)
    return BotRisk(
        bot=name,
        kill_switch=kill_switch_is_on(engine) or kill_switch_is_on(engine, row.id),
        limits=row.config.get("risk", {}),
        state=state,
        halted=None if state is None else state.halted,
        vetoes=count,
        last_veto=None if last is None else last.reason,
        last_veto_at=None if last is None else last.timestamp,
    )


def order_rows(
    engine: Engine,
    bot_id: int,
    limit: int,
    before: tuple[datetime, str] | None = None,
    status: str | None = None,
    span: tuple[datetime | None, datetime | None] = (None, None),
) -> list[dict[str, Any]]:
    """Newest orders of a bot, newest first, vetoed ones among them; `status` keeps one kind, `span` those of
    a time."""
    shown = ("id", "signal_id", "timestamp", "side", "order_type", "price", "quantity", "filled_quantity")
    query = select(*(orders.c[name] for name in (*shown, "status", "reason"))).where(
        orders.c.bot_id == bot_id
    )
    if status is not None:
        query = query.where(orders.c.status == status)
    first, last = span
    if first is not None:
        query = query.where(orders.c.timestamp >= first)
    if last is not None:
        query = query.where(orders.c.timestamp <= last)
    if before is not None:
        query = query.where(tuple_(orders.c.timestamp, orders.c.id) < tuple_(*map(literal, before)))
    query = query.order_by(orders.c.timestamp.desc(), orders.c.id.desc()).limit(limit)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def reset_bot(engine: Engine, name: str) -> str | None:
    """Lift a bot's halt and measure its losses from here on; the reason of the halt, None if there was none.

    Its process reads the account again before it decides anything. BadInput when there is no such bot.
    """
    row = find_bot(engine, name)
    of_bot = positions.c.bot_id == row.id
    with engine.begin() as connection:
        stored = connection.execute(select(positions.c.risk).where(of_bot).with_for_update()).scalar()
        if stored is None:
            return None
        state = msgspec.convert(stored, RiskState)
        values = {"risk": msgspec.to_builtins(state.reset()), "revision": positions.c.revision + 1}
        connection.execute(update(positions).where(of_bot).values(values))
    message = f"the risk gate of bot {name} was reset" + (f": {state.halted}" if state.halted else "")
    record_event(engine, "info", "risk", "risk_reset", message, {"bot": name})
    return state.halted


def overview(engine: Engine) -> dict[str, Any]:
    """Limits over all bots that are set, how far they are used by quote currency, switches and halts."""
    limits = msgspec.structs.asdict(read_limits(engine))
    return {
        "kill_switch": kill_switch_is_on(engine),
        "switched_off": switched_off_bots(engine),
        "limits": {name: value for name, value in limits.items() if value not in (None, False)},
        "portfolios": [_portfolio(now) for now in portfolios(engine)],
        "halted": _halted_bots(engine),
    }


def _portfolio(now: PortfolioNow) -> dict[str, Any]:
    holdings, state = now.holdings, now.state
    symbols = sorted({holding.symbol for holding in holdings})
    equity = equity_of(holdings)
    return {
        "quote": now.quote,
        "bots": len(holdings),
        "equity": equity,
        "exposure": exposure_of(holdings),
        "exposure_by_symbol": {symbol: exposure_of(holdings, symbol) for symbol in symbols},
        "open_positions": sum(holding.is_open or holding.on_order > 0 for holding in holdings),
        "pnl": equity - sum(holding.capital for holding in holdings),
        "day_start_pnl": state.day_start_pnl,
        "peak_pnl": state.peak_pnl,
        "halted": state.halted,
    }


def _halted_bots(engine: Engine) -> dict[str, str]:
    reason = positions.c.risk["halted"].as_string()
    statement = (
        select(bots.c.name, reason)
        .join(positions, positions.c.bot_id == bots.c.id)
        .where(reason.is_not(None), bots.c.deleted_at.is_(None))
        .order_by(bots.c.name)
    )
    with engine.connect() as connection:
        return {row[0]: row[1] for row in connection.execute(statement)}
