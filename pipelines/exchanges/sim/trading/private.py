"""The private side put together, and its HTTP rim."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
from aiohttp import web

from pipelines.exchanges.sim.exchange import Exchange, Refused
from pipelines.exchanges.sim.fault_plan import FaultPlan
from pipelines.exchanges.sim.limits import REST_LIMITS, RestLimits
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.trading.account import Fees
from pipelines.exchanges.sim.trading.channels import PrivateChannels
from pipelines.exchanges.sim.trading.desk import Desk
from pipelines.exchanges.sim.trading.endpoints import Endpoints, Handler
from pipelines.exchanges.sim.trading.faulty import FaultyLine, Lost, rejected
from pipelines.exchanges.sim.trading.keeping import AccountsFile
from pipelines.exchanges.sim.trading.operations import Operations
from pipelines.exchanges.sim.trading.signing import Gate
from pipelines.exchanges.sim.trading.trader import Trader

PREFIX = "/api/v5"
_EXPIRING = ("/trade/order", "/trade/batch-orders", "/trade/amend-order", "/trade/amend-batch-orders")
_TICK_S = 0.01


class PrivateSide:
    """Accounts behind signed requests. wall_ms: the wall clock."""

    def __init__(
        self, exchange: Exchange, options: SimOptions, plan: FaultPlan, wall_ms: Callable[[], int]
    ) -> None:
        balances = {currency: Decimal(amount) for currency, amount in options.balances.items()}
        fees = Fees(Decimal(options.maker_fee), Decimal(options.taker_fee))
        keys = tuple(key.key for key in options.api_keys)
        self._clock = exchange.clock
        self._wall_ms = wall_ms
        self._desk = Desk(exchange, keys, balances, fees)
        if options.accounts_file is not None:
            self._desk.keep = AccountsFile(options.accounts_file, self._desk).save
        self._gate = Gate(options.api_keys, 1.0 if options.speed == "max" else options.speed)
        self._limits = RestLimits(options.rate_limit)
        operations = Operations(self._desk, options.rate_limit)
        self._endpoints = Endpoints(self._desk, operations)
        self.line = FaultyLine(plan)
        self.channels = PrivateChannels(
            self._desk, self._gate, operations, self._endpoints, self.line, self._clocks
        )

    def serves(self, method: str, path: str) -> bool:
        """Whether a request is for a private endpoint."""
        return (method, path.removeprefix(PREFIX)) in self._endpoints.routes

    async def respond(self, request: web.Request) -> web.Response:
        """Check who asks, do it, and answer."""
        raw = (await request.read()).decode("utf-8", "replace")
        try:
            key = self._gate.request(request.headers, request.method, request.raw_path, raw, self._clocks())
            if not self._within_limits(request, key):
                raise Refused("50011", "Too Many Requests", 429)
            now = self._desk.advance()
            args = dict(request.query) if request.method == "GET" else _decoded(raw)
            handler = self._endpoints.routes[(request.method, request.path.removeprefix(PREFIX))]
            trader = self._desk.traders[key]
            if request.method == "GET":
                answer = handler(trader, args, now)
            else:
                expires_ms = _expiry(request)
                answer = self.line.carry(
                    lambda: self._unless_expired(handler, trader, args, expires_ms), args, trader.account
                )
            self._desk.keep()
            status = 200
        except Lost:
            return await self._cut(request)
        except Refused as refused:
            answer = {"code": refused.code, "msg": refused.message, "data": []}
            status = refused.status
        body = msgspec.json.encode(answer)
        return web.Response(body=body, status=status, content_type="application/json")

    def _within_limits(self, request: web.Request, key: str) -> bool:
        own = f"{request.method} {request.path}"
        return self._limits.allows(own if own in REST_LIMITS else request.path, key)

    def _unless_expired(
        self, handler: Handler, trader: Trader, args: object, expires_ms: int | None
    ) -> dict[str, Any]:
        """Carry a request out when it arrives, unless its time is over by then."""
        now = self._desk.advance()
        if expires_ms is not None and now > expires_ms:
            text = (
                "The expTime can't be earlier than the current system time. Please adjust it and try again."
            )
            return rejected(args, "50036", text)
        answer = handler(trader, args, now)
        self._desk.keep()
        return answer

    async def _cut(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.line.timeout_s)
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)  # reaches nobody

    async def run(self) -> None:
        """Match waiting orders and push what happens, for ever."""
        while True:
            await asyncio.sleep(_TICK_S)
            self.channels.flush()

    def _clocks(self) -> tuple[int, int]:
        return self._clock.now_ms(), self._wall_ms()


def _expiry(request: web.Request) -> int | None:
    """The header expTime, which OKX heeds where orders are placed and amended."""
    given = request.headers.get("expTime")
    if given is None or request.path.removeprefix(PREFIX) not in _EXPIRING:
        return None
    if not given.isdigit():
        raise Refused("51000", "Parameter expTime error", 400)
    return int(given)


def _decoded(raw: str) -> object:
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:
        raise Refused("50002", "JSON syntax error", 400) from None
