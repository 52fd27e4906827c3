"""An account at an exchange in memory, which answers as it is told: for tests of the steps of one order."""

import asyncio
from collections.abc import Callable
from decimal import Decimal

import msgspec

from core.errors import Unavailable
from core.exchange_orders import ExchangeFill, ExchangeOrder, Report, SubmissionState
from core.trades import Side
from pipelines.exchanges.trading import Answer, Busy, Declined, Taken, Unclear

PRICE = Decimal(100)
FEE = Decimal("0.001")


class StandingClock:
    """The exchange's clock, which a test moves."""

    rate = 1.0

    def __init__(self, account: "FakeAccount") -> None:
        self._account = account

    def now_ms(self) -> int:
        """As set."""
        return self._account.now_ms


class FakeAccount:
    """Market orders are filled at once at 100, others wait. Implements `TradingAccount`.

    answers: what happens to the next requests: "taken", "declined", "busy", "lost request", "lost answer",
        "late" (it is carried out at `deliver`) or "half" (half of a market order is filled and the rest
        cancelled); "taken" when there is none left
    sent: client ids of the requests, in order; now_ms: the exchange's clock
    forgotten: client ids of orders that `find` does not know any more; unlisted: those in no list either
    broken: client ids of orders whose answers make no sense; push: tells whoever watches
    balances_open: while it is not set, `balances` does not answer
    """

    def __init__(self) -> None:
        self.clock = StandingClock(self)
        self.answers: list[str] = []
        self.sent: list[str] = []
        self.cancelled: list[str] = []
        self.cancelled_ids: list[str | None] = []
        self.orders: dict[str, Report] = {}
        self.sides: dict[str, Side] = {}
        self.matches: dict[str, list[ExchangeFill]] = {}
        self.allowed = frozenset({"read_only", "trade"})
        self.held: dict[str, Decimal | None] = {"USDT": Decimal(1000)}
        self.balances_open = asyncio.Event()
        self.balances_open.set()
        self.others: list[Report] = []
        self.now_ms = 1_000_000
        self.is_away = False
        self.forgotten: set[str] = set()
        self.unlisted: set[str] = set()
        self.broken: set[str] = set()
        self.push: Callable[[str], None] = lambda _: None
        self._late: list[tuple[ExchangeOrder, int]] = []
        self._ids = 0

    async def server_time_ms(self) -> int:
        """The clock, which stands until a test moves it."""
        self._answer()
        return self.now_ms

    async def permissions(self) -> frozenset[str]:
        """As told."""
        return self.allowed

    async def room(self, order: ExchangeOrder) -> None:
        """Always."""

    async def place(self, order: ExchangeOrder, deadline_ms: int) -> Answer:
        """Do what is next in `answers`."""
        self.sent.append(order.client_id)
        fate = self.answers.pop(0) if self.answers else "taken"
        if fate == "declined":
            return Declined("51008 Insufficient USDT balance in account.")
        if fate == "busy":
            return Busy("50011 Too Many Requests")
        if fate == "late":
            self._late.append((order, deadline_ms))
        elif fate != "lost request":
            self._take(order, order.quantity / 2 if fate == "half" else order.quantity)
        has_answer = fate in {"taken", "half"}
        return Taken(self.orders[order.client_id].exchange_id) if has_answer else Unclear("no answer")

    def deliver(self) -> None:
        """Requests that were late arrive; the exchange refuses those whose time is over."""
        late, self._late = self._late, []
        for order, deadline_ms in late:
            if self.now_ms <= deadline_ms:
                self._take(order, order.quantity)

    def fill(self, client_id: str, part: Decimal, whole: Decimal) -> None:
        """A waiting order meets the market."""
        report = self.orders[client_id]
        self._match(client_id, part)
        done = report.filled + part == whole
        state = SubmissionState.FILLED if done else SubmissionState.WORKING
        self.orders[client_id] = msgspec.structs.replace(
            report, filled=report.filled + part, state=state, order_id=report.exchange_id
        )

    async def cancel(self, order: ExchangeOrder) -> None:
        """What waits is cancelled; what is over stays as it is."""
        self._answer()
        self.cancelled.append(order.client_id)
        self.cancelled_ids.append(order.exchange_id)
        self.end(order.client_id)

    def end(self, client_id: str) -> None:
        """Cancel what waits of an order, whoever wants it."""
        report = self.orders[client_id]
        if not report.state.is_final:
            self.orders[client_id] = msgspec.structs.replace(report, state=SubmissionState.CANCELLED)

    async def find(self, order: ExchangeOrder) -> Report | None:
        """By our id."""
        self._answer()
        if order.client_id in self.broken:
            raise KeyError("state")
        return None if order.client_id in self.forgotten else self.orders.get(order.client_id)

    async def trace(self, order: ExchangeOrder) -> Report | None:
        """By our id, in the lists."""
        self._answer()
        return None if order.client_id in self.unlisted else self.orders.get(order.client_id)

    async def fills(self, symbol: str, order_id: str, filled: Decimal | None = None) -> list[ExchangeFill]:
        """Matches of an order."""
        self._answer()
        return self.matches.get(order_id, [])

    async def open_orders(self) -> list[Report]:
        """What waits, and what others have."""
        return [*self.others, *(report for report in self.orders.values() if not report.state.is_final)]

    async def balances(self) -> dict[str, Decimal | None]:
        """As told."""
        await self.balances_open.wait()
        self._answer()
        return self.held

    async def watch(self, on_change: Callable[[str], None]) -> None:
        """What `push` says."""
        self.push = on_change
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Nothing to close."""

    def _take(self, order: ExchangeOrder, matched: Decimal) -> None:
        self._ids += 1
        ident = str(self._ids)
        self.sides[order.client_id] = order.side
        report = Report(order.client_id, ident, SubmissionState.WORKING, Decimal(0), None)
        self.orders[order.client_id] = report
        if order.kind.value == "market":
            self.fill(order.client_id, matched, order.quantity)
            self.end(order.client_id)

    def _match(self, client_id: str, part: Decimal) -> None:
        ident, side = self.orders[client_id].exchange_id, self.sides[client_id]
        found = self.matches.setdefault(ident, [])
        fee = part * FEE if side is Side.BUY else part * PRICE * FEE
        currency = "BTC" if side is Side.BUY else "USDT"
        trade_id = str(int(ident) * 1000 + len(found))
        found.append(ExchangeFill(trade_id, self.now_ms, side, PRICE, part, fee, currency))

    def _answer(self) -> None:
        if self.is_away:
            raise Unavailable("told to be away")
