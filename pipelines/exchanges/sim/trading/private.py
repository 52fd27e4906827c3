"""The private side put together, and its HTTP rim."""

import asyncio
from collections.abc import Callable
from decimal import Decimal

import msgspec
from aiohttp import web

from pipelines.exchanges.sim.exchange import Exchange, Refused
from pipelines.exchanges.sim.fault_plan import FaultPlan
from pipelines.exchanges.sim.limits import RestLimits
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.trading.account import Fees
from pipelines.exchanges.sim.trading.channels import PrivateChannels
from pipelines.exchanges.sim.trading.desk import Desk
from pipelines.exchanges.sim.trading.endpoints import Endpoints
from pipelines.exchanges.sim.trading.faulty import FaultyLine, Lost
from pipelines.exchanges.sim.trading.operations import Operations
from pipelines.exchanges.sim.trading.signing import Gate

PREFIX = "/api/v5"
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
            if not self._limits.allows(request.path, key):
                raise Refused("50011", "Too Many Requests", 429)
            now = self._desk.advance()
            args = dict(request.query) if request.method == "GET" else _decoded(raw)
            handler = self._endpoints.routes[(request.method, request.path.removeprefix(PREFIX))]
            trader = self._desk.traders[key]
            if request.method == "GET":
                answer = handler(trader, args, now)
            else:
                answer = self.line.carry(lambda: handler(trader, args, now), args)
            status = 200
        except Lost:
            return await self._cut(request)
        except Refused as refused:
            answer = {"code": refused.code, "msg": refused.message, "data": []}
            status = refused.status
        body = msgspec.json.encode(answer)
        return web.Response(body=body, status=status, content_type="application/json")

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


def _decoded(raw: str) -> object:
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:
        raise Refused("50002", "JSON syntax error", 400) from None
