"""The simulated exchange as a server on loopback."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from core.clock import Clock
from core.errors import BadInput
from pipelines.clock import SystemClock
from pipelines.exchanges.sim import bulk_http
from pipelines.exchanges.sim.bulk import BulkFiles
from pipelines.exchanges.sim.channels import Channels
from pipelines.exchanges.sim.clock import ClockFile, VirtualClock, start_time
from pipelines.exchanges.sim.connection import Connection
from pipelines.exchanges.sim.delays import Delays
from pipelines.exchanges.sim.exchange import Exchange, Refused
from pipelines.exchanges.sim.fault_plan import parse_faults
from pipelines.exchanges.sim.fault_script import Script
from pipelines.exchanges.sim.faults import Action, ConnectionFaults, RequestFaults
from pipelines.exchanges.sim.feed import Feed
from pipelines.exchanges.sim.history import History
from pipelines.exchanges.sim.limits import RestLimits, SlidingWindow
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.rest import RestApi, error_body, respond
from pipelines.exchanges.sim.sources import open_source
from pipelines.exchanges.sim.trading.keeping import shown_ms
from pipelines.exchanges.sim.trading.private import PrivateSide

_CHECK_S = 0.05
_SAVE_S = 1.0
_CLOSE_S = 2.0  # for a client to answer a close frame


class Server:
    """Routes, connections and the loops behind one simulated exchange."""

    def __init__(self, options: SimOptions, wall: Clock) -> None:
        source = open_source(options)
        self._options = options
        self._clock_file = ClockFile(options.state_file) if options.state_file else None
        times = [self._clock_file.load() if self._clock_file else None]
        times.append(shown_ms(options.accounts_file) if options.accounts_file else None)
        saved = max((time for time in times if time is not None), default=None)
        chosen = options.start_ms if options.start_ms is not None else source.natural_start_ms()
        self.clock = VirtualClock(start_time(wall.now_ms(), chosen, saved), options.speed)
        self._start_ms = self.clock.now_ms()
        self._delays = Delays(options.speed)
        exchange = Exchange(History(source), self.clock, self._delays)
        self._api = RestApi(exchange)
        self._bulk = BulkFiles(exchange.history, self.clock, options.bulk_layout, options.bulk_unsorted)
        self._feed = Feed(exchange, self._api, options.book_heartbeat_s)
        self._plan = parse_faults(options.faults)
        self._delays.set_plan(self._plan)
        self._script = Script(self._plan.script, self.clock.now_ms, self._start_ms)
        self._private = PrivateSide(exchange, options, self._plan, wall.now_ms)
        self._channels = Channels(self._feed, self._private.channels, options.connection_limits)
        self._request_faults = RequestFaults(self._plan, self._script)
        self._rest_limits = RestLimits(options.rate_limit)
        self._dials = SlidingWindow(3, 1.0)
        self._connections: set[Connection] = set()
        self._opened = 0

    def application(self) -> web.Application:
        """The HTTP application."""
        app = web.Application()
        app.router.add_get("/ws/v5/{access}", self._websocket)
        app.router.add_post("/sim/faults", self._change_faults)
        app.router.add_route("*", "/{path:.*}", self._rest)
        return app

    async def run(self) -> None:
        """The feed, the watch over connections and the clock file, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed.run())
            group.create_task(self._private.run())
            group.create_task(self._watch())
            if self._clock_file:
                group.create_task(self._save_clock(self._clock_file))

    def set_faults(self, document: Mapping[str, Any]) -> None:
        """From now on, for the connections there are and those to come: other faults; {} for none."""
        self._plan = parse_faults(document)
        self._delays.set_plan(self._plan)
        # a script counts from the server's start: what lies behind does not happen again
        self._script = Script(self._plan.script, self.clock.now_ms, self._start_ms)
        self._script.begun()
        self._request_faults = RequestFaults(self._plan, self._script)
        self._private.line.set_plan(self._plan)
        for connection in self._connections:
            connection.faults = self._connection_faults(connection.ordinal)

    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def close_connections(self) -> None:
        """Tell every client that the server goes away."""
        for connection in list(self._connections):
            connection.close_soon(1001, "shutdown")

    def save_exact_time(self) -> None:
        """Save the time shown last, at a clean stop."""
        if self._clock_file:
            self._clock_file.save(self.clock.now_ms())

    async def _change_faults(self, request: web.Request) -> web.Response:
        # a browser page of another origin cannot send this content type unasked
        if request.content_type != "application/json":
            return web.Response(status=415, text="application/json is needed")
        try:
            self.set_faults(await request.json())
        except (BadInput, ValueError, TypeError) as error:
            return web.Response(status=400, text=str(error))
        return web.json_response({})

    async def _rest(self, request: web.Request) -> web.Response:
        private = self._private.serves(request.method, request.path)
        bulk = bulk_http.serves(request.method, request.path)
        if not private and not bulk and request.path not in self._api.routes:
            body = b'{"msg":"Not Found","code":404,"data":[]}'
            return web.Response(body=body, status=404, content_type="application/json")
        key = f"{request.remote}/{request.query.get('instType', '')}"
        status = self._request_faults.status()
        if status == 500:
            refused = Refused("50026", "System error, please try again later.", 500)
        elif status == 429 or (not private and not self._rest_limits.allows(request.path, key)):
            refused = Refused("50011", "Too Many Requests", 429)
        elif private:
            return await self._private.respond(request)
        elif bulk:
            symbols = list(self._feed.specs)
            return await bulk_http.respond(self._bulk, symbols, self.clock.now_ms(), request)
        else:
            return await respond(self._api, request)
        return web.Response(body=error_body(refused), status=refused.status, content_type="application/json")

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        access = request.match_info["access"]
        if access not in ("public", "business", "private"):
            return web.Response(status=404)
        if self._options.connection_limits and not self._dials.allows(str(request.remote)):
            return web.Response(status=429, text="more than 3 connections a second")
        socket = web.WebSocketResponse(timeout=_CLOSE_S, compress=self._options.deflate, writer_limit=1 << 20)
        await socket.prepare(request)
        self._opened += 1
        faults = self._connection_faults(self._opened)
        connection = Connection(socket, request.transport, access, self._opened, faults)
        self._connections.add(connection)
        sender = asyncio.create_task(connection.send_queued())
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT and not connection.faults.is_half_open:
                    self._channels.handle(connection, message.data)
        finally:
            self._connections.discard(connection)
            self._channels.leave(connection)
            await _cancelled(sender)
        return socket

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_S)
            now = time.monotonic()
            self._follow_script(now)
            for connection in list(self._connections):
                for action in connection.faults.due(now):
                    self._act(connection, action)
                if connection.faults.is_half_open:
                    continue
                if connection.pending_bytes > self._options.buffer_bytes:
                    connection.close_soon(4005, "buffer full")
                silent = now - connection.last_active > self._options.silent_after_s
                if self._options.connection_limits and silent:
                    connection.close_soon(4004, "No data received in 30s.")

    def _connection_faults(self, ordinal: int) -> ConnectionFaults:
        return ConnectionFaults(self._plan, ordinal, time.monotonic(), self._script)

    def _follow_script(self, now: float) -> None:
        speed = 1.0 if self.clock.speed == "max" else self.clock.speed
        for fault, length_ms in self._script.begun():
            for_s = length_ms / 1000 / speed
            if fault == "book_reset":
                self._feed.reset_book_numbers()
                continue
            for connection in list(self._connections):
                if fault == "disconnect":
                    connection.cut()
                elif fault == "half_open":
                    connection.faults.freeze(now, for_s)
                elif fault == "notice":
                    self._act(connection, connection.faults.warn(now, for_s))

    def _act(self, connection: Connection, action: Action) -> None:
        if action is Action.CUT:
            connection.cut()
        elif action is Action.CLOSE:
            connection.close_soon(1001, "service upgrade")
        else:
            text = "The connection will soon be closed for a service upgrade. Please reconnect."
            notice = {"event": "notice", "code": "64008", "msg": text, "connId": connection.ident}
            connection.reply(msgspec.json.encode(notice))

    async def _save_clock(self, file: ClockFile) -> None:
        last = self.clock.now_ms()
        while True:
            # saved ahead of what can be shown until the next save: a kill must not turn time back
            now = self.clock.now_ms()
            usual = 0 if self.clock.speed == "max" else int(_SAVE_S * 1000 * self.clock.speed)
            file.save(now + 2 * max(usual, now - last))
            last = now
            await asyncio.sleep(_SAVE_S)


@dataclass
class RunningSim:
    """A started server. rest_url: base of /api/v5; ws_url: ends in /ws/v5."""

    rest_url: str
    ws_url: str
    server: Server
    _runner: web.AppRunner
    _task: asyncio.Task[None]

    def now_ms(self) -> int:
        """Virtual time."""
        return self.server.clock.now_ms()

    async def close(self) -> None:
        """Stop, and save the virtual time."""
        await _cancelled(self._task)
        self.server.close_connections()
        self.server.save_exact_time()
        await self._runner.cleanup()

    async def wait_broken(self) -> None:
        """Return only with the exception that ended the feed."""
        await asyncio.shield(self._task)


async def serve(options: SimOptions) -> RunningSim:
    """Start a simulated exchange; BadInput when the port is taken."""
    server = Server(options, SystemClock())
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, options.host, options.port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise BadInput("port", f"{options.port} cannot be bound ({error.strerror}); choose another") from None
    port = runner.addresses[0][1]
    task = asyncio.create_task(server.run())
    host = f"{options.host}:{port}"
    return RunningSim(f"http://{host}", f"ws://{host}/ws/v5", server, runner, task)


async def _cancelled(task: "asyncio.Task[None]") -> None:
    """End a task; an error of its own is raised. Awaiting it with its cancellation suppressed would swallow
    the caller's as well."""
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(result, Exception):
        raise result
