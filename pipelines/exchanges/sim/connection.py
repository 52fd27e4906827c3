"""One WebSocket connection: its subscriptions and its queue of frames to send."""

import asyncio
import secrets
import time
from collections import deque
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from pipelines.exchanges.sim.faults import ConnectionFaults
from pipelines.exchanges.sim.limits import SlidingWindow


@dataclass(frozen=True)
class Subscription:
    """A channel, of an instrument or of all of them (inst_id "")."""

    channel: str
    inst_id: str


class Connection:
    """Frames are queued without waiting and sent in order by `send_queued`.

    access: public, business or private; ordinal: its number since the server's start
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        access: str,
        ordinal: int,
        faults: ConnectionFaults,
    ) -> None:
        self.access = access
        self.ident = secrets.token_hex(4)
        self.faults = faults
        self.ordinal = ordinal
        self.api_key = ""  # of its login
        self.subscriptions: set[Subscription] = set()
        self.requests = SlidingWindow(480, 3_600)
        self.last_active = time.monotonic()
        self.pending_bytes = 0
        self._socket = socket
        self._transport = transport
        self._closing: asyncio.Task[bool] | None = None
        self._queue: deque[bytes] = deque()
        self._filled = asyncio.Event()

    def push(self, frame: bytes) -> None:
        """Queue a data frame, or what its faults make of it."""
        self.last_active = time.monotonic()
        for sent in self.faults.frames(frame, self.last_active):
            self.reply(sent)

    def reply(self, frame: bytes) -> None:
        """Queue a frame that only a half-open connection swallows: acks, errors, pongs."""
        if self.faults.is_half_open:
            return
        self._queue.append(frame)
        self.pending_bytes += len(frame)
        self._filled.set()

    async def send_queued(self) -> None:
        """Send what is queued, for ever; ends when the connection does."""
        while not self._socket.closed:
            while self._queue:
                frame = self._queue.popleft()
                try:
                    await self._socket.send_frame(frame, WSMsgType.TEXT)
                except ConnectionError:
                    return
                self.pending_bytes -= len(frame)
            self._filled.clear()
            await self._filled.wait()

    def close_soon(self, code: int, reason: str) -> None:
        """Close with one of the exchange's codes, without waiting for the client's answer."""
        if self._closing is None:
            closing = self._socket.close(code=code, message=reason.encode(), drain=False)
            self._closing = asyncio.create_task(closing)

    def cut(self) -> None:
        """Break the TCP connection without a close frame."""
        if self._transport is not None:
            self._transport.abort()
