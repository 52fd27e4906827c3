"""The codec on frames that no recording here holds: new fields, control frames, garbage."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from core.trades import Side, Trade
from pipelines.exchanges.okx.codec import Codec, is_trades
from pipelines.exchanges.okx.frames import (
    Ack,
    BookPush,
    CandlesPush,
    ErrorFrame,
    InstrumentsPush,
    Notice,
    Pong,
    StatusPush,
    TradesPush,
    Unknown,
)

AGGREGATE = (
    b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"130639474",'
    b'"px":"42219.9","sz":"0.12060306","side":"buy","ts":"1630048897897","count":"3","source":"0",'
    b'"seqId":1234}]}'
)


def test_an_aggregate_covers_its_ids():
    """tradeId is the last of `count` ids; fields we do not use are passed over."""
    frame = Codec().decode(AGGREGATE)
    assert isinstance(frame, TradesPush)
    (trade,) = frame.trades
    assert isinstance(trade, Trade)
    assert msgspec.structs.astuple(trade) == (
        "BTC-USDT",
        130639474,
        1630048897897,
        Decimal("42219.9"),
        Decimal("0.12060306"),
        Side.BUY,
        3,
        "websocket",
    )
    assert trade.first_id == 130639472


def test_field_order_does_not_matter():
    """A push whose `data` comes before `arg` gives the same value as the usual one."""
    data = AGGREGATE[AGGREGATE.index(b'"data"') : -1]
    arg = AGGREGATE[1 : AGGREGATE.index(b',"data"')]
    assert Codec().decode(b"{" + data + b"," + arg + b"}") == Codec().decode(AGGREGATE)


def test_scientific_notation_is_exact():
    """A size written as 1.912e-05 is that number."""
    frame = Codec().decode(AGGREGATE.replace(b"0.12060306", b"1.912e-05"))
    assert isinstance(frame, TradesPush)
    assert frame.trades[0].size == Decimal("0.00001912")


def test_trades_all_has_no_count():
    """trades-all carries single matches: each covers one id."""
    raw = AGGREGATE.replace(b'"trades"', b'"trades-all"').replace(b'"count":"3",', b"")
    frame = Codec().decode(raw.replace(b',"seqId":1234', b""))
    assert isinstance(frame, TradesPush)
    assert (frame.channel, frame.trades[0].count) == ("trades-all", 1)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("pong", Pong()),
        (
            '{"id":"7","event":"subscribe","arg":{"channel":"trades","instId":"A-B"},"connId":"a4"}',
            Ack("subscribe", "trades", "A-B", "7", "a4"),
        ),
        (
            '{"id":"7","event":"error","code":"60018","msg":"Wrong URL","connId":"a4"}',
            ErrorFrame("60018", "Wrong URL", "7"),
        ),
        ('{"event":"notice","code":"64008","msg":"soon","connId":"a4"}', Notice("64008", "soon")),
        (
            '{"arg":{"channel":"status"},"data":[{"title":"upgrade","state":"scheduled"}]}',
            StatusPush([{"title": "upgrade", "state": "scheduled"}]),
        ),
    ],
)
def test_control_frames(raw: str, expected: object):
    """Acks, errors, notices, status and pong are typed."""
    assert Codec().decode(raw) == expected


def test_books_carry_their_sequence():
    """seqId and prevSeqId of an increment, and -1 before a snapshot, are read as integers."""
    raw = (
        '{"arg":{"channel":"books","instId":"A-B"},"action":"%s","data":[{"asks":[["8476.98","415","0","13"]],'
        '"bids":[],"ts":"1597026383085","checksum":0,"seqId":123456,"prevSeqId":%d}]}'
    )
    snapshot, update = Codec().decode(raw % ("snapshot", -1)), Codec().decode(raw % ("update", 123455))
    assert isinstance(snapshot, BookPush)
    assert isinstance(update, BookPush)
    assert (snapshot.action, snapshot.books[0].prev_seq_id) == ("snapshot", -1)
    assert (update.action, update.books[0].seq_id, update.books[0].prev_seq_id) == ("update", 123456, 123455)


def test_candles_and_instruments_are_typed():
    """A confirmed daily candle and an instrument change decode into their values."""
    codec = Codec()
    candle = codec.decode(
        '{"arg":{"channel":"candle1Dutc","instId":"A-B"},"data":[["1597026383085","1","2","0.5","1.5","7",'
        '"10.5","10.5","1"]]}'
    )
    assert isinstance(candle, CandlesPush)
    assert (candle.bar, candle.rows[0].confirm, candle.rows[0].volume) == ("1Dutc", "1", Decimal(7))
    change = codec.decode(
        '{"arg":{"channel":"instruments","instType":"SPOT"},"data":[{"instId":"A-B","baseCcy":"A","quoteCcy":'
        '"B","tickSz":"0.1","lotSz":"0.00000001","minSz":"0.00001","state":"suspend"}]}'
    )
    assert isinstance(change, InstrumentsPush)
    assert change.instruments[0].lot_size == Decimal("0.00000001")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("ping", "not JSON"),
        ('{"event":"login","code":"0"}', "event login"),
        ('{"arg":{"channel":"funding-rate"},"data":[{}]}', "channel funding-rate"),
        ('{"arg":{"channel":"trades","instId":"A-B"}}', "trades without data"),
        ('{"arg":{"channel":"tickers","instId":"A-B"}}', "tickers without data"),
        ('{"code":"0","data":[]}', "neither event nor arg"),
    ],
)
def test_what_is_not_known_is_counted(raw: str, reason: str):
    """An unknown frame is handed on with a reason, and counted by it."""
    codec = Codec()
    frame = codec.decode(raw)
    assert frame == Unknown(reason, raw.encode())
    assert codec.unknown == {reason: 1}


@pytest.mark.parametrize(
    "price", [b"n/a", b"", b"NaN", b"sNaN", b"Infinity", b"0", b"-1", b"1e20", b"1e999999"]
)
def test_a_bad_number_makes_the_push_unknown(price: bytes):
    """A price that is no number above 0 is never guessed at and never reaches a candle."""
    codec = Codec()
    assert isinstance(codec.decode(AGGREGATE.replace(b"42219.9", price)), Unknown)
    assert codec.unknown.total() == 1


@pytest.mark.parametrize(
    ("usual", "odd"),
    [
        (b'"count":"3"', b'"count":"0"'),
        (b'"count":"3"', b'"count":"-3"'),
        (b'"tradeId":"130639474"', b'"tradeId":"-1"'),
        (b'"tradeId":"130639474"', b'"tradeId":"1e400"'),
        (b'"ts":"1630048897897"', b'"ts":"-1"'),
        (b'"ts":"1630048897897"', b'"ts":"999999999999999999"'),
        (b'"side":"buy"', b'"side":"hold"'),
    ],
)
def test_an_impossible_trade_is_unknown(usual: bytes, odd: bytes):
    """An id, count or time that no trade can have would break the sequence or the calendar: not a trade."""
    codec = Codec()
    assert isinstance(codec.decode(AGGREGATE.replace(usual, odd)), Unknown)
    assert codec.unknown.total() == 1


def test_a_reason_is_logged_once_and_counted_every_time():
    """The log has one line a reason, with the frame's beginning; the counter has them all."""
    with capture_logs() as logs:
        codec = Codec()
        for raw in ("<html>", "{", '{"event":"login"}', "<html>"):
            codec.decode(raw)
    assert [(line["reason"], line["frame"]) for line in logs] == [
        ("not JSON", "<html>"),
        ("event login", '{"event":"login"}'),
    ]
    assert codec.unknown == {"not JSON": 3, "event login": 1}


@pytest.mark.parametrize(
    "raw",
    ["\ud800", b"\xff\xfe", b'{"arg":' * 20_000, b"[" * 100_000, b'{"data":null,"arg":{"channel":"books"}}'],
)
def test_hostile_frames_are_unknown(raw: bytes | str):
    """Broken text and nesting beyond any stack are unknown like other garbage."""
    assert isinstance(Codec().decode(raw), Unknown)


def test_reasons_do_not_grow_without_end():
    """Garbage that makes up new reasons is counted under `other` after a while: memory stays bounded."""
    codec = Codec()
    for number in range(1_000):
        codec.decode(f'{{"event":"made-up-{number}"}}')
    assert len(codec.unknown) <= 201
    assert codec.unknown.total() == 1_000


PIECES = [
    AGGREGATE,
    b'{"event":"subscribe","arg":{"channel":"trades","instId":"A-B"},"connId":"a4"}',
    b'{"event":"error","code":"60018","msg":"Wrong URL"}',
    b'{"arg":{"channel":"books","instId":"A-B"},"action":"update","data":[{"asks":[["8476.98","415","0","13"]],'
    b'"bids":[],"ts":"1597026383085","checksum":0,"seqId":123456,"prevSeqId":-1}]}',
    b'{"arg":{"channel":"candle1m","instId":"A-B"},"data":[["1597026383085","1","2","0.5","1.5","7"]]}',
    b'{"arg":{"channel":"tickers","instId":"A-B"},"data":[{"instId":"A-B","ts":"1","last":"5"}]}',
    b'{"arg":{"channel":"instruments"},"data":[{"instId":"A-B","tickSz":"1","lotSz":"1","minSz":"1","state":""}]}',
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real frame, cut, joined to another, or with some bytes replaced."""
    frame = bytearray(draw(st.sampled_from(PIECES)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(frame)))
        stop = draw(st.integers(start, min(len(frame), start + 12)))
        frame[start:stop] = draw(
            st.binary(max_size=6)
            | st.sampled_from([b'"', b"null", b"NaN", b"[]", b"{}", b"1e9", b"-1", b'"sNaN"'])
        )
    return bytes(frame) + draw(st.sampled_from([b"", b" ", *PIECES]))


@given(st.lists(damaged(), max_size=6))
def test_many_pushes_are_what_each_of_them_is(pushes: list[bytes]):
    """Decoded together, pushes of trades give the trades that each gives alone, by symbol and in order; one
    that is damaged costs no other and is counted once."""
    head = AGGREGATE[: AGGREGATE.index(b'"data"')]
    pushes = [push for push in pushes if push.startswith(head) and b"\n" not in push]
    assert all(map(is_trades, pushes))
    together, alone = Codec(), Codec()
    found = together.decode_trades(pushes)
    expected: dict[str, list[Trade]] = {}
    for push in map(alone.decode, pushes):
        for trade in push.trades if isinstance(push, TradesPush) else ():
            expected.setdefault(trade.symbol, []).append(trade)
    assert found == expected
    assert together.unknown == alone.unknown


@given(st.binary(max_size=300) | st.text(st.characters(), max_size=300) | damaged())
def test_no_garbage_raises(raw: bytes | str):
    """Whatever bytes come, the codec answers with a value, and counts it when it is unknown."""
    codec = Codec()
    frame = codec.decode(raw)
    assert codec.unknown.total() == isinstance(frame, Unknown)


def push(number: int, damage: str) -> bytes:
    raw = AGGREGATE.replace(b"130639474", str(number).encode())
    match damage:
        case "torn":
            return raw[:-20]
        case "newline":
            return raw.replace(b",", b",\n")
        case "negative":
            return raw.replace(b"42219.9", b"-1")
        case "not a number":
            return raw.replace(b"0.12060306", b"NaN")
        case "other symbol":
            return raw.replace(b"BTC-USDT", b"ETH-USDT")
    return raw


@given(
    st.lists(
        st.sampled_from(["none", "none", "torn", "newline", "negative", "not a number", "other symbol"]),
        max_size=12,
    )
)
def test_many_pushes_give_what_each_gives(damages):
    """Decoded together, whole pushes give their trades and damaged ones are counted, each by itself."""
    pushes = [push(number, damage) for number, damage in enumerate(damages, 1)]
    one_by_one, together = Codec(), Codec()
    expected: dict[str, list[Trade]] = {}
    for raw in pushes:
        frame = one_by_one.decode(raw)
        if isinstance(frame, TradesPush):
            expected.setdefault(frame.symbol, []).extend(frame.trades)
    assert together.decode_trades(pushes) == expected
    assert together.unknown == one_by_one.unknown


def test_a_push_of_two_documents_is_no_trade():
    """Alone it is not JSON; together with others it is counted as that, and brings nothing."""
    two = AGGREGATE + AGGREGATE.replace(b"130639474", b"130639475")
    codec = Codec()
    found = codec.decode_trades([two, AGGREGATE.replace(b"130639474", b"130639476")])
    assert [trade.trade_id for trade in found["BTC-USDT"]] == [130639476]
    assert codec.unknown == {"not JSON": 1}
