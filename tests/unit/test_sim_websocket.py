"""The simulated exchange's WebSocket: OKX's requests, pushes, errors and connection rules."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import RunningSim, serve

START_MS = 1_790_000_000_000
MINUTE_MS = 60_000


class Socket:
    """A plain WebSocket client."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = connection

    async def send(self, op: str, *args: dict[str, str], **extra: str) -> None:
        await self.socket.send_str(json.dumps({"op": op, "args": args, **extra}))

    async def subscribe(self, channel: str, inst_id: str = "BTC-USDT") -> None:
        await self.send("subscribe", {"channel": channel, "instId": inst_id})
        assert (await self.next())["event"] == "subscribe"

    async def text(self) -> str:
        message = await asyncio.wait_for(self.socket.receive(), 10)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        return str(message.data)

    async def next(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(await self.text())
        return document

    async def rows(self, enough: Callable[[list[Any]], bool]) -> list[Any]:
        """Data rows of the pushes to come, until there are enough."""
        rows: list[Any] = []
        while not enough(rows):
            rows += (await self.next())["data"]
        return rows

    def pause(self) -> None:
        """Stop to read from the network, with little room in the kernel."""
        self.socket.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self._transport().pause_reading()

    def resume(self) -> None:
        """Read again."""
        self._transport().resume_reading()

    def _transport(self) -> Any:
        connection = self.socket._conn
        assert connection is not None
        return connection.transport

    async def closing_code(self) -> int | None:
        while True:
            message = await asyncio.wait_for(self.socket.receive(), 10)
            if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                return self.socket.close_code


@asynccontextmanager
async def connected(running: RunningSim, access: str = "public", compress: int = 0) -> AsyncIterator[Socket]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{running.ws_url}/{access}", compress=compress) as connection,
    ):
        yield Socket(connection)


@asynccontextmanager
async def exchange(**options: Any) -> AsyncIterator[RunningSim]:
    given = {"start_ms": START_MS, "rate_limit": 0, "connection_limits": False, **options}
    running = await serve(SimOptions(**given))
    try:
        yield running
    finally:
        await running.close()


def ids_are_continuous(rows: list[dict[str, str]]) -> bool:
    previous = int(rows[0]["tradeId"])
    for row in rows[1:]:
        if int(row["tradeId"]) - int(row["count"]) != previous:
            return False
        previous = int(row["tradeId"])
    return True


async def rest_rows(running: RunningSim, path: str) -> list[Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{running.rest_url}/api/v5{path}") as answer:
        return list((await answer.json())["data"])


async def test_a_subscription_is_acked_and_starts_with_the_last_trade():
    """The ack echoes id and arg with a connId; the first push is the last trade there was."""
    async with exchange(speed=0.000_001) as running, connected(running) as socket:
        arg = {"channel": "trades", "instId": "BTC-USDT"}
        await socket.send("subscribe", arg, id="1512")
        ack = await socket.next()
        assert (ack["id"], ack["event"], ack["arg"]) == ("1512", "subscribe", arg) and ack["connId"]
        push = await socket.next()
        (newest,) = await rest_rows(running, "/market/trades?instId=BTC-USDT&limit=1")
        assert push["arg"] == arg
        assert (push["data"][0]["tradeId"], push["data"][0]["px"]) == (newest["tradeId"], newest["px"])


async def test_trade_ids_are_continuous_and_the_aggregates_equal_the_single_matches():
    """tradeId − count is the previous tradeId over thousands of rows and midnights; sizes add up exactly."""
    async with exchange(speed="max") as running, connected(running) as socket:
        await socket.subscribe("trades", "LTC-USDT")
        rows = await socket.rows(lambda rows: len(rows) > 6_000)
        assert ids_are_continuous(rows)
        assert any(int(row["count"]) > 1 for row in rows)
        assert int(rows[-1]["ts"]) - int(rows[0]["ts"]) > 86_400_000
        after, first = int(rows[60]["tradeId"]) + 1, int(rows[30]["tradeId"])
        matches = await rest_rows(
            running, f"/market/history-trades?instId=LTC-USDT&after={after}&before={first}"
        )
        joined = sum(Decimal(row["sz"]) for row in rows[31:61])
        assert joined == sum(Decimal(match["sz"]) for match in matches)
        assert {row["px"] for row in rows[31:61]} == {match["px"] for match in matches}


async def test_trades_all_gives_every_match_alone():
    """One row a frame, no count, ids one apart."""
    async with exchange(speed=3_000) as running, connected(running, "business") as socket:
        await socket.subscribe("trades-all")
        frames = [await socket.next() for _ in range(200)]
        rows = [frame["data"][0] for frame in frames]
        assert all(len(frame["data"]) == 1 for frame in frames)
        assert all("count" not in row and "seqId" not in row for row in rows)
        ids = [int(row["tradeId"]) for row in rows]
        assert ids == list(range(ids[0], ids[0] + 200))


async def test_candles_close_once_and_equal_the_rest_rows():
    """Each closed minute is pushed with confirm 1 and is the row that REST gives."""
    async with exchange(speed=600) as running, connected(running, "business") as socket:
        await socket.subscribe("candle1m")
        rows = await socket.rows(lambda rows: sum(row[8] == "1" for row in rows) >= 12)
        closed = [row for row in rows if row[8] == "1"]
        opens = [int(row[0]) for row in closed]
        assert opens == list(range(opens[0], opens[0] + len(opens) * MINUTE_MS, MINUTE_MS))
        after = opens[-1] + MINUTE_MS
        page = await rest_rows(running, f"/market/candles?instId=BTC-USDT&after={after}&limit={len(opens)}")
        assert page[::-1] == closed


async def test_the_book_is_a_snapshot_and_linked_increments():
    """Increments applied to the snapshot keep the book uncrossed; prevSeqId links them, checksum is 0."""
    async with exchange(speed=60) as running, connected(running) as socket:
        await socket.subscribe("books")
        first = await socket.next()
        assert first["action"] == "snapshot" and first["data"][0]["prevSeqId"] == -1
        book = {side: {level[0]: level[1] for level in first["data"][0][side]} for side in ("bids", "asks")}
        sequence = first["data"][0]["seqId"]
        for _ in range(15):
            push = await socket.next()
            (row,) = push["data"]
            assert (push["action"], row["prevSeqId"], row["checksum"]) == ("update", sequence, 0)
            sequence = row["seqId"]
            for side in ("bids", "asks"):
                book[side] |= {level[0]: level[1] for level in row[side]}
                book[side] = {price: size for price, size in book[side].items() if size != "0"}
            assert max(map(Decimal, book["bids"])) < min(map(Decimal, book["asks"]))
            assert len(book["bids"]) == len(book["asks"]) == 50


@pytest.mark.parametrize("channel", ["tickers", "books5", "bbo-tbt"])
async def test_states_are_pushed_again_when_they_change(channel):
    """Several pushes follow one another with rising times and different content."""
    async with exchange(speed=60) as running, connected(running) as socket:
        await socket.subscribe(channel)
        rows = await socket.rows(lambda rows: len(rows) >= 5)
        times = [int(row.pop("ts")) for row in rows]
        assert times == sorted(times) and times[0] < times[-1]
        assert all(older != newer for older, newer in pairwise(rows))


async def test_after_unsubscribing_nothing_more_comes():
    """The unsubscribe ack is followed by pongs only, though trades go on."""
    async with exchange(speed=600) as running, connected(running) as socket:
        await socket.subscribe("trades")
        await socket.rows(lambda rows: len(rows) > 20)
        await socket.send("unsubscribe", {"channel": "trades", "instId": "BTC-USDT"})
        while "event" not in (message := await socket.next()):
            pass
        assert message["event"] == "unsubscribe"
        at = running.now_ms()
        while running.now_ms() < at + 3 * MINUTE_MS:
            await socket.socket.send_str("ping")
            assert await socket.text() == "pong"


@pytest.mark.parametrize(
    ("access", "channel", "inst_id", "code"),
    [
        ("public", "candle1m", "BTC-USDT", "60018"),
        ("business", "trades", "BTC-USDT", "60018"),
        ("public", "trades", "NO-SUCH", "60018"),
        ("public", "books-l2-tbt", "BTC-USDT", "64003"),
    ],
)
async def test_wrong_channels_get_okx_codes(access, channel, inst_id, code):
    """A channel of the other URL, an unknown pair or one for higher tiers is an error event."""
    async with exchange() as running, connected(running, access) as socket:
        await socket.send("subscribe", {"channel": channel, "instId": inst_id}, id="7")
        error = await socket.next()
        assert (error["event"], error["code"], error["id"]) == ("error", code, "7")


@pytest.mark.parametrize(
    "text", ["{", "[]", "5", '{"op":"dance","args":[{}]}', '{"op":"subscribe","args":[1]}']
)
async def test_nonsense_is_60012_and_the_connection_lives(text):
    """An invalid request is answered, not punished."""
    async with exchange() as running, connected(running) as socket:
        await socket.socket.send_str(text)
        assert (await socket.next())["code"] == "60012"
        await socket.socket.send_str("ping")
        assert await socket.text() == "pong"


async def test_the_fourth_connection_within_a_second_is_refused():
    """OKX allows three connection requests a second from one address."""
    async with exchange(connection_limits=True) as running, aiohttp.ClientSession() as session:
        dials = [session.ws_connect(f"{running.ws_url}/public") for _ in range(4)]
        results = await asyncio.gather(*dials, return_exceptions=True)
        refused = [result for result in results if isinstance(result, aiohttp.WSServerHandshakeError)]
        assert [refusal.status for refusal in refused] == [429]
        for result in results:
            if isinstance(result, aiohttp.ClientWebSocketResponse):
                await result.close()


async def test_the_481st_request_of_an_hour_is_refused():
    """Subscription requests are counted per connection; 60014 is the answer to one too many."""
    async with exchange(connection_limits=True, speed=0.000_001) as running, connected(running) as socket:
        for _ in range(481):
            await socket.send("subscribe", {"channel": "status"})
        answers = [await socket.next() for _ in range(481)]
        assert [answer["event"] for answer in answers] == ["subscribe"] * 480 + ["error"]
        assert answers[-1]["code"] == "60014"


async def test_an_idle_connection_is_dropped_with_4004():
    """Without a push or a ping for the silent time (30 s, shortened here) the server closes."""
    async with exchange(connection_limits=True, silent_after_s=0.3) as running, connected(running) as socket:
        assert await socket.closing_code() == 4004


async def test_pings_keep_an_idle_connection():
    """A client that pings is answered long after the silent time."""
    async with exchange(connection_limits=True, silent_after_s=2) as running, connected(running) as socket:
        started = running.now_ms()
        while running.now_ms() < started + 6_000:
            await socket.socket.send_str("ping")
            assert await socket.text() == "pong"


async def test_a_reader_that_falls_behind_is_dropped_and_others_are_served():
    """A client that stops to read loses its connection; one that reads gets every trade."""
    async with (
        exchange(speed=20_000, buffer_bytes=3 << 20) as running,
        connected(running) as reading,
        connected(running) as stuck,
    ):
        stuck.pause()
        await stuck.socket.send_str(
            json.dumps({"op": "subscribe", "args": [{"channel": "trades", "instId": "BTC-USDT"}]})
        )
        await reading.subscribe("trades")
        rows: list[Any] = []
        async with asyncio.timeout(20):
            while running.server.open_connections() == 2:
                rows += (await reading.next())["data"]
        stuck.resume()
        assert ids_are_continuous(rows)


@pytest.mark.parametrize(("channel", "pairs"), [("instruments", 8), ("status", None)])
async def test_channels_without_a_pair_are_acked(channel, pairs):
    """`instruments` starts with all pairs; `status` is acked and stays quiet."""
    async with exchange() as running, connected(running) as socket:
        await socket.send("subscribe", {"channel": channel, "instType": "SPOT"})
        assert (await socket.next())["event"] == "subscribe"
        if pairs:
            assert len((await socket.next())["data"]) == pairs
        await socket.socket.send_str("ping")
        assert await socket.text() == "pong"


async def test_compressed_frames_decode_when_both_sides_want_them():
    """With the option on, permessage-deflate is negotiated and the pushes read the same."""
    async with exchange(deflate=True, speed="max") as running, connected(running, compress=15) as socket:
        assert socket.socket.compress == 15
        await socket.subscribe("trades")
        assert ids_are_continuous(await socket.rows(lambda rows: len(rows) > 2_000))


async def test_at_speed_max_time_stands_still_until_somebody_listens():
    """Virtual time moves only for subscribers, so that nobody misses the beginning."""
    async with exchange(speed="max") as running:
        assert await rest_rows(running, "/public/time") == [{"ts": str(START_MS)}]
        async with connected(running) as socket:
            await socket.subscribe("trades")
            await socket.rows(lambda rows: len(rows) > 1_000)
        assert running.now_ms() > START_MS
