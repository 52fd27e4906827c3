"""An account at OKX through ccxt: the `TradingAccount` port, within OKX's limits."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import ccxt
import msgspec
import structlog

from core.errors import BadInput, Unavailable
from core.exchange_orders import ExchangeFill, ExchangeOrder, Report
from pipelines.clock import ExchangeClock
from pipelines.exchanges.ccxt import okx_rows as rows
from pipelines.exchanges.ccxt.okx_private import Answered, open_private
from pipelines.exchanges.okx.backoff import Backoff
from pipelines.exchanges.okx.keys import Keys
from pipelines.exchanges.okx.limits import WINDOW_MARGIN_S, Budget
from pipelines.exchanges.trading import Answer, Busy, Taken, Unclear

# "METHOD path" → (requests, seconds), per user, and for those of _BY_PAIR per user and instrument
LIMITS = {
    "POST trade/order": (60, 2.0),
    "POST trade/cancel-order": (60, 2.0),
    "POST trade/order-algo": (20, 2.0),
    "POST trade/cancel-algos": (20, 2.0),
    "GET trade/order": (60, 2.0),
    "GET trade/order-algo": (20, 2.0),
    "GET trade/fills": (60, 2.0),
    "GET trade/fills-history": (10, 2.0),
    "GET trade/orders-pending": (60, 2.0),
    "GET trade/orders-history": (40, 2.0),
    "GET trade/orders-history-archive": (20, 2.0),
    "GET trade/orders-algo-pending": (20, 2.0),
    "GET trade/orders-algo-history": (20, 2.0),
    "GET account/balance": (10, 2.0),
    "GET account/config": (5, 2.0),
    "GET public/time": (10, 2.0),
}
_BY_PAIR = frozenset({"POST trade/order", "POST trade/cancel-order"})
ALGO_KINDS = "conditional,oco,move_order_stop"
PLAIN_LISTS = ("trade/orders-pending", "trade/orders-history", "trade/orders-history-archive")
ALGO_LISTS = ("trade/orders-algo-pending", "trade/orders-algo-history")
PAGE = 100
READ_ATTEMPTS = 4

_log = structlog.get_logger("orders")


class OkxTrading:
    """One account. Use it in one event loop; `close` when done.

    clock: the exchange's, set by `server_time_ms`

    Parameters
    ----------
    urls: `rest` and `ws` over ccxt's own addresses
    """

    def __init__(self, keys: Keys, is_demo: bool, urls: Mapping[str, str]) -> None:
        self.clock = ExchangeClock()
        self._keys = keys
        self._exchange = open_private(keys, is_demo, urls)
        self._budgets: defaultdict[str, dict[str, Budget]] = defaultdict(dict)

    async def server_time_ms(self) -> int:
        """The exchange's clock, which `clock` follows from here."""
        await self._budget("GET public/time").wait()
        asked = time.monotonic()
        try:
            (row,) = await self._read("public/time", {}, api="public")
            exchange_ms = int(row["ts"])
        except (Answered, ValueError, KeyError) as error:
            raise Unavailable(f"public/time: {self._said(error)}") from None
        self.clock.answer(exchange_ms, asked, time.monotonic())
        if self.clock.steady is not None:
            # requests are stamped by the exchange's clock: one that is 30 s off is refused
            self._exchange.options["timeDifference"] = self._exchange.milliseconds() - exchange_ms
        return exchange_ms

    async def permissions(self) -> frozenset[str]:
        """What the key may do: read_only, trade, withdraw."""
        row = await self._single("account/config")
        return frozenset(str(row.get("perm") or "").split(","))

    async def room(self, order: ExchangeOrder) -> None:
        """Wait until the limits let one more order through."""
        await self._budget(*_endpoint(order)).wait()

    async def place(self, order: ExchangeOrder, deadline_ms: int) -> Answer:
        """Send an order. Ask for `room` before."""
        name, ident, body = "trade/order", "ordId", rows.order_request(order)
        # OKX looks at the expiry of orders only; an algo order expires with its stamp, after 30 s
        headers = {"expTime": str(deadline_ms)}
        if order.kind.is_protective:
            name, ident, body, headers = "trade/order-algo", "algoId", rows.algo_request(order), {}
        try:
            document = await self._exchange.request(name, "private", "POST", body, headers)
        except Answered as answered:
            answer = rows.sent(answered.document, ident)
        except (ccxt.RateLimitExceeded, ccxt.DDoSProtection) as error:
            answer = Busy(self._said(error))
        except (ccxt.BaseError, OSError) as error:
            answer = Unclear(self._said(error))
        else:
            answer = rows.sent(document, ident)
        if isinstance(answer, Taken):
            return answer
        return msgspec.structs.replace(answer, reason=self._keys.hidden(answer.reason))

    async def cancel(self, order: ExchangeOrder) -> None:
        """Withdraw an order; Unavailable when nobody answers."""
        name, body = "trade/cancel-order", self._named(order)
        arguments: Any = body
        if order.kind.is_protective:
            name, arguments = "trade/cancel-algos", [body]
        key = f"POST {name}"
        await self._budget(key, order.symbol if key in _BY_PAIR else "").wait()
        try:
            await self._exchange.request(name, "private", "POST", arguments)
        except Answered as answered:
            _log.debug("not cancelled", client_id=order.client_id, reason=self._said(answered))
        except (ccxt.BaseError, OSError) as error:
            raise Unavailable(self._said(error)) from None

    async def find(self, order: ExchangeOrder) -> Report | None:
        """What the exchange knows of an order."""
        if order.kind.is_protective:
            row = await self._one("trade/order-algo", {"instId": order.symbol, **self._algo_named(order)})
            return None if row is None else await self._algo_report(order, row)
        row = await self._one("trade/order", self._named(order))
        return None if row is None else rows.order_report(row)

    async def trace(self, order: ExchangeOrder) -> Report | None:
        """An order by its number in the lists: of what waits, of a week, of three months."""
        if order.exchange_id is None:
            return None
        if order.kind.is_protective:
            query = {"ordType": rows.algo_kind(order), "algoId": order.exchange_id}
            for name in ALGO_LISTS:
                for row in await self._get(name, query):
                    if row["algoId"] == order.exchange_id:
                        return await self._algo_report(order, row, PLAIN_LISTS)
            return None
        row = await self._listed(order.symbol, order.exchange_id, PLAIN_LISTS)
        return None if row is None else rows.order_report(row)

    async def fills(self, symbol: str, order_id: str, filled: Decimal | None = None) -> list[ExchangeFill]:
        """All matches of an order, also of those from before the three days that the quick list has."""
        query = {"instType": "SPOT", "instId": symbol, "ordId": order_id}
        found: dict[str, ExchangeFill] = {}
        for name in ("trade/fills", "trade/fills-history"):
            if filled is not None and sum((one.quantity for one in found.values()), Decimal(0)) >= filled:
                break
            for fill in map(rows.fill, await self._pages(name, query, "billId")):
                found[fill.trade_id] = fill
        return sorted(found.values(), key=lambda fill: (fill.timestamp_ms, int(fill.trade_id)))

    async def open_orders(self) -> list[Report]:
        """Every order that waits, algo orders included."""
        plain = await self._pages("trade/orders-pending", {"instType": "SPOT"}, "ordId")
        waiting: list[Any] = []
        for kind in ALGO_KINDS.split(","):
            query = {"instType": "SPOT", "ordType": kind}
            waiting += await self._pages("trade/orders-algo-pending", query, "algoId")
        with _readable("the list of waiting orders"):
            return [*map(rows.order_report, plain), *(rows.algo_report(row, None) for row in waiting)]

    async def balances(self) -> Mapping[str, Decimal | None]:
        """What the account holds by currency; None: not a number."""
        row = await self._single("account/balance")
        with _readable("the balances"):
            return {str(detail["ccy"]): rows.balance(detail) for detail in row["details"]}

    async def watch(self, on_change: Callable[[str], None]) -> None:
        """Both private channels, each on its connection, for ever."""
        self._exchange.on_order = on_change
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch("orders", "private", on_change))
            group.create_task(self._watch("orders-algo", "business", on_change))

    async def close(self) -> None:
        """Close all connections."""
        await self._exchange.close()

    async def _watch(self, channel: str, access: str, on_change: Callable[[str], None]) -> None:
        backoff = Backoff(first_s=0.5, longest_s=30.0)
        while True:
            try:
                await self._exchange.watch_orders_of(channel, access)
                backoff.reset()
            except (ccxt.BaseError, OSError) as error:
                _log.warning("private channel lost", channel=channel, reason=self._said(error))
                on_change("")
                await asyncio.sleep(backoff.next_delay_s())

    async def _algo_report(
        self, order: ExchangeOrder, row: Any, lists: tuple[str, ...] = ()
    ) -> Report | None:
        """An algo order with the order that it placed, if it has, looked for in `lists` too; None when the
        exchange does not know that one any more, whose number we have already."""
        child_id = rows.child_of(row)
        if child_id is None:
            return rows.algo_report(row, None)
        child = await self._one("trade/order", {"instId": order.symbol, "ordId": child_id})
        if child is None:
            child = await self._listed(order.symbol, child_id, lists)
        is_gone = child is None and child_id == order.child_id
        return None if is_gone else rows.algo_report(row, child)

    async def _listed(self, symbol: str, number: str, lists: tuple[str, ...]) -> Any:
        """The row of an order in the first of the lists that has it; None: none does."""
        newer = str(int(number) + 1)  # `after`: the rows before that number, newest first
        query = {"instType": "SPOT", "instId": symbol, "after": newer, "limit": str(PAGE)}
        for name in lists:
            for row in await self._get(name, query):
                if row["ordId"] == number:
                    return row
        return None

    async def _get(self, name: str, query: Mapping[str, str]) -> list[Any]:
        """The rows of an answer, within the limits. Unavailable when the exchange gives none."""
        await self._budget(f"GET {name}").wait()
        try:
            return await self._read(name, query)
        except Answered as answered:
            raise Unavailable(f"{name}: {self._said(answered)}") from None

    async def _single(self, name: str) -> Any:
        """The one row of an answer about the account."""
        found = await self._get(name, {})
        if len(found) != 1:
            raise Unavailable(f"{name}: {len(found)} rows instead of one")
        return found[0]

    async def _read(self, name: str, query: Mapping[str, str], api: str = "private") -> list[Any]:
        """The rows of an answer; passing faults are tried again. Answered: it is a refusal."""
        backoff = Backoff(first_s=0.1, longest_s=2.0)
        while True:
            try:
                document = await self._exchange.request(name, api, "GET", dict(query))
                return list(document["data"])
            except Answered as answered:
                code = str(answered.document.get("code"))
                if code not in rows.PASSING:
                    if code.startswith("501"):
                        raise BadInput("keys", f"{code} {self._said(answered)}") from None
                    raise
                reason = self._said(answered)
            except (ccxt.BaseError, OSError) as error:
                reason = self._said(error)
            delay = backoff.next_delay_s()
            if backoff.failures >= READ_ATTEMPTS:
                raise Unavailable(f"{name}: {reason}") from None
            await asyncio.sleep(delay)

    async def _one(self, name: str, query: Mapping[str, Any]) -> Any:
        """The row of one order; None when the exchange knows none."""
        await self._budget(f"GET {name}").wait()
        try:
            found = await self._read(name, query)
        except Answered as answered:
            if str(answered.document.get("code")) in rows.NOT_FOUND:
                return None
            raise Unavailable(f"{name}: {self._said(answered)}") from None
        return found[0] if found else None

    async def _pages(self, name: str, query: Mapping[str, str], ident: str) -> list[Any]:
        found: list[Any] = []
        after: dict[str, str] = {}
        while True:
            page = await self._get(name, {**query, **after, "limit": str(PAGE)})
            found += page
            if len(page) < PAGE:
                return found
            after = {"after": str(page[-1][ident])}

    def _named(self, order: ExchangeOrder) -> dict[str, str]:
        if order.kind.is_protective:
            return {"instId": order.symbol, **self._algo_named(order)}
        known = {"ordId": order.exchange_id} if order.exchange_id else {"clOrdId": order.client_id}
        return {"instId": order.symbol, **known}

    def _algo_named(self, order: ExchangeOrder) -> dict[str, str]:
        if order.exchange_id:
            return {"algoId": order.exchange_id}
        return {"algoClOrdId": order.client_id}

    def _budget(self, endpoint: str, symbol: str = "") -> Budget:
        budgets = self._budgets[endpoint]
        if symbol not in budgets:
            count, seconds = LIMITS[endpoint]
            budgets[symbol] = Budget(count, seconds + WINDOW_MARGIN_S)
        return budgets[symbol]

    def _said(self, error: BaseException) -> str:
        """An error in one line, without keys."""
        plain = " ".join(f"{type(error).__name__}: {error}".split())
        return self._keys.hidden(plain)[:300]


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """What makes no sense in an answer about the whole account is no answer. Of one order it is an error that
    whoever follows the order has to tell."""
    try:
        yield
    except (KeyError, ValueError, TypeError, ArithmeticError) as error:
        raise Unavailable(f"{what} cannot be read: {error!r}") from None


def _endpoint(order: ExchangeOrder) -> tuple[str, str]:
    return ("POST trade/order-algo", "") if order.kind.is_protective else ("POST trade/order", order.symbol)
