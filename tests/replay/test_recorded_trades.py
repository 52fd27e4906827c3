"""Recorded trades through the product's path give the candles that SQL over the raw file gives."""

import asyncio
import gzip
import json
import random
from collections.abc import Iterable
from decimal import Decimal

import pytest
from sqlalchemy import text

from config.settings import Settings
from core.candle_builder import CandleBuilder
from core.candle_parts import Fold, Minute
from core.candles import Candle
from core.continuity import Continuity
from core.timeframes import Timeframe
from core.trades import Side, Trade
from live.collector.collector import Collector
from live.collector.stream import SymbolStream
from pipelines.bus.memory import MemoryBus
from pipelines.clock import ExchangeClock, SystemClock
from pipelines.exchanges.connect import make_feed, make_rest
from pipelines.exchanges.okx.codec import Codec
from pipelines.exchanges.okx.frames import TradesPush
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.recorded import RecordedMarket
from pipelines.exchanges.sim.server import serve
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.resume import exact_candles
from tests.recordings import RECORDINGS, RawFile, second_bars

pytestmark = pytest.mark.real_data

TRX_GOOD = "test_positive_binance_trade_stream_spot_trxusdt_04-03-2025"
TRX_BAD = "test_negative_binance_trade_stream_spot_trxusdt_04-03-2025"
M1, D1 = Timeframe.M1, Timeframe.D1


@pytest.mark.parametrize("name", RECORDINGS)
def test_six_timeframes_of_a_recording_equal_sql_over_the_file(shared_data, name):
    """Every trade twice and out of order, whole days of candles, those without trades flat."""
    recording = RECORDINGS[name]
    raw = RawFile(shared_data, recording)
    tape = raw.trades()
    assert len(tape) == recording.rows
    begin, end = D1.open_ms(tape[0].timestamp_ms), D1.close_ms(tape[-1].timestamp_ms)
    stream = seeded_stream(tape, begin)
    built = {(candle.timeframe, candle.close_ms): candle for candle in played(stream, tape, end)}
    for timeframe in Timeframe:
        ours = {at: candle for (frame, at), candle in built.items() if frame is timeframe}
        assert list(ours) == list(range(begin + timeframe.ms, end + 1, timeframe.ms))
        truth = raw.candles(timeframe)
        assert {at: row(candle) for at, candle in ours.items() if candle.volume} == truth
        flat = [candle for candle in ours.values() if not candle.volume]
        assert {(candle.source, candle.trades_count) for candle in flat} <= {("synthetic", 0)}
    assert stream.builder.late_minutes == set()


@pytest.mark.parametrize("name", [name for name, recording in RECORDINGS.items() if recording.ids])
def test_ids_of_a_recording_have_the_holes_and_repeats_that_are_known(shared_data, name):
    """Measured: 54,634 consecutive ids of Binance's without a hole; the file with planted faults has one."""
    recording = RECORDINGS[name]
    tape = RawFile(shared_data, recording).trades()
    continuity = Continuity(tape[0].trade_id - 1)
    new = continuity.take(tape)
    assert sum(gap.size for gap in continuity.gaps) == recording.missing
    assert continuity.duplicates == recording.repeated
    assert len(new) == len(tape) - recording.repeated
    times = [trade.timestamp_ms for trade in new]
    assert times == sorted(times)


def test_ids_of_okx_have_no_holes_within_an_instrument(shared_data):
    """Measured: each recorded id follows the one before, but for the first push of a subscription, which is
    an older trade."""
    ids, sessions = 0, 0
    for path in sorted((shared_data / "okx_ws").glob("*OK*X.ws.*.jsonl.gz")):
        codec, first, tracked = Codec(), set[str](), dict[str, Continuity]()
        with gzip.open(path, "rt") as lines:
            frames = [json.loads(line) for line in lines]
        for push in (codec.decode(frame["raw"].encode()) for frame in frames if frame["dir"] == "in"):
            for trade in push.trades if isinstance(push, TradesPush) else ():
                if trade.symbol in first:
                    ids += len(tracked.setdefault(trade.symbol, Continuity()).take([trade]))
                first.add(trade.symbol)
        assert all(not continuity.gaps for continuity in tracked.values())
        sessions += len(tracked)
    assert (ids, sessions) == (165, 26)


def test_the_planted_faults_are_one_id_given_twice_and_a_receive_time_of_the_next_day(shared_data):
    """The second id is the next one's: it shows as a repeat and as a hole, and its trade is left out."""
    good, bad = (RawFile(shared_data, RECORDINGS[name]).trades() for name in (TRX_GOOD, TRX_BAD))
    differing = [
        (ours.trade_id, theirs.trade_id) for ours, theirs in zip(good, bad, strict=True) if ours != theirs
    ]
    assert differing == [(348_656_872, 348_656_871)]
    continuity = Continuity(bad[0].trade_id - 1)
    continuity.take(bad)
    assert [(gap.first_id, gap.last_id) for gap in continuity.gaps] == [(348_656_872, 348_656_872)]
    assert continuity.take([good[2]]) == [good[2]]  # as a refill brings it
    assert continuity.gaps == []


def test_who_drops_trades_of_one_instant_loses_more_than_half_the_volume(shared_data):
    """Of 13,197 Coinbase trades without ids 5,882 have a time of their own; all of them count here."""
    volumes = {}
    for name in ("btc_trades_raw", "btc_trades_aggregated_by_ts"):
        candles = RawFile(shared_data, RECORDINGS[name]).candles(Timeframe.D1)
        volumes[name] = sum(candle[5] for candle in candles.values())
    kept = Decimal(volumes["btc_trades_aggregated_by_ts"]) / Decimal(volumes["btc_trades_raw"])
    assert round(1 - kept, 2) == Decimal("0.56")


@pytest.mark.servers
@pytest.mark.parametrize(
    ("names", "speed"),
    [
        (("binance_BTC-USDT_2024-08-08T2354_11min", "binance_ETH-USDT_2024-08-08T2354_11min"), 180),
        (("trades_btc_spot_2026-02-16_04",), 120),
        ((TRX_GOOD,), 600),
        (("btc_trades_raw",), 600),
    ],
    ids=["midnight", "february", "trx", "coinbase"],
)
async def test_a_replay_over_the_wire_into_postgres_equals_sql_over_the_file(
    shared_data, database_url, tmp_path, names, speed
):
    """Simulated exchange, sockets, codec, collector, database: each closed candle of all timeframes."""
    raws = {}
    for name in names:
        raws[RECORDINGS[name].symbol] = RawFile(shared_data, RECORDINGS[name])
        raws[RECORDINGS[name].symbol].write_parquet(tmp_path / f"{RECORDINGS[name].symbol}.parquet")
    last_ms = {symbol: raw.trades()[-1].timestamp_ms for symbol, raw in raws.items()}
    sources = tuple(f"{symbol}={tmp_path / symbol}.parquet" for symbol in raws)
    through_ms = min(M1.open_ms(at) for at in last_ms.values())
    # The market opens six seconds after the exchange does, so that the first trade is pushed, too.
    start_ms = min(raw.trades()[0].timestamp_ms for raw in raws.values()) - 6_000 * speed
    options = SimOptions(source=sources, speed=speed, start_ms=start_ms, state_file=tmp_path / "clock")
    await replay(options, tuple(raws), through_ms, database_url)
    for symbol, raw in raws.items():
        assert stored_ids(database_url, symbol) >= {
            trade.trade_id for trade in raw.trades() if trade.timestamp_ms < through_ms
        }
        for timeframe in Timeframe:
            truth = {at: candle for at, candle in raw.candles(timeframe).items() if at <= through_ms}
            with engine_of(database_url).connect() as connection:
                stored = exact_candles(connection, symbol, timeframe, 0, through_ms)
            traded = {candle.close_ms: row(candle)[:6] for candle in stored if candle.volume}
            assert traded == {at: candle[:6] for at, candle in truth.items()}
            own = {candle.close_ms: row(candle) for candle in stored if candle.source == "trades"}
            assert own == {at: truth[at] for at in own}
            assert own or timeframe is not M1


@pytest.mark.parametrize("day", ["07", "08", "09"])
def test_seconds_of_coinbase_roll_up_to_its_minutes(shared_data, day):
    """Over the three days 11,520 second bars make 4,216 minute bars, all equal to the last digit."""
    folded: dict[int, Fold] = {}
    for at, *numbers in second_bars(shared_data, day, "second"):
        close_ms = M1.close_ms(at)
        fold = folded.setdefault(close_ms, Fold(M1, close_ms))
        fold.add(Minute.of_candle(Candle("BTC-USD", M1, at + 1_000, *numbers)))
    minutes = {M1.close_ms(at): tuple(numbers) for at, *numbers in second_bars(shared_data, day, "minute")}
    ours = {at: (f.open, f.high, f.low, f.close, f.volume) for at, f in folded.items()}
    assert len(minutes) > 1_390
    assert ours == minutes


def test_seconds_of_coinbase_played_as_a_market_give_its_minutes(shared_data, tmp_path):
    """As `tcp sim` plays bars: up to four trades each, through the builder that live trades go through."""
    midnight = 1_475_798_400_000  # 2016-10-07
    path = tmp_path / "BTC-USD.csv"
    lines = [
        f"{midnight + at},{','.join(map(str, bar))}" for at, *bar in second_bars(shared_data, "07", "second")
    ]
    path.write_text("\n".join(["open_time,open,high,low,close,volume", *lines]))
    market = RecordedMarket((str(path),))
    spec, rows = market.specs["BTC-USD"], market.day("BTC-USD", midnight // D1.ms)
    builder = CandleBuilder("BTC-USD", [M1], midnight)
    for trade in trades_of(rows, spec.tick_decimals, spec.lot_decimals):
        builder.add(trade)
    ours = [row(builder.close()[0])[:6] for _ in range(1_440) if builder.can_close()]
    minutes = {
        midnight + M1.close_ms(at): tuple(bar) for at, *bar in second_bars(shared_data, "07", "minute")
    }
    assert {candle[0]: candle[1:] for candle in ours if candle[5]} == minutes


def seeded_stream(tape: list[Trade], begin_ms: int) -> SymbolStream:
    """Begins at midnight, with a price for the minutes before the first trade."""
    stream = SymbolStream(tape[0].symbol, Timeframe, begin_ms, Continuity(tape[0].trade_id - 1))
    price = tape[0].price
    flat = Candle(tape[0].symbol, M1, begin_ms, price, price, price, price, price * 0, source="synthetic")
    stream.builder.seed([flat])
    return stream


def played(stream: SymbolStream, tape: list[Trade], end_ms: int) -> Iterable[Candle]:
    """Frames of fifty trades, each trade twice and in disorder; what nobody has is given up at the end."""
    dice = random.Random(5)
    for start in range(0, len(tape), 50):
        frame = tape[start : start + 50]
        once = list({trade.trade_id: trade for trade in reversed(frame)}.values())  # of one id the first
        dice.shuffle(once)
        stream.take(once)
        stream.take(frame)
        yield from stream.advance(tape[min(start + 49, len(tape) - 1)].timestamp_ms, 5_000, 0.0)[0]
    for gap in list(stream.continuity.gaps):
        stream.continuity.give_up(gap.first_id, gap.last_id)
    stream.confirm_quiet(end_ms)
    yield from stream.advance(end_ms, 0, 0.0)[0]


def row(candle: Candle) -> tuple:
    return (
        candle.close_ms,
        candle.open,
        candle.high,
        candle.low,
        candle.close,
        candle.volume,
        candle.trades_count,
    )


def trades_of(rows, price_decimals: int, size_decimals: int) -> Iterable[Trade]:
    """A simulated day as the codec would hand it on."""
    for n, ms, price, size in zip(rows.ids, rows.ts, rows.price, rows.size, strict=True):
        exact = Decimal(int(price)).scaleb(-price_decimals), Decimal(int(size)).scaleb(-size_decimals)
        yield Trade("BTC-USD", int(n), int(ms), *exact, Side.BUY)


async def replay(options: SimOptions, symbols: tuple[str, ...], through_ms: int, database_url: str) -> None:
    """Until the minutes up to `through_ms` of all symbols are stored."""
    sim = await serve(options)
    settings = Settings(okx_rest_url=sim.rest_url, okx_ws_url=sim.ws_url)
    rest, engine = make_rest(settings), engine_of(database_url)
    clock, wall = ExchangeClock(), SystemClock()
    collector = Collector(
        symbols,
        tuple(Timeframe),
        rest,
        make_feed(settings),
        engine,
        MemoryBus(),
        clock,
        wall,
        history_days=0,
        on_event=lambda level, event, message: None,
    )
    running = asyncio.create_task(collector.run())
    try:
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(is_stored, database_url, symbols, through_ms):
                assert not running.done(), running.result()
                await asyncio.sleep(0.1)
            while collector.health()["history"] != "complete":
                await asyncio.sleep(0.1)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await rest.close()
        await sim.close()


def is_stored(database_url: str, symbols: tuple[str, ...], through_ms: int) -> bool:
    query = text(
        "SELECT count(*) FROM market_data WHERE timeframe = '1m' AND NOT provisional "
        "AND timestamp = to_timestamp(:at)"
    )
    with engine_of(database_url).connect() as connection:
        return bool(connection.execute(query, {"at": through_ms / 1000}).scalar() == len(symbols))


def stored_ids(database_url: str, symbol: str) -> set[int]:
    query = text("SELECT trade_id, count FROM raw_trades WHERE symbol = :symbol")
    with engine_of(database_url).connect() as connection:
        rows = connection.execute(query, {"symbol": symbol}).all()
    ids = [n for trade_id, count in rows for n in range(trade_id - count + 1, trade_id + 1)]
    assert len(ids) == len(set(ids))
    return set(ids)
