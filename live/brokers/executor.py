"""Sends the orders of all bots of one broker, and follows them: the only writer to the exchange's account."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from core.clock import Clock
from core.errors import BadInput, Unavailable
from core.exchange_orders import ExchangeOrder
from core.instruments import Instrument
from live.bots.faults import is_away, said
from live.bots.threads import uninterrupted
from live.brokers.choose import ORDERS_CHANNEL
from live.brokers.news import News
from live.brokers.protection import Protection
from live.brokers.reconcile import Reconciler
from live.brokers.submission import Patience, Submitter, pause
from pipelines.bus.base import Bus
from pipelines.exchanges.okx.backoff import Backoff
from pipelines.exchanges.trading import TradingAccount
from pipelines.warehouse.bots import CONTROL_CHANNEL
from pipelines.warehouse.exchange_orders import (
    live_orders,
    read_order,
    withdraw_expired,
    withdraw_killed,
)
from pipelines.warehouse.exchange_protection import withdraw_partly_filled
from pipelines.warehouse.instruments import read_instruments

LOOK_S = 0.5
SURVEY_S = 0.25
"""Between two looks at kill switches and at positions without protection, however busy it is."""
AWAY_S = 1.0
CLOCK_S = 10.0
PARKED_S = 10.0
"""Between two tries of an order with which something is wrong that time alone does not cure."""

_log = structlog.get_logger("orders")


class Executor:
    """What is stored is all it knows: at the start, after a crash and always it looks for orders that are not
    over and takes each one step further.

    Parameters
    ----------
    broker: okx-demo or okx; account: the one at the exchange that belongs to it
    """

    def __init__(
        self,
        broker: str,
        account: TradingAccount,
        engine: Engine,
        bus: Bus,
        wall: Clock,
        tell: Callable[[str, str, str], None],
        patience: Patience | None = None,
    ) -> None:
        self._broker = broker
        self._account = account
        self._engine = engine
        self._bus = bus
        self._patience = patience or Patience()
        self._tell = tell
        self._protection = Protection(engine, broker, self._instrument, tell)
        self._reconciler = Reconciler(engine, broker, account, tell, self._activity)
        self._submitter = Submitter(
            engine,
            account,
            wall,
            self._patience,
            self._instrument,
            self._filled,
            tell,
            self._reconciler.knows,
        )
        self._instruments: dict[str, Instrument] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed: dict[str, asyncio.Event] = {}
        self._by_client_id: dict[str, str] = {}
        self._withdrawn: set[str] = set()
        self._faults: dict[str, str] = {}
        self._taken = 0
        self._something = asyncio.Event()
        self._news = News(engine, bus)
        self._surveyed_at = 0.0

    def health(self) -> dict[str, Any]:
        """For the heartbeat: what is under way and what was done since the start."""
        return {"broker": self._broker, "live_orders": len(self._tasks), **self._submitter.counts}

    async def run(self) -> None:
        """Until cancelled, also from a start while the exchange is away. BadInput when it does not want these
        keys."""
        await self._reach()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._account.watch(self._on_push), name="private channels")
            group.create_task(self._listen(), name="bus")
            group.create_task(self._keep_time(), name="clock")
            group.create_task(self._news.run(), name="news")
            group.create_task(self._reconciler.run(), name="reconciler")
            group.create_task(self._reconciler.take_notes(), name="notes")
            while True:
                await self._look(group)
                await pause(self._something, LOOK_S)

    async def _reach(self) -> None:
        """Ask for the clock and for what the keys may do until the exchange answers."""
        backoff = Backoff(AWAY_S, CLOCK_S)
        while True:
            try:
                await self._account.server_time_ms()
                await self._reconciler.check_keys()
                break
            except Unavailable as error:
                if not backoff.failures:
                    self._tell("warning", "exchange_away", f"no order is sent until OKX answers: {error}")
                await asyncio.sleep(backoff.next_delay_s())
        if backoff.failures:
            self._tell("info", "exchange_back", "OKX answers: orders are sent")

    async def _look(self, group: asyncio.TaskGroup) -> None:
        """One round: orders that nobody follows yet, orders to withdraw, positions without protection."""
        try:
            now = time.monotonic()
            is_due = now - self._surveyed_at >= SURVEY_S
            if is_due:
                self._surveyed_at = now
                await self._withdraw()
            for order in await uninterrupted(live_orders, self._engine, self._broker):
                self._take(group, order)
            if is_due and await self._protection.renew():
                self._something.set()
        except SQLAlchemyError as error:
            if not is_away(error):
                raise
            _log.warning("the database is away", error=said(error))
            await asyncio.sleep(AWAY_S)

    async def _withdraw(self) -> None:
        """Mark what must not wait any longer."""
        await uninterrupted(withdraw_killed, self._engine, self._broker)
        await uninterrupted(withdraw_expired, self._engine, self._broker, self._account.clock.now_ms())
        await uninterrupted(withdraw_partly_filled, self._engine, self._broker)

    def _take(self, group: asyncio.TaskGroup, order: ExchangeOrder) -> None:
        name = order.order_id
        if name not in self._tasks:
            self._taken += 1
            self._changed[name] = asyncio.Event()
            self._by_client_id[order.client_id] = name
            self._tasks[name] = group.create_task(self._drive(order), name=name)
        elif order.cancel_reason is not None and name not in self._withdrawn:
            self._withdrawn.add(name)
            self._changed[name].set()

    def _activity(self) -> int | None:
        """How many orders were ever under way; None while one is."""
        return None if self._tasks else self._taken

    async def _drive(self, order: ExchangeOrder) -> None:
        """Take one order to its end. What goes wrong with it is its own affair, and nobody else's."""
        name, looks, state = order.order_id, 0, order.state
        try:
            while True:
                try:
                    order = await uninterrupted(read_order, self._engine, name)
                    if order.state.is_final:
                        return
                    looks, state = (looks + 1 if order.state is state else 0), order.state
                    wait_s = await self._submitter.advance(order, looks)
                    self._faults.pop(name, None)
                except BadInput:
                    raise  # of the keys: no order can go on
                except Unavailable as error:
                    _log.warning("tries again", order_id=name, reason=str(error))
                    wait_s = AWAY_S
                except Exception as error:
                    is_passing = isinstance(error, SQLAlchemyError) and is_away(error)
                    wait_s = AWAY_S if is_passing else self._park(name, error)
                if wait_s:
                    await pause(self._changed[name], wait_s)
        finally:
            self._withdrawn.discard(name)
            self._faults.pop(name, None)
            del self._tasks[name], self._changed[name], self._by_client_id[order.client_id]
            self._something.set()

    def _park(self, name: str, error: Exception) -> float:
        """An order that cannot go on: told once for each reason; the seconds until it is tried again."""
        why = f"{type(error).__name__}: {error}".partition("\n")[0]
        if self._faults.get(name) != why:
            self._faults[name] = why
            _log.exception("an order cannot go on", order_id=name)
            message = f"order {name} cannot go on, and is tried every {PARKED_S:g} s: {why}"
            self._tell("error", "order_stuck", message)
        return PARKED_S

    def _on_push(self, client_id: str) -> None:
        """The exchange says that something happened: to one order, or (nothing named) perhaps to any."""
        names = [self._by_client_id.get(client_id)] if client_id else list(self._changed)
        for name in names:
            if name is not None:
                self._changed[name].set()

    def _filled(self, order: ExchangeOrder, matches: int) -> None:
        """Matches are in a bot's account: it is told, and perhaps it wants a stop now."""
        self._news.filled(order.order_id, matches)
        self._something.set()

    async def _listen(self) -> None:
        async for channel, _ in self._bus.subscribe([ORDERS_CHANNEL, CONTROL_CHANNEL]):
            _log.debug("nudged", channel=channel)
            self._something.set()

    async def _keep_time(self) -> None:
        while True:
            with suppress(Unavailable):
                await self._account.server_time_ms()
            await asyncio.sleep(CLOCK_S)

    def _instrument(self, symbol: str) -> Instrument | None:
        if symbol not in self._instruments:
            self._instruments = read_instruments(self._engine)
        return self._instruments.get(symbol)
