"""Every recorded frame of OKX goes through the codec. What is expected is computed from the JSON alone."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from core.trades import Trade
from pipelines.exchanges.okx.codec import Codec
from pipelines.exchanges.okx.frames import (
    Ack,
    BookPush,
    CandlesPush,
    TickersPush,
    TradesPush,
    Unknown,
)
from pipelines.exchanges.okx.rest import decode_instruments

pytestmark = pytest.mark.real_data

RECORDINGS = [
    "2021-07_OKEX.ws.1.0.jsonl.gz",
    "2021-07_OKEX.ws.2.0.jsonl.gz",
    "2021-07_OKEX.ws.3.0.jsonl.gz",
    "2022-02-27_OKX.ws.1.0.jsonl.gz",
    "2022-05-13_OKX.ws.1.0.jsonl.gz",
    "2023-05_OKCOIN.ws.1.0.jsonl.gz",
]
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


def trades_of(path: Path) -> list[Trade]:
    codec = Codec()
    frames = [codec.decode(raw) for raw in received(path)]
    return [trade for frame in frames if isinstance(frame, TradesPush) for trade in frame.trades]


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_frame_of_a_session_has_its_kind(shared_data: Path, name: str):
    """Each frame decodes into the kind its JSON names, and none is unknown."""
    codec = Codec()
    for raw in received(shared_data / "okx_ws" / name):
        assert type(codec.decode(raw)) is expected_kind(json.loads(raw)), raw[:200]
    assert not codec.unknown


def test_the_session_of_2022_05_13_holds_what_its_description_says(shared_data: Path):
    """18 acks, 28 tickers, 74 trades and 290 books, of which 3 are snapshots."""
    codec = Codec()
    frames = [codec.decode(raw) for raw in received(shared_data / "okx_ws" / RECORDINGS[4])]
    assert Counter(type(frame).__name__ for frame in frames) == {
        "Ack": 18,
        "TickersPush": 28,
        "TradesPush": 74,
        "BookPush": 290,
    }
    books = [frame for frame in frames if isinstance(frame, BookPush)]
    assert Counter(book.action for book in books) == {"snapshot": 3, "update": 287}


def test_trade_ids_of_2022_05_13_are_without_a_hole(shared_data: Path):
    """BTC-USDT: ids 338476307 to 338476375, each following the one before."""
    trades = [t for t in trades_of(shared_data / "okx_ws" / RECORDINGS[4]) if t.symbol == "BTC-USDT"]
    assert [t.trade_id for t in trades] == list(range(338_476_307, 338_476_376))
    assert all(this.first_id == last.trade_id + 1 for last, this in pairwise(trades))


def test_three_parallel_connections_carry_the_same_trades(shared_data: Path):
    """De-duplicated by (symbol, id), the three connections of 2021-07 are equal: nothing lost or changed."""
    sessions = [trades_of(shared_data / "okx_ws" / name) for name in RECORDINGS[:3]]
    unique = [{(t.symbol, t.trade_id): t for t in session} for session in sessions]
    assert unique[0] == unique[1] == unique[2]
    raw_keys = {
        (row["instId"], int(row["tradeId"]))
        for name in RECORDINGS[:3]
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


def test_candle_pushes_of_2023_are_read_whole(shared_data: Path):
    """12 pushes of 1m candles, all still running; their numbers are those of the JSON."""
    codec = Codec()
    pushes = 0
    for raw in received(shared_data / "okx_ws" / RECORDINGS[5]):
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
    """Of the 50 single messages the 35 pushes we know are typed; the REST answers and other channels are
    unknown, each counted."""
    codec = Codec()
    lines = (shared_data / "okx_ws" / "okx_messages.jsonl").read_text().splitlines()
    kinds = Counter()
    for line in lines:
        frame = codec.decode(line)
        assert type(frame) is expected_kind(json.loads(line)), line[:200]
        kinds[type(frame).__name__] += 1
    assert kinds == {"TradesPush": 6, "BookPush": 17, "CandlesPush": 6, "TickersPush": 6, "Unknown": 15}
    assert codec.unknown == {"channel funding-rate": 2, "neither event nor arg": 13}


def test_trades_of_2025_carry_their_count(shared_data: Path):
    """The pushes of 2025-02 have `count`, which says how many ids one covers."""
    codec = Codec()
    lines = (shared_data / "okx_ws" / "wsAllTrades.json").read_text().splitlines()
    frames = [codec.decode(line) for line in lines if line.strip()]
    trades = [trade for frame in frames for trade in frame.trades]  # type: ignore[union-attr]
    expected = [row for line in lines if line.strip() for row in json.loads(line)["data"]]
    assert [(t.trade_id, t.count) for t in trades] == [(int(r["tradeId"]), int(r["count"])) for r in expected]
    assert trades


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("2021-07-22_public_instruments_instType_SPOT.json.gz", 475),
        ("2022-02-27_public_instruments_instType_SPOT.json.gz", 509),
        ("2022-05-13_public_instruments_instType_SPOT.json.gz", 513),
        ("2022-05-13_public_instruments_instType_SWAP.json.gz", None),
    ],
)
def test_instruments_of_every_recorded_answer(shared_data: Path, name: str, rows: int | None):
    """Every listed instrument is read with its tick, lot and minimum, exactly."""
    with gzip.open(shared_data / "okx_rest" / name, "rt") as file:
        data = json.load(file)["body"]["data"]
    found, odd = decode_instruments(json.dumps(data).encode())
    assert odd == 0
    assert len(found) == (len(data) if rows is None else rows)
    assert [(i.symbol, i.tick_size, i.lot_size, i.min_size, i.state) for i in found] == [
        (r["instId"], Decimal(r["tickSz"]), Decimal(r["lotSz"]), Decimal(r["minSz"]), r["state"])
        for r in data
    ]
