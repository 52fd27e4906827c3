"""One order on its way to the exchange and back: each step committed, so that any process may go on."""

import asyncio
from collections.abc import Callable
from decimal import Decimal

import msgspec
import structlog
from sqlalchemy import Engine

from core.clock import Clock
from core.exchange_orders import ExchangeOrder, OrderKind, Report, SubmissionState
from core.fills import exact
from core.instruments import Instrument
from core.trades import Side
from live.bots.threads import uninterrupted
from pipelines.exchanges.trading import Busy, Declined, Taken, TradingAccount
from pipelines.warehouse import exchange_fills, exchange_orders

FORGOTTEN_MS = 2 * 3_600_000
"""After which OKX forgets a cancelled order that had no match."""

_log = structlog.get_logger("orders")


class Patience(msgspec.Struct, frozen=True):
    """Times in seconds.

    order_s: how long the exchange may take an order that was sent; algo_s: an algo order, which OKX takes
        until its stamp is 30 s old
    grace_s: after that, until an order that was taken must be visible
    entry_s: age of a buy that is not worth sending any more; sells are sent at any age
    look_s, slowest_s: between two looks at a waiting order without news, growing from one to the other
    attempts: requests for one order, before it counts as rejected
    """

    order_s: float = 5.0
    algo_s: float = 31.0
    grace_s: float = 1.0
    entry_s: float = 30.0
    look_s: float = 0.2
    slowest_s: float = 5.0
    attempts: int = 20


class Submitter:
    """Takes orders from one state to the next, whichever process left them there.

    Parameters
    ----------
    wall: for the age of decisions
    instrument: the rules of a symbol; None while they are not stored
    on_fill: called after new matches of an order were stored, with their number
    """

    def __init__(
        self,
        engine: Engine,
        account: TradingAccount,
        wall: Clock,
        patience: Patience,
        instrument: Callable[[str], Instrument | None],
        on_fill: Callable[[ExchangeOrder, int], None],
    ) -> None:
        self.counts = {"sent": 0, "declined": 0, "busy": 0, "unclear": 0, "found": 0, "not_taken": 0}
        self._engine = engine
        self._account = account
        self._wall = wall
        self._patience = patience
        self._instrument = instrument
        self._on_fill = on_fill
        self._proven_ms = 0

    async def advance(self, order: ExchangeOrder, looks: int) -> float:
        """Make the next step of an order; the seconds after which the one after that is due.

        looks: how often this order was looked at in its state. Unavailable, or SQLAlchemy's errors, when the
        step could not be made: it may be tried again.
        """
        if order.state is SubmissionState.SUBMITTING:
            return await self._submit(order)
        if order.state is SubmissionState.SENDING:
            return await self._resolve(order)
        return await self._follow(order, looks)

    async def _submit(self, order: ExchangeOrder) -> float:
        """Nothing of this order is at the exchange."""
        if (reason := order.cancel_reason or self._too_old(order)) is not None:
            await self._move(order, SubmissionState.CANCELLED, reason)
            return 0
        if order.attempts >= self._patience.attempts:
            await self._move(order, SubmissionState.REJECTED, f"not taken in {order.attempts} attempts")
            return 0
        if order.side is Side.SELL and order.kind is OrderKind.MARKET:
            why = "the position is sold by a signal"
            if await uninterrupted(exchange_orders.withdraw_before_sale, self._engine, order.bot_id, why):
                return self._patience.look_s
        quantity = await self._quantity(order)
        if quantity is None:
            await self._move(order, SubmissionState.CANCELLED, "nothing is left to sell")
            return 0
        return await self._send(order, quantity)

    async def _send(self, order: ExchangeOrder, quantity: Decimal) -> float:
        await self._account.room(order)
        deadline_ms = self._account.clock.now_ms() + self._exchange_ms(self._valid_s(order))
        if not await uninterrupted(exchange_orders.claim, self._engine, order, quantity, deadline_ms):
            return 0
        self.counts["sent"] += 1
        answer = await self._account.place(msgspec.structs.replace(order, quantity=quantity), deadline_ms)
        if isinstance(answer, Taken):
            await self._move(order, SubmissionState.WORKING, exchange_id=answer.exchange_id)
        elif isinstance(answer, Declined):
            self.counts["declined"] += 1
            await self._move(order, SubmissionState.REJECTED, answer.reason)
        elif isinstance(answer, Busy):
            self.counts["busy"] += 1
            await self._move(order, SubmissionState.SUBMITTING)
            return min(0.1 * 2.0 ** min(order.attempts, 6), self._patience.slowest_s)
        else:
            self.counts["unclear"] += 1
            _log.warning("unclear", order_id=order.order_id, reason=answer.reason)
        return 0

    async def _resolve(self, order: ExchangeOrder) -> float:
        """A request left, and its answer is not known: the exchange is asked, and nothing is sent before it
        must have refused what may still be on its way."""
        last_ms = (order.deadline_ms or 0) + self._exchange_ms(self._patience.grace_s)
        if self._proven_ms <= last_ms:
            self._proven_ms = max(self._proven_ms, await self._account.server_time_ms())
        # what was true when it was asked after that time stays true
        is_conclusive, proven_ms = self._proven_ms > last_ms, self._proven_ms
        report = await self._account.find(order)
        if report is not None:
            self.counts["found"] += 1
            await self._move(order, SubmissionState.WORKING, exchange_id=report.exchange_id)
            return 0
        if is_conclusive:
            self.counts["not_taken"] += 1
            _log.info("not taken", order_id=order.order_id, attempts=order.attempts)
            await self._move(order, SubmissionState.SUBMITTING)
            return 0
        left_s = (last_ms - proven_ms) / 1000 / max(self._account.clock.rate, 0.001)
        return max(self._patience.look_s, min(left_s, self._patience.slowest_s))

    async def _follow(self, order: ExchangeOrder, looks: int) -> float:
        """The exchange has it: take over what it says."""
        if order.cancel_reason is not None:
            await self._account.cancel(order)
        report = await self._account.find(order)
        if report is None:
            return await self._unknown(order)
        if await self._take_over(order, report):
            return 0
        return min(self._patience.look_s * 2.0 ** min(looks, 10), self._patience.slowest_s)

    async def _take_over(self, order: ExchangeOrder, report: Report) -> bool:
        """Store the exchange's view; whether the order is over. It is only with all its matches."""
        fills, seen = [], order.filled_quantity
        if report.filled > seen and report.order_id is not None:
            fills = await self._account.fills(order.symbol, report.order_id)
            seen = sum((fill.quantity for fill in fills), Decimal(0))
        state = report.state if seen >= report.filled else SubmissionState.WORKING
        child_id = report.order_id if order.kind.is_protective else None
        if fills or state.is_final or child_id != order.child_id:
            reason = order.cancel_reason or report.reason or _ended_early(state, seen)
            new = await uninterrupted(
                exchange_fills.record, self._engine, order, fills, state, reason, child_id
            )
            if new:
                self._on_fill(order, new)
        return state.is_final

    async def _unknown(self, order: ExchangeOrder) -> float:
        if self._wall.now_ms() - order.created_ms > FORGOTTEN_MS:
            reason = (
                order.cancel_reason or "the exchange does not know it any more: cancelled without a match"
            )
            await self._move(order, SubmissionState.CANCELLED, reason)
            return 0
        _log.error("the exchange does not know an order that it took", order_id=order.order_id)
        return self._patience.slowest_s

    async def _quantity(self, order: ExchangeOrder) -> Decimal | None:
        """What to send: a sell never more than is held, in whole lots; None when that is too little."""
        if order.side is Side.BUY:
            return order.quantity
        held = await uninterrupted(exchange_orders.held, self._engine, order.bot_id)
        instrument = await uninterrupted(self._instrument, order.symbol)
        if instrument is None:
            return order.quantity if order.quantity <= held else None
        with exact():
            quantity = min(order.quantity, instrument.floor_size(held))
        return quantity if quantity > 0 and quantity >= instrument.min_size else None

    def _too_old(self, order: ExchangeOrder) -> str | None:
        age_s = (self._wall.now_ms() - order.created_ms) / 1000
        if order.side is Side.SELL or age_s <= self._patience.entry_s:
            return None
        return f"not sent: decided {age_s:.0f} s ago; a buy is worth sending for {self._patience.entry_s:g} s"

    def _valid_s(self, order: ExchangeOrder) -> float:
        return self._patience.algo_s if order.kind.is_protective else self._patience.order_s

    def _exchange_ms(self, seconds: float) -> int:
        """Seconds here as ms of the exchange's clock, which may be an accelerated one."""
        return int(seconds * 1000 * max(self._account.clock.rate, 1.0))

    async def _move(
        self,
        order: ExchangeOrder,
        state: SubmissionState,
        reason: str | None = None,
        exchange_id: str | None = None,
    ) -> None:
        values = {} if exchange_id is None else {"exchange_id": exchange_id}
        await uninterrupted(exchange_orders.step, self._engine, order.order_id, state, reason, **values)
        if state.is_final:
            _log.info("over", order_id=order.order_id, state=state.value, reason=reason)


def _ended_early(state: SubmissionState, filled: Decimal) -> str | None:
    if state is not SubmissionState.CANCELLED:
        return None
    return "the exchange cancelled the rest" if filled else "the exchange cancelled it"


async def pause(changed: asyncio.Event, seconds: float) -> None:
    """Until something changed, or for so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return
    changed.clear()
