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
from pipelines.warehouse.exchange_protection import is_beyond

FORGOTTEN_MS = 2 * 3_600_000
"""After which OKX forgets a cancelled order that had no match."""

_NOT_CARRIED_OUT = frozenset({SubmissionState.CANCELLED, SubmissionState.REJECTED})

Tell = Callable[[str, str, str], None]
"""Level, event, message."""

_log = structlog.get_logger("orders")


class Patience(msgspec.Struct, frozen=True):
    """Times in seconds.

    order_s: how long the exchange may take an order that was sent; algo_s: an algo order, which OKX takes
        until its stamp is 30 s old
    grace_s: after that, until an order that was taken must be visible
    entry_s: age of a buy that is not worth sending any more; sells are sent at any age
    look_s, slowest_s: between two looks at a waiting order without news, growing from one to the other
    attempts: requests for one order, after which a buy counts as rejected, and a sale is told of
    refused_s: longest time between two requests for a sale that the exchange refuses
    missing_s: how long an order that the exchange took has to be in none of its lists to count as gone
    """

    order_s: float = 5.0
    algo_s: float = 31.0
    grace_s: float = 1.0
    entry_s: float = 30.0
    look_s: float = 0.2
    slowest_s: float = 5.0
    attempts: int = 20
    refused_s: float = 300.0
    missing_s: float = 60.0


class Submitter:
    """Takes orders from one state to the next, whichever process left them there.

    Parameters
    ----------
    wall: for the age of decisions
    instrument: the rules of a symbol; None while they are not stored
    on_fill: called after new matches of an order were stored, with their number
    tell: for events people should know of: level, event, message
    may_buy: whether a buy in a pair may leave yet; it is asked again a little later
    """

    def __init__(
        self,
        engine: Engine,
        account: TradingAccount,
        wall: Clock,
        patience: Patience,
        instrument: Callable[[str], Instrument | None],
        on_fill: Callable[[ExchangeOrder, int], None],
        tell: Tell,
        may_buy: Callable[[str], bool],
    ) -> None:
        self.counts = {"sent": 0, "declined": 0, "busy": 0, "unclear": 0, "found": 0, "not_taken": 0}
        self._engine = engine
        self._account = account
        self._wall = wall
        self._patience = patience
        self._instrument = instrument
        self._on_fill = on_fill
        self._tell = tell
        self._may_buy = may_buy
        self._proven_ms = 0
        self._missing_since: dict[str, int] = {}
        self._told: set[tuple[str, str]] = set()

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
            why = f"not taken in {self._patience.attempts} attempts"
            if order.side is Side.BUY:
                await self._move(order, SubmissionState.REJECTED, why)
                return 0
            await self._complain(order, why)
        if order.side is Side.BUY and not self._may_buy(order.symbol):
            return self._patience.look_s
        if order.side is Side.SELL and order.kind is OrderKind.MARKET:
            why = "the position is sold by a signal"
            if await uninterrupted(exchange_orders.withdraw_before_sale, self._engine, order, why):
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
            return self._patience.look_s
        self.counts["sent"] += 1
        answer = await self._account.place(msgspec.structs.replace(order, quantity=quantity), deadline_ms)
        if isinstance(answer, Taken):
            await self._move(order, SubmissionState.WORKING, exchange_id=answer.exchange_id)
        elif isinstance(answer, Declined):
            return await self._declined(order, answer.reason)
        elif isinstance(answer, Busy):
            self.counts["busy"] += 1
            await self._move(order, SubmissionState.SUBMITTING)
            return min(0.1 * 2.0 ** min(order.attempts, 6), self._patience.slowest_s)
        else:
            self.counts["unclear"] += 1
            _log.warning("unclear", order_id=order.order_id, reason=answer.reason)
        return 0

    async def _declined(self, order: ExchangeOrder, reason: str) -> float:
        """The exchange does not want it. A buy is over, and so is a stop whose price is passed, in place of
        which the position is sold; any other sale is wanted until it is made, later each time."""
        self.counts["declined"] += 1
        passed = order.kind.is_protective and is_beyond(reason)
        if order.side is Side.BUY or passed:
            await self._move(order, SubmissionState.REJECTED, reason)
            return 0
        await self._move(order, SubmissionState.SUBMITTING)
        await self._complain(order, f"the exchange refuses it: {reason}")
        return min(self._patience.look_s * 2.0 ** min(order.attempts, 20), self._patience.refused_s)

    async def _complain(self, order: ExchangeOrder, why: str) -> None:
        """Coins are held that were to be sold, or protected: once for each reason somebody is told."""
        if (order.order_id, why) in self._told:
            return
        self._told.add((order.order_id, why))
        what = "the sale of" if order.kind is OrderKind.MARKET else f"the {order.kind.value} over"
        message = (
            f"{what} {order.quantity.normalize():f} {order.symbol} (order {order.order_id}) is not at the"
            f" exchange, and is tried again and again: {why}"
        )
        self._tell("error", "sale_not_placed", message)
        await uninterrupted(exchange_orders.complain, self._engine, order.bot_id, message)

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
            report = await self._missing(order)
        else:
            self._missing_since.pop(order.order_id, None)
        if await self._take_over(order, report):
            return 0
        return min(self._patience.look_s * 2.0 ** min(looks, 10), self._patience.slowest_s)

    async def _take_over(self, order: ExchangeOrder, report: Report) -> bool:
        """Store the exchange's view; whether the order is over. It is only with all its matches."""
        fills, seen = [], order.filled_quantity
        if report.filled > seen and report.order_id is not None:
            fills = await self._account.fills(order.symbol, report.order_id, report.filled)
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
        if order.side is Side.SELL and state in _NOT_CARRIED_OUT and order.cancel_reason is None:
            await self._complain_of_rest(order, report.reason or _ended_early(state, seen))
        return state.is_final

    async def _complain_of_rest(self, order: ExchangeOrder, why: str | None) -> None:
        """The exchange took a sale or a stop and ended it itself: told, unless too little is left to sell."""
        if await self._quantity(order) is not None:
            await self._complain(order, why or "the exchange could not carry it out")

    async def _missing(self, order: ExchangeOrder) -> Report:
        """`find` did not know an order that the exchange took: what its lists and its matches say instead.

        It is over when it has been in none of them for a while, and is old enough to have been forgotten.
        """
        report = await self._account.trace(order)
        if report is not None:
            self._missing_since.pop(order.order_id, None)
            return report
        placed = order.child_id if order.kind.is_protective else order.exchange_id
        fills = await self._account.fills(order.symbol, placed) if placed else []
        now_ms, filled = self._wall.now_ms(), sum((fill.quantity for fill in fills), Decimal(0))
        missing_ms = now_ms - self._missing_since.setdefault(order.order_id, now_ms)
        is_gone = missing_ms >= self._patience.missing_s * 1000 and now_ms - order.created_ms > FORGOTTEN_MS
        state, reason = SubmissionState.WORKING, None
        if is_gone:
            state = SubmissionState.FILLED if filled >= order.quantity else SubmissionState.CANCELLED
            reason = "the exchange does not know it any more" + ("" if filled else ": cancelled, no match")
            self._missing_since.pop(order.order_id)
        said = "is in none of its lists, " + ("and counts as over" if is_gone else "and is looked for")
        if (order.order_id, said) not in self._told:
            self._told.add((order.order_id, said))
            self._tell("error", "order_missing", f"order {order.order_id}, which the exchange took, {said}")
        return Report(order.client_id, order.exchange_id or "", state, filled, placed, reason)

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
        if order.side is Side.SELL and state in {SubmissionState.WORKING, SubmissionState.CANCELLED}:
            await uninterrupted(exchange_orders.complain, self._engine, order.bot_id, None)
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
