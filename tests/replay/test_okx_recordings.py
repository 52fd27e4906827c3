"""Every recorded frame of OKX goes through the codec. What is expected is computed from the JSON alone."""

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from core.trades import Trade
from pipelines.exchanges.okx.book import Applied, OrderBook
from pipelines.exchanges.okx.codec import Codec, decode_books
from pipelines.exchanges.okx.frames import (
    Ack,
    BookPush,
    CandlesPush,
    Frame,
    TickersPush,
    TradesPush,
    Unknown,
)
from pipelines.exchanges.okx.rest import decode_instruments

pytestmark = pytest.mark.real_data

JULY = ("2021-07_OKEX.ws.1.0.jsonl.gz", "2021-07_OKEX.ws.2.0.jsonl.gz", "2021-07_OKEX.ws.3.0.jsonl.gz")
FEBRUARY, MAY = "2022-02-27_OKX.ws.1.0.jsonl.gz", "2022-05-13_OKX.ws.1.0.jsonl.gz"
OKCOIN = "2023-05_OKCOIN.ws.1.0.jsonl.gz"
RECORDINGS = {
    JULY[0]: {"Ack": 30, "trades": 36, "tickers": 46, "book snapshot": 10, "book update": 1494},
    JULY[1]: {"Ack": 30, "trades": 36, "tickers": 47, "book snapshot": 10, "book update": 1436},
    JULY[2]: {"Ack": 30, "trades": 36, "tickers": 46, "book snapshot": 10, "book update": 1412},
    FEBRUARY: {"Ack": 60, "trades": 19, "tickers": 19, "book snapshot": 20, "book update": 3659},
    MAY: {"Ack": 18, "trades": 74, "tickers": 28, "book snapshot": 3, "book update": 287},
    OKCOIN: {"Ack": 40, "trades": 4, "tickers": 8, "book snapshot": 4, "book update": 2, "candles": 12},
}
"""How many frames of each kind came in, counted from the JSON."""
INSTRUMENTS = {
    "2021-07-22_public_instruments_instType_SPOT.json.gz": 475,
    "2022-02-27_public_instruments_instType_SPOT.json.gz": 509,
    "2022-05-13_public_instruments_instType_SPOT.json.gz": 513,
    "2022-05-13_public_instruments_instType_SWAP.json.gz": 166,
}
"""How many instruments each recorded answer lists."""
KINDS = {
    "trades": TradesPush,
    "tickers": TickersPush,
    "books": BookPush,
    "books5": BookPush,
    "bbo-tbt": BookPush,
    "books-l2-tbt": BookPush,
    "candle1m": CandlesPush,
}


def received(path: Path) -> Iterator[str]:
    """The frames that came in, as text."""
    with gzip.open(path, "rt") as lines:
        for line in lines:
            record = json.loads(line)
            if record["dir"] == "in":
                yield record["raw"]


def expected_kind(message: dict[str, Any]) -> type:
    if message.get("event") == "subscribe":
        return Ack
    return KINDS.get(message.get("arg", {}).get("channel"), Unknown)


def kind_of(frame: Frame) -> str:
    """A word for the kind, a snapshot of a book apart from an update."""
    if isinstance(frame, BookPush):
        return f"book {frame.action}"
    return {TradesPush: "trades", TickersPush: "tickers", CandlesPush: "candles"}.get(
        type(frame), type(frame).__name__
    )


def trades_of(path: Path) -> list[Trade]:
    codec = Codec()
    frames = [codec.decode(raw) for raw in received(path)]
    return [trade for frame in frames if isinstance(frame, TradesPush) for trade in frame.trades]


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_frame_of_a_session_has_its_kind(shared_data: Path, name: str):
    """Each frame decodes into the kind its JSON names, as many of each as counted by hand, none unknown."""
    codec = Codec()
    kinds: Counter[str] = Counter()
    for raw in received(shared_data / "okx_ws" / name):
        frame = codec.decode(raw)
        assert type(frame) is expected_kind(json.loads(raw)), raw[:200]
        kinds[kind_of(frame)] += 1
    assert kinds == RECORDINGS[name]
    assert not codec.unknown


def test_trade_ids_of_2022_05_13_are_without_a_hole(shared_data: Path):
    """BTC-USDT: ids 338476307 to 338476375, each following the one before."""
    trades = [t for t in trades_of(shared_data / "okx_ws" / MAY) if t.symbol == "BTC-USDT"]
    assert [t.trade_id for t in trades] == list(range(338_476_307, 338_476_376))
    assert all(this.first_id == last.trade_id + 1 for last, this in pairwise(trades))


def test_three_parallel_connections_carry_the_same_trades(shared_data: Path):
    """De-duplicated by (symbol, id), the three connections of 2021-07 are equal: nothing lost or changed."""
    sessions = [trades_of(shared_data / "okx_ws" / name) for name in JULY]
    unique = [{(t.symbol, t.trade_id): t for t in session} for session in sessions]
    assert unique[0] == unique[1] == unique[2]
    raw_keys = {
        (row["instId"], int(row["tradeId"]))
        for name in JULY
        for raw in received(shared_data / "okx_ws" / name)
        if (message := json.loads(raw)).get("arg", {}).get("channel") == "trades" and "data" in message
        for row in message["data"]
    }
    assert set(unique[0]) == raw_keys
    assert sum(map(len, sessions)) == 3 * len(raw_keys)


@pytest.mark.parametrize("name", RECORDINGS)
def test_trades_keep_every_digit(shared_data: Path, name: str):
    """Price, size, time, id and side are those of the JSON, to the last digit."""
    path = shared_data / "okx_ws" / name
    rows = [
        row
        for raw in received(path)
        if (message := json.loads(raw)).get("arg", {}).get("channel") == "trades"
        for row in message.get("data", [])
    ]
    found = [
        (t.symbol, t.trade_id, t.timestamp_ms, str(t.price), str(t.size), t.side) for t in trades_of(path)
    ]
    # str(Decimal) of a small number may use an exponent: compare as decimals with their exponent.
    assert [(*f[:3], Decimal(f[3]).as_tuple(), Decimal(f[4]).as_tuple(), f[5]) for f in found] == [
        (
            row["instId"],
            int(row["tradeId"]),
            int(row["ts"]),
            Decimal(row["px"]).as_tuple(),
            Decimal(row["sz"]).as_tuple(),
            row["side"],
        )
        for row in rows
    ]
    assert found


def test_books_keep_every_level(shared_data: Path):
    """Prices and sizes of both sides of every book are those of the JSON, in order."""
    codec = Codec()
    levels = 0
    for name in RECORDINGS:
        for raw in received(shared_data / "okx_ws" / name):
            frame = codec.decode(raw)
            if isinstance(frame, BookPush):
                row = json.loads(raw)["data"][0]
                for side, found in (("asks", frame.books[0].asks), ("bids", frame.books[0].bids)):
                    assert [(Decimal(a[0]), Decimal(a[1]), int(a[3])) for a in row[side]] == [
                        (level.price, level.size, level.orders) for level in found
                    ]
                    levels += len(found)
    assert levels > 10_000


@pytest.mark.parametrize("name", RECORDINGS)
def test_kept_books_have_the_checksums_of_the_exchange(shared_data: Path, name: str):
    """Books kept from snapshots and increments: after every one of the 8,347 pushes the checksum that OKX
    sent with it holds, over the best 25 levels of both sides."""
    codec, books = Codec(), {}
    checked = 0
    for raw in received(shared_data / "okx_ws" / name):
        push = codec.decode(raw)
        if isinstance(push, BookPush):
            book = books.setdefault(push.symbol, OrderBook(push.symbol))
            take = book.snapshot if push.action == "snapshot" else book.update
            assert take(push.books[0]) in {Applied.CHANGED, Applied.UNCHANGED}
            assert checksum(book) == push.books[0].checksum
            checked += 1
    assert checked == RECORDINGS[name]["book snapshot"] + RECORDINGS[name]["book update"]


def checksum(book: OrderBook) -> int:
    """OKX's: a signed CRC32 over bid:size:ask:size … of the best 25 levels, as far as a side has them."""
    top = book.top(25)
    parts: list[str] = []
    for place in range(25):
        for side in (top.bids, top.asks):
            if place < len(side):
                parts += [format(number, "f") for number in side[place]]
    unsigned = zlib.crc32(":".join(parts).encode())
    return unsigned - (1 << 32) if unsigned >= 1 << 31 else unsigned


def test_candle_pushes_of_2023_are_read_whole(shared_data: Path):
    """12 pushes of 1m candles, all still running; their numbers are those of the JSON."""
    codec = Codec()
    pushes = 0
    for raw in received(shared_data / "okx_ws" / OKCOIN):
        frame = codec.decode(raw)
        if isinstance(frame, CandlesPush):
            pushes += 1
            row = json.loads(raw)["data"][0]
            found = frame.rows[0]
            assert (frame.bar, found.open_ms, found.confirm) == ("1m", int(row[0]), row[8])
            numbers = (found.open, found.high, found.low, found.close, found.volume)
            assert numbers == tuple(Decimal(text) for text in row[1:6])
    assert pushes == 12


def test_single_messages_are_typed_or_counted(shared_data: Path):
    """Of the 50 single messages 35 are pushes that we know. Unknown are two of a channel that spot markets do
    not have, one of the protocol before v5, and 12 answers of REST, which no WebSocket sends."""
    codec = Codec()
    kinds: Counter[str] = Counter()
    for line in single_messages(shared_data):
        frame = codec.decode(line)
        assert type(frame) is expected_kind(json.loads(line)), line[:200]
        kinds[type(frame).__name__] += 1
    assert kinds == {"TradesPush": 6, "BookPush": 17, "CandlesPush": 6, "TickersPush": 6, "Unknown": 15}
    assert codec.unknown == {"channel funding-rate": 2, "neither event nor arg": 13}


def test_rest_answers_among_the_single_messages(shared_data: Path):
    """Six of the 12 REST answers are order books: each is read as one, to the last digit. The other six are
    open interest of derivatives, which nothing here asks for."""
    answers = [json.loads(line) for line in single_messages(shared_data) if line.startswith('{"code"')]
    books = [answer["data"][0] for answer in answers if "asks" in answer["data"][0]]
    assert (len(answers), len(books)) == (12, 6)
    for row in books:
        (book,) = decode_books(json.dumps([row]).encode())
        assert book.timestamp_ms == int(row["ts"])
        for side, levels in (("asks", book.asks), ("bids", book.bids)):
            assert [(str(level.price), str(level.size), str(level.orders)) for level in levels] == [
                (price, size, orders) for price, size, _, orders in row[side]
            ]


def single_messages(shared_data: Path) -> list[str]:
    return (shared_data / "okx_ws" / "okx_messages.jsonl").read_text().splitlines()


def test_every_file_of_recordings_is_read_here(shared_data: Path):
    """A recording that is added is not forgotten."""
    assert {path.name for path in (shared_data / "okx_ws").iterdir()} == {
        *RECORDINGS,
        "okx_messages.jsonl",
        "wsAllTrades.json",
    }
    assert {path.name for path in (shared_data / "okx_rest").iterdir()} == set(INSTRUMENTS)


def test_trades_of_2025_carry_their_count(shared_data: Path):
    """The pushes of 2025-02 have `count`, which says how many ids one covers."""
    codec = Codec()
    lines = (shared_data / "okx_ws" / "wsAllTrades.json").read_text().splitlines()
    frames = [codec.decode(line) for line in lines if line.strip()]
    trades = [trade for frame in frames for trade in frame.trades]  # type: ignore[union-attr]
    expected = [row for line in lines if line.strip() for row in json.loads(line)["data"]]
    assert [(t.trade_id, t.count) for t in trades] == [(int(r["tradeId"]), int(r["count"])) for r in expected]
    assert trades


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_instruments_of_every_recorded_answer(shared_data: Path, name: str):
    """Every listed instrument is read with its tick, lot and minimum, exactly."""
    with gzip.open(shared_data / "okx_rest" / name, "rt") as file:
        data = json.load(file)["body"]["data"]
    found, odd = decode_instruments(json.dumps(data).encode())
    assert odd == 0
    assert len(found) == INSTRUMENTS[name]
    assert [(i.symbol, i.tick_size, i.lot_size, i.min_size, i.state) for i in found] == [
        (r["instId"], Decimal(r["tickSz"]), Decimal(r["lotSz"]), Decimal(r["minSz"]), r["state"])
        for r in data
    ]
