"""What one bot did, written so that nothing is lost and nothing happens twice.

A decision is one transaction. It begins by locking the bot's position and comparing the last judged candle
with what the process believes; another process, a stop or a pause since then makes it a `Conflict`, and
nothing is written. Ids are deterministic and inserts ignore what is there, so any step may be repeated.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import json
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    ScalarSelect,
    Select,
    bindparam,
    func,
    select,
    text,
    update,
)

from core.bot_states import Desired
from core.candles import Candle
from core.decisions import Account, Matching, Outcome
from core.portfolio import Portfolio
from core.risk import RiskState
from core.signals import Signal
from core.timeframes import Timeframe
from pipelines.warehouse.bot_orders import OrderGone, working_orders, write_executions, write_orders
from pipelines.warehouse.controls import KILL_SWITCH, PORTFOLIO_LIMITS, kill_switch_of
from pipelines.warehouse.sql import EXCHANGE, to_datetime, to_ms
from pipelines.warehouse.tables import (
    bot_performance,
    bots,
    controls,
    heartbeats,
    market_data,
    positions,
    signals,
)

_POSITION = """
    UPDATE positions SET cash = :cash, quantity = :quantity, cost = :cost, realised_pnl = :realised_pnl,
        fees = :fees, total_trades = :total_trades, winning_trades = :winning_trades,
        last_candle = :last_candle, risk = CAST(:risk AS jsonb), matching = CAST(:matching AS jsonb),
        updated_at = now()
    WHERE bot_id = :bot_id
"""
_UPDATE_POSITION = text(_POSITION)
# One statement for what every candle writes, because each round trip costs latency.
_JUDGE = text(f"""
    WITH signal AS (
        INSERT INTO signals (id, bot_id, timestamp, signal_type, price, confidence, indicators)
        VALUES (:signal_id, :bot_id, :at, :signal_type, :price, :confidence, CAST(:indicators AS jsonb))
        ON CONFLICT DO NOTHING
    ), position AS (
        {_POSITION}
    ), snapshot AS (
        INSERT INTO bot_performance (bot_id, timestamp, total_value, cash_balance, crypto_balance,
            total_trades, winning_trades, total_fees)
        VALUES (:bot_id, :at, :total_value, :cash, :crypto_balance, :total_trades, :winning_trades, :fees)
        ON CONFLICT (bot_id, timestamp) DO UPDATE SET
            total_value = excluded.total_value, cash_balance = excluded.cash_balance,
            crypto_balance = excluded.crypto_balance, total_trades = excluded.total_trades,
            winning_trades = excluded.winning_trades, total_fees = excluded.total_fees
    )
    UPDATE bots SET current_balance = :total_value WHERE id = :bot_id AND status = 'active'
""")  # noqa: S608 - made of the constant above


# Time has gone on since the heartbeat, at least as fast as the server's clock.
_EXCHANGE_TIME = select(heartbeats.c.exchange_time + (func.now() - heartbeats.c.timestamp)).where(
    heartbeats.c.component == "live"
)


class Standing(msgspec.Struct, frozen=True):
    """What holds for a decision beside the candles.

    kill_switch: it is on, for this bot or all; limited: there are limits over all bots
    exchange_ms: the exchange's time as the daemon's last heartbeat tells; None: it never told
    """

    kill_switch: bool
    limited: bool
    exchange_ms: int | None


class Conflict(Exception):
    """The stored bot is not as this process remembers it: read it again before going on."""


class Ledger:
    """The rows of one bot.

    Parameters
    ----------
    bot_id: bots.id; symbol, timeframe: of its candles
    """

    def __init__(self, engine: Engine, bot_id: int, symbol: str, timeframe: Timeframe) -> None:
        self._engine = engine
        self._bot_id = bot_id
        self._symbol = symbol
        self._timeframe = timeframe
        self._standing = _standing(bot_id)

    def restore(self) -> Account:
        """The account as of the last committed step."""
        with self._engine.connect() as connection:
            row = connection.execute(select(positions).where(positions.c.bot_id == self._bot_id)).one()
            portfolio = Portfolio(
                cash=row.cash,
                quantity=row.quantity,
                cost=row.cost,
                realised_pnl=row.realised_pnl,
                fees=row.fees,
                total_trades=row.total_trades,
                winning_trades=row.winning_trades,
            )
            waiting, protection = working_orders(connection, self._bot_id)
            return Account(
                portfolio=portfolio,
                risk=self._risk_state(connection, portfolio)
                if row.risk is None
                else msgspec.convert(row.risk, RiskState),
                open_order=waiting,
                last_candle_ms=_ms_or_none(row.last_candle),
                protection=protection,
                matching=_matching(row.matching),
                revision=row.revision,
            )

    def candles_after(self, close_ms: int, limit: int = 500) -> list[Candle]:
        """The oldest `limit` stored candles that closed after `close_ms`, exact, oldest first."""
        statement = (
            select(market_data)
            .where(*self._candles(), market_data.c.timestamp > to_datetime(close_ms))
            .order_by(market_data.c.timestamp)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [self._candle(row) for row in connection.execute(statement)]

    def candle_at(self, close_ms: int) -> Candle | None:
        """The stored candle that closed then; None if it is not there (yet)."""
        statement = select(market_data).where(
            *self._candles(), market_data.c.timestamp == to_datetime(close_ms)
        )
        with self._engine.connect() as connection:
            row = connection.execute(statement).one_or_none()
        return None if row is None else self._candle(row)

    def exchange_ms(self) -> int:
        """The exchange's time, by the daemon's last heartbeat and the time since; 0 before the first."""
        with self._engine.connect() as connection:
            return _ms_or_none(connection.execute(_EXCHANGE_TIME).scalar_one_or_none()) or 0

    def exchange_close_ms(self) -> int | None:
        """Close of the newest candle that should exist by the exchange's clock, as the daemon last saw it
        (in its heartbeat); None if it never said."""
        statement = select(heartbeats.c.exchange_time).where(heartbeats.c.component == "live")
        with self._engine.connect() as connection:
            seen = connection.execute(statement).scalar_one_or_none()
        return None if seen is None else self._timeframe.open_ms(to_ms(seen))

    def last_judged_ms(self) -> int | None:
        """Close of the newest candle ever judged, by its snapshot, which retention keeps; None before the
        first."""
        of_bot = bot_performance.c.bot_id == self._bot_id
        statement = select(func.max(bot_performance.c.timestamp)).where(of_bot)
        with self._engine.connect() as connection:
            newest = connection.execute(statement).scalar_one_or_none()
        return None if newest is None else to_ms(newest)

    def begin_decision(self, connection: Connection, account: Account) -> Standing:
        """Open a step: lock the bot and compare. Raises Conflict."""
        row = connection.execute(self._standing).one_or_none()
        if row is None:
            raise Conflict("the bot was purged")
        if _ms_or_none(row.last_candle) != account.last_candle_ms:
            raise Conflict(f"last judged candle is {row.last_candle} in the database")
        if row.revision != account.revision:
            raise Conflict("somebody changed the account")
        if _matching(row.matching) != account.matching:
            raise Conflict("another process has met the prices since")
        return Standing(bool(row.killed), row.limited is not None, _ms_or_none(row.exchange_time))

    def write(self, connection: Connection, outcome: Outcome, at_ms: int, signal: Signal | None) -> None:
        """Store what a step changed. at_ms: close of the judged candle, or time of the fill between two."""
        if signal is None or outcome.close is None:
            connection.execute(_UPDATE_POSITION, self._account_values(outcome))
        else:
            values = self._account_values(outcome) | self._judged(outcome, signal, at_ms)
            if connection.execute(_JUDGE, values).rowcount != 1:
                raise Conflict("the bot is not to be active any more")
        try:
            write_orders(connection, self._bot_id, outcome.orders)
        except OrderGone as gone:
            raise Conflict(str(gone)) from None
        write_executions(connection, self._bot_id, outcome.executions)

    def beat(self, at_ms: int, latencies: Sequence[tuple[str, float]]) -> Desired:
        """Heartbeat at wall time; stores latencies (signal id, ms) measured since; returns what is wanted,
        which of a purged bot is that it stops."""
        statement = (
            update(bots)
            .where(bots.c.id == self._bot_id)
            .values(last_heartbeat=to_datetime(at_ms))
            .returning(bots.c.status)
        )
        with self._engine.begin() as connection:
            if latencies:
                connection.execute(
                    update(signals)
                    .where(signals.c.id == bindparam("signal"))
                    .values(latency_ms=bindparam("latency")),
                    [{"signal": name, "latency": latency} for name, latency in latencies],
                )
            return Desired(connection.execute(statement).scalar_one_or_none() or Desired.STOPPED)

    def _account_values(self, outcome: Outcome) -> dict[str, Any]:
        portfolio, judged_ms = outcome.account.portfolio, outcome.account.last_candle_ms
        values: dict[str, Any] = {name: getattr(portfolio, name) for name in Portfolio.__struct_fields__}
        return values | {
            "bot_id": self._bot_id,
            "last_candle": None if judged_ms is None else to_datetime(judged_ms),
            "risk": json.encode(outcome.account.risk).decode(),
            "matching": json.encode(outcome.account.matching).decode(),
        }

    def _judged(self, outcome: Outcome, signal: Signal, at_ms: int) -> dict[str, Any]:
        portfolio, close = outcome.account.portfolio, outcome.close or Decimal(0)
        value = portfolio.value(close)
        return {
            "signal_id": outcome.signal_id,
            "at": to_datetime(at_ms),
            "signal_type": signal.signal_type.value,
            "price": close,
            "confidence": signal.confidence,
            "indicators": json.encode(signal.indicators).decode(),
            "total_value": value,
            "crypto_balance": value - portfolio.cash,
        }

    def _risk_state(self, connection: Connection, portfolio: Portfolio) -> RiskState:
        """Of an account that an older version kept: what RiskState.after would have built over all candles so
        far, from the snapshots; the orders and losses before are forgotten."""
        first_value = select(bots.c.virtual_balance).where(bots.c.id == self._bot_id)
        begin: Decimal = connection.execute(first_value).scalar_one()
        of_bot = bot_performance.c.bot_id == self._bot_id
        newest = connection.execute(
            select(bot_performance.c.timestamp, bot_performance.c.total_value)
            .where(of_bot)
            .order_by(bot_performance.c.timestamp.desc())
            .limit(1)
        ).one_or_none()
        if newest is None:
            return RiskState.begin(begin)
        last_ms = to_ms(newest.timestamp)
        day_start_ms = RiskState.day_of(last_ms - self._timeframe.ms)
        before: Decimal | None = connection.execute(
            select(bot_performance.c.total_value)
            .where(of_bot, bot_performance.c.timestamp <= to_datetime(day_start_ms))
            .order_by(bot_performance.c.timestamp.desc())
            .limit(1)
        ).scalar_one_or_none()
        highest = select(func.max(bot_performance.c.total_value)).where(of_bot)
        peak = Decimal(connection.execute(highest).scalar_one())
        return RiskState(
            day_start_ms=day_start_ms,
            day_start_value=begin if before is None else before,
            last_value=newest.total_value,
            peak_value=max(begin, peak),
            silent_candles=self._silent_candles(connection, last_ms),
            exits=portfolio.total_trades,
            wins=portfolio.winning_trades,
        )

    def _silent_candles(self, connection: Connection, until_ms: int) -> int:
        until = market_data.c.timestamp <= to_datetime(until_ms)
        traded = (
            select(func.max(market_data.c.timestamp))
            .where(*self._candles(), until, market_data.c.volume > 0)
            .scalar_subquery()
        )
        statement = select(func.count()).where(*self._candles(), until, market_data.c.timestamp > traded)
        return connection.execute(statement).scalar_one()

    def _candles(self) -> tuple[Any, ...]:
        return (
            market_data.c.exchange == EXCHANGE,
            market_data.c.symbol == self._symbol,
            market_data.c.timeframe == self._timeframe.value,
        )

    def _candle(self, row: Any) -> Candle:
        return Candle(
            symbol=self._symbol,
            timeframe=self._timeframe,
            close_ms=to_ms(row.timestamp),
            open=row.open,
            high=row.high,
            low=row.low,
            close=row.close,
            volume=row.volume,
            trades_count=row.trades_count,
            source=row.source,
            revision=row.revision,
            provisional=row.provisional,
        )


def _standing(bot_id: int) -> Select[Any]:
    """The bot's position, locked, and what holds for its next decision, in one round trip."""

    def control(column: ColumnElement[Any], *names: str) -> ScalarSelect[Any]:
        return select(column).where(controls.c.name.in_(names)).scalar_subquery()

    on = func.bool_or(controls.c.value["on"].as_boolean())
    return (
        select(
            positions.c.last_candle,
            positions.c.revision,
            positions.c.matching,
            control(on, KILL_SWITCH, kill_switch_of(bot_id)).label("killed"),
            control(controls.c.name, PORTFOLIO_LIMITS).label("limited"),
            _EXCHANGE_TIME.scalar_subquery().label("exchange_time"),
        )
        .where(positions.c.bot_id == bot_id)
        .with_for_update(of=positions)
    )


def _matching(stored: Any) -> Matching:
    return Matching() if stored is None else msgspec.convert(stored, Matching, str_keys=True)


def _ms_or_none(at: Any) -> int | None:
    return None if at is None else to_ms(at)
