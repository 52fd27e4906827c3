"""The codec on frames that no recording here holds: new fields, control frames, garbage."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.trades import Side, Trade
from pipelines.exchanges.okx.codec import Codec
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
    trade = Trade(
        "BTC-USDT", 130639474, 1630048897897, Decimal("42219.9"), Decimal("0.12060306"), Side.BUY, 3
    )
    assert frame == TradesPush("trades", "BTC-USDT", [trade])
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
        ('{"arg":{"channel":"trades","instId":"A-B"}}', "invalid: Object missing required field `data`"),
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


@pytest.mark.parametrize("price", [b"n/a", b"", b"NaN", b"Infinity", b"0", b"-1"])
def test_a_bad_number_makes_the_push_unknown(price: bytes):
    """A price that is no number above 0 is never guessed at and never reaches a candle."""
    codec = Codec()
    assert isinstance(codec.decode(AGGREGATE.replace(b"42219.9", price)), Unknown)
    assert codec.unknown.total() == 1


def test_reasons_do_not_grow_without_end():
    """Garbage that makes up new reasons is counted under `other` after a while: memory stays bounded."""
    codec = Codec()
    for number in range(1_000):
        codec.decode(f'{{"event":"made-up-{number}"}}')
    assert len(codec.unknown) <= 201
    assert codec.unknown.total() == 1_000


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_no_garbage_raises(raw: bytes | str):
    """Whatever comes, the codec answers with a value."""
    Codec().decode(raw)


@given(st.data())
def test_no_damaged_push_raises(data: st.DataObject):
    """A push cut off or with bytes changed is a value too, and never a wrong trade count."""
    raw = bytearray(AGGREGATE)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    frame = Codec().decode(bytes(raw[: data.draw(st.integers(1, len(raw)))]))
    assert not isinstance(frame, TradesPush) or len(frame.trades) == 1
