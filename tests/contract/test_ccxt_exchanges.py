"""Other exchanges through ccxt: one whose trades are numbered, one whose are not, from their own messages."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import NamedTuple

import msgspec
import pytest

from core.candles import Candle
from core.errors import BadInput
from core.timeframes import Timeframe
from core.trades import Trade
from pipelines.exchanges.ccxt.feed import CcxtTradeFeed
from pipelines.exchanges.ccxt.rest import CcxtRest
from pipelines.exchanges.ccxt.trades import time_id
from pipelines.exchanges.okx.backoff import Backoff
from pipelines.exchanges.okx.watch import Patience
from tests.ccxt_exchanges import Binance, Kraken, Pushing, Zaif, tape_of

NOW = 1_789_000_000_000 - 1_789_000_000_000 % 86_400_000 + 45_296_789
MINUTE = 60_000
KINDS = {"binance": (Binance, "BTC-USDT"), "kraken": (Kraken, "BTC-USD")}


class At(NamedTuple):
    """A server, the adapter, and its trades as they are to arrive."""

    exchange_id: str
    symbol: str
    server: Pushing
    rest: CcxtRest
    expected: list[Trade]

    def feed(self) -> CcxtTradeFeed:
        return CcxtTradeFeed(
            self.exchange_id,
            type(self.server).urls_of(self.server.base),  # type: ignore[attr-defined]
            backoff=Backoff(first_s=0.05, longest_s=0.2),
            patience=Patience(first_s=0.5, longest_s=0.5),
        )


def arriving(trade: Trade, is_numbered: bool, source: str) -> Trade:
    number = trade.trade_id if is_numbered else time_id(trade.timestamp_ms, str(trade.trade_id))
    return msgspec.structs.replace(trade, trade_id=number, source=source)


@pytest.fixture(params=list(KINDS))
async def at(request: pytest.FixtureRequest) -> AsyncIterator[At]:
    """Each exchange with two days of trades."""
    kind, symbol = KINDS[request.param]
    tape = tape_of(symbol, 48, NOW)
    server = kind(tape, NOW)
    await server.start()
    rest = CcxtRest(request.param, kind.urls_of(server.base), rate_limit=False)
    expected = [arriving(trade, rest.consecutive_ids, "rest") for trade in tape]
    yield At(request.param, symbol, server, rest, expected)
    await rest.close()
    await server.stop()


async def test_instruments_and_time(at: At):
    """Exact steps; Kraken's XBT is BTC; what is numbered says so."""
    (listed,) = await at.rest.instruments()
    assert listed.symbol == at.symbol
    steps = {"binance": ("0.01", "0.00001", "0.00001"), "kraken": ("0.01", "0.00000001", "0.00005")}
    assert (listed.tick_size, listed.lot_size, listed.min_size) == tuple(map(Decimal, steps[at.exchange_id]))
    assert at.rest.consecutive_ids == (at.exchange_id == "binance")
    assert NOW - 1_000 < await at.rest.server_time_ms() <= NOW


@pytest.mark.parametrize("timeframe", list(Timeframe))
async def test_candles_are_exact_and_final(at: At, timeframe: Timeframe):
    """Labelled by their close, UTC days, without the running one."""
    found = await at.rest.candles(at.symbol, timeframe, NOW - 10 * 3_600_000, NOW + 3_600_000)
    truth = [
        Candle(at.symbol, timeframe, *row[:6], source="exchange")
        for row in at.server.rows(timeframe)
        if NOW - 10 * 3_600_000 < row[0] <= NOW
    ]
    assert found == (truth if timeframe is not Timeframe.M1 else truth[-len(found) :])
    assert len(truth) - len(found) in (0, max(0, len(truth) - 720))


async def test_trades_by_request_are_exact_and_complete(at: At):
    """The newest, a range of time over several windows, what is before an id, a range of ids."""
    recent = await at.rest.recent_trades(at.symbol)
    assert recent == at.expected[-500:]
    start, end = NOW - 3 * 3_600_000 - 5, NOW - 30 * MINUTE
    wanted = [trade for trade in at.expected if start <= trade.timestamp_ms < end]
    pages = [page async for page in at.rest.trade_pages(at.symbol, start, end)]
    assert [trade for page in reversed(pages) for trade in page] == wanted
    middle = wanted[400].trade_id
    pages = [page async for page in at.rest.trade_pages(at.symbol, start, end, middle)]
    assert [trade for page in reversed(pages) for trade in page] == wanted[:400]
    assert await at.rest.trades_by_id(at.symbol, wanted[3].trade_id, middle) == wanted[3:401]


async def test_an_unlisted_symbol_is_named(at: At):
    """With the exchange's name and what it lists instead."""
    text = f"'BTC-EUR' is not a spot pair of {at.exchange_id}; it lists {at.symbol}"
    with pytest.raises(BadInput, match=text):
        await at.rest.recent_trades("BTC-EUR")


async def until(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def listening(at: At) -> AsyncIterator[tuple[list[Trade], list[tuple[str, str]]]]:
    trades: list[Trade] = []
    states: list[tuple[str, str]] = []
    task = asyncio.create_task(at.feed().run([at.symbol], trades.extend, lambda *s: states.append(s)))
    try:
        yield trades, states
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_live_trades_are_those_that_requests_bring(at: At):
    """The same ids and digits from both sides, over a disconnect."""
    live = [msgspec.structs.replace(trade, source="websocket") for trade in at.expected[-6:]]
    async with listening(at) as (trades, states):
        await until(lambda: at.server.subscriptions == 1, "subscribed")
        await at.server.push(at.server.tape[-6:-3])
        await until(lambda: len(trades) == 3, "three trades")
        assert trades == live[:3]
        await at.server.sockets[0].close()
        await until(lambda: at.server.subscriptions == 2, "subscribed again")
        await at.server.push(at.server.tape[-3:])
        await until(lambda: len(trades) == 6, "six trades")
        assert trades == live
        assert "reconnecting" in [state for state, _ in states]


async def test_a_quiet_market_is_left_alone_and_a_deaf_subscription_is_not(at: At):
    """Silence is compared with the newest trades by request: only newer ones there make it a fault."""
    async with listening(at) as (trades, states):
        await until(lambda: at.server.subscriptions == 1, "subscribed")
        await at.server.push(at.server.tape[-1:])
        await until(lambda: trades, "a trade")
        await asyncio.sleep(1.2)  # two times the patience
        assert "silent" not in [state for state, _ in states]
        last = at.server.tape[-1]
        at.server.tape.append(
            msgspec.structs.replace(last, trade_id=last.trade_id + 1, timestamp_ms=last.timestamp_ms + 1)
        )
        await until(lambda: at.server.subscriptions == 2, "a new connection")
        assert at.symbol in next(detail for state, detail in states if state == "silent")


async def test_an_unreadable_message_ends_the_connection_only_where_it_may_hide_a_trade(at: At):
    """A numbered stream shows the hole; another one is interrupted, so that it is refilled."""
    async with listening(at) as (trades, states):
        await until(lambda: at.server.subscriptions == 1, "subscribed")
        await at.server.sockets[0].send_str('{"e": "aggTr')
        if at.rest.consecutive_ids:
            await at.server.push(at.server.tape[-1:])
            await until(lambda: trades, "the trade after it")
            assert at.server.subscriptions == 1
        else:
            await until(lambda: at.server.subscriptions == 2, "a new connection")
            assert any("cannot be read" in detail for state, detail in states if state == "reconnecting")


async def test_an_exchange_without_a_websocket_is_asked_every_second():
    """Each trade is handed on once; more of them than an answer holds are told as lost."""
    tape = tape_of("BTC-JPY", 1, NOW - NOW % 1_000)
    seconds = [msgspec.structs.replace(t, timestamp_ms=t.timestamp_ms // 1_000 * 1_000) for t in tape]
    server, later = Zaif(seconds[:200], NOW), seconds[200:]
    await server.start()
    trades: list[Trade] = []
    states: list[str] = []
    feed = CcxtTradeFeed("zaif", Zaif.urls_of(server.base))
    task = asyncio.create_task(feed.run(["BTC-JPY"], trades.extend, lambda state, _: states.append(state)))
    try:
        await until(lambda: len(trades) == 150, "the newest trades")
        server.tape += later[:10]
        await until(lambda: len(trades) == 160, "ten more")
        assert trades == [arriving(trade, False, "rest") for trade in server.tape[50:]]
        assert states == ["connecting", "live"]
        server.tape += later[10:]
        await until(lambda: "degraded" in states, "told as lost")
        assert trades[-1] == arriving(server.tape[-1], False, "rest")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await server.stop()


class EightHoursOff(Binance):
    """Its days begin at 16:00 UTC."""

    def rows(self, timeframe: Timeframe) -> list[tuple]:
        """Days at another hour."""
        off_ms = 8 * 3_600_000 if timeframe is Timeframe.D1 else 0
        return [(row[0] - off_ms, *row[1:]) for row in super().rows(timeframe)]


async def test_days_that_are_no_utc_days_are_made_of_hours():
    """As are longer candles that an exchange does not have."""
    server = EightHoursOff(tape_of("BTC-USDT", 80, NOW), NOW)
    await server.start()
    rest = CcxtRest("binance", Binance.urls_of(server.base), rate_limit=False)
    try:
        midnight = NOW - NOW % Timeframe.D1.ms
        days = await rest.candles("BTC-USDT", Timeframe.D1, midnight - 2 * Timeframe.D1.ms, NOW)
        truth = Binance(server.tape, NOW).rows(Timeframe.D1)
        assert days == [
            Candle("BTC-USDT", Timeframe.D1, *row[:6], source="exchange")
            for row in truth
            if midnight - Timeframe.D1.ms <= row[0] <= midnight
        ]
        assert len(days) == 2
        del rest._exchange.timeframes["4h"]
        fours = await rest.candles("BTC-USDT", Timeframe.H4, midnight - Timeframe.D1.ms, midnight)
        assert [(c.close_ms, c.volume) for c in fours] == [
            (row[0], row[5])
            for row in server.rows(Timeframe.H4)
            if midnight - Timeframe.D1.ms < row[0] <= midnight
        ]
    finally:
        await rest.close()
        await server.stop()
