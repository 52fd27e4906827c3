"""An exchange that only pushes trades: `python -m tests.bench.firehose RATE SECONDS SYMBOL,… SOCKETS`.

Prints its port; once so many sockets subscribed all symbols it sends RATE trades a second, one
to a frame as OKX does, round robin over the symbols, and then a line with what it sent and what that cost.
Every trade carries the wall time of its sending.
"""

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Sequence

from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

FIRST_ID = 1_000
BURST_S = 0.004
UNSENT_BYTES = 4_000_000
"""A receiver that is so far behind holds the sending up."""


def pushes(symbols: list[str], first: int, last: int, at_ms: int) -> bytes:
    """WebSocket frames of trades number first … last − 1 (0 is the first of all)."""
    frames = []
    count = len(symbols)
    for number in range(first, last):
        symbol = symbols[number % count]
        text = (
            f'{{"arg":{{"channel":"trades","instId":"{symbol}"}},"data":[{{"instId":"{symbol}",'
            f'"tradeId":"{FIRST_ID + number // count + 1}","px":"{42_000 + number % 97}.{number % 10}",'
            f'"sz":"0.{number % 9_000 + 1_000}0306","side":"{"sell" if number % 3 else "buy"}",'
            f'"ts":"{at_ms}","count":"1","source":"0","seqId":{number}}}]}}'
        )
        frames.append(b"\x81\x7e" + len(text).to_bytes(2, "big") + text.encode())
    return b"".join(frames)


class Subscriber(WSListener):
    """One connection; `symbols` are those it asked for."""

    def __init__(self, everyone: "list[Subscriber]") -> None:
        self.transport: WSTransport | None = None
        self.symbols: list[str] = []
        everyone.append(self)

    def on_ws_connected(self, transport: WSTransport) -> None:
        """picows: open."""
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """picows: a request; every argument is acknowledged."""
        if frame.msg_type != WSMsgType.TEXT:
            return
        if frame.get_payload_as_bytes() == b"ping":
            transport.send(WSMsgType.TEXT, b"pong")
            return
        request = json.loads(frame.get_payload_as_bytes())
        for argument in request["args"]:
            self.symbols.append(argument["instId"])
            ack = {"id": request.get("id"), "event": "subscribe", "arg": argument, "connId": "1"}
            transport.send(WSMsgType.TEXT, json.dumps(ack).encode())


async def send(everyone: list[Subscriber], symbols: list[str], rate: int, seconds: float) -> None:
    """The whole load, in bursts."""
    total, sent, started = int(rate * seconds), 0, time.monotonic()
    while sent < total:
        due = min(total, int((time.monotonic() - started) * rate))
        transports = [one.transport.underlying_transport for one in everyone if one.transport is not None]
        if due > sent and all(t.get_write_buffer_size() < UNSENT_BYTES for t in transports):
            upto = min(due, sent + rate // 20)
            burst = pushes(symbols, sent, upto, time.time_ns() // 1_000_000)
            for transport in transports:
                transport.write(burst)
            sent = upto
        await asyncio.sleep(BURST_S)
    took_s = time.monotonic() - started
    sys.stdout.write(json.dumps({"sent": sent, "took_s": took_s, "cpu_s": time.process_time()}) + "\n")
    sys.stdout.flush()


async def main(rate: int, seconds: float, symbols: list[str], sockets: int) -> None:
    """Serve until the standard input ends."""
    everyone: list[Subscriber] = []

    def accept(request: WSUpgradeRequest) -> WSListener:
        return Subscriber(everyone)

    server = await ws_create_server(accept, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    while sum(set(one.symbols) == set(symbols) for one in everyone) < sockets:
        await asyncio.sleep(0.01)
    await asyncio.sleep(1)
    await send(everyone, symbols, rate, seconds)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


class Firehose:
    """The sender as a process of its own: `async with Firehose(…) as sender`."""

    def __init__(self, rate: int, seconds: float, symbols: Sequence[str], sockets: int = 1) -> None:
        self._arguments = [str(rate), str(seconds), ",".join(symbols), str(sockets)]
        self.url = ""

    async def __aenter__(self) -> "Firehose":
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.firehose", *self._arguments, stdin=PIPE, stdout=PIPE
        )
        self.url = f"ws://127.0.0.1:{int(await self._line())}/ws/v5"
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._process.kill()
        await self._process.wait()

    async def done(self) -> dict[str, float]:
        """Wait until all is sent: `sent`, `took_s`, `cpu_s`."""
        return json.loads(await self._line())

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        return await self._process.stdout.readline()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3].split(","), int(sys.argv[4])))
