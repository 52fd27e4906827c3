"""Trades and candles that come late: who knows what at which virtual time."""

import numpy as np
import pytest

from pipelines.exchanges.sim.bars import BARS
from pipelines.exchanges.sim.candle_view import CandleView
from pipelines.exchanges.sim.clock import VirtualClock
from pipelines.exchanges.sim.days import DAY_MS, MINUTE_MS
from pipelines.exchanges.sim.delays import Delays
from pipelines.exchanges.sim.exchange import Exchange
from pipelines.exchanges.sim.fault_plan import parse_faults
from pipelines.exchanges.sim.history import History
from pipelines.exchanges.sim.model import MarketModel
from pipelines.exchanges.sim.pushes import Pushes
from pipelines.exchanges.sim.rest import RestApi

SYMBOL = "ADA-USDT"
DAY = 20_000
NOON = DAY * DAY_MS + DAY_MS // 2
SPEED = 10.0


@pytest.fixture(scope="module")
def history() -> History:
    return History(MarketModel(3))


def delays(document: dict, **more) -> Delays:
    made = Delays(SPEED, **more)
    made.set_plan(parse_faults(document))
    return made


def pushed(history: History, document: dict, step_ms: int = 7_000, joined: bool = True) -> list[int]:
    """Ids in the order in which the sockets bring them, from noon for two hours."""
    pushes = Pushes(history, delays(document))
    ids: list[int] = []
    for before in range(NOON, NOON + 7_200_000, step_ms):
        read = pushes.aggregates if joined else pushes.matches
        for trades, which in read(SYMBOL, before, before + step_ms):
            ids += (trades.ids[trades.aggregates.last] if joined else trades.ids)[which].tolist()
    return ids


@pytest.mark.parametrize("joined", [True, False], ids=["aggregates", "matches"])
def test_late_trades_come_once_after_their_time_and_are_the_same_whatever_the_steps(history, joined):
    """Nothing is lost, the order differs, and how finely the feed looks changes nothing."""
    plan = {"seed": 2, "late": {"share": 0.1, "by_s": 60}}
    usual, late = pushed(history, {}, joined=joined), pushed(history, plan, joined=joined)
    assert usual == sorted(usual) and late != sorted(late)
    by_ms = 600_000  # ten virtual seconds a wall second
    ts = dict(zip(history.day(SYMBOL, DAY).ids.tolist(), history.day(SYMBOL, DAY).ts.tolist(), strict=True))
    settled = {id_ for id_ in usual if ts[id_] <= NOON + 7_200_000 - by_ms}
    assert settled <= set(late) and len(late) == len(set(late))
    assert late == pushed(history, plan, 13_000, joined)[: len(late)]
    assert pushed(history, {**plan, "seed": 3}, joined=joined) != late


def test_late_trades_of_midnight_come_the_next_day(history):
    """The day's end takes nothing away."""
    pushes = Pushes(history, delays({"late": {"share": 1, "by_s": 60}}))
    midnight = (DAY + 1) * DAY_MS
    ids = [
        trades.ids[which].tolist()
        for trades, which in pushes.matches(SYMBOL, midnight - 1, midnight + 600_000)
        if len(trades.ids[which])
    ]
    last = int(history.day(SYMBOL, DAY).ids[-1])
    assert last in ids[0]


def test_unpushed_trades_never_come_and_rest_has_them(history):
    """About the wanted share of ids is missing on the sockets and served by REST."""
    ids = pushed(history, {"unpushed": 0.05})
    usual = pushed(history, {})
    missing = sorted(set(usual) - set(ids))
    assert 0.02 < len(missing) / len(usual) < 0.09 and set(ids) < set(usual)
    trades = history.day(SYMBOL, DAY)
    ts = trades.ts[np.isin(trades.ids, missing)]
    assert delays({"unpushed": 0.05}).known(SYMBOL, ts, NOON + 7_200_000).all()


async def test_rest_knows_trades_and_candles_later_than_the_sockets(history):
    """With a lag of 30 s REST is 300 virtual seconds behind, also with what is confirmed."""
    clock = VirtualClock(NOON, "max")
    exchange = Exchange(history, clock, delays({"rest_lag_s": 30}))
    api, usual = RestApi(exchange), RestApi(Exchange(history, VirtualClock(NOON - 300_000, "max")))
    for name in ("trades", "history_trades", "candles", "history_candles"):
        query = {"instId": SYMBOL, "limit": "20"}
        assert await getattr(api, name)(query) == await getattr(usual, name)(query)


async def test_rest_does_not_know_a_late_trade_before_it_is_pushed(history):
    """Both ways agree about what has happened."""
    now = NOON + 3_600_000
    late = delays({"late": {"share": 0.2, "by_s": 60}})
    trades = history.day(SYMBOL, DAY)
    some = trades.part(trades.until(now - 900_000), trades.until(now))
    known = late.known(SYMBOL, some.ts, now)
    assert not known.all() and (late.pushed_ms(SYMBOL, some.ts) <= now).tolist() == known.tolist()
    body = await RestApi(Exchange(history, VirtualClock(now, "max"), late)).trades({"instId": SYMBOL})
    for trade_id in some.ids[~known].tolist():
        assert f'"tradeId":"{trade_id}"' not in body.decode()


def rows(history: History, document: dict, bar: str, now: int, count: int = 30):
    view = CandleView(history, delays(document))
    opens = history.page_opens(SYMBOL, BARS[bar], now, count)
    told = view.rows(SYMBOL, BARS[bar], opens, now)
    return told, view.confirmed(SYMBOL, BARS[bar], told, now)


@pytest.mark.parametrize("bar", ["1s", "1m", "5m", "1H", "1Dutc"])
def test_a_candle_lacks_what_is_late_and_has_it_afterwards(history, bar):
    """The exchange's own candles are revised when a late trade comes, in all lengths, and only by that."""
    now = NOON + 3_599_999
    plan = {"late": {"share": 0.3, "by_s": 30}}
    true, _ = rows(history, {}, bar, now, 300)
    told, _ = rows(history, plan, bar, now, 300)
    assert told.count.sum() < true.count.sum() and (told.volume <= true.volume).all()
    later, _ = rows(history, plan, bar, now + 300_000)
    settled = later.open_ms + BARS[bar].ms <= now - 300_000
    same = rows(history, {}, bar, now + 300_000)[0]
    assert (later.volume[settled] == same.volume[settled]).all()


def test_a_revised_minute_lacks_its_last_match_until_its_time_is_over(history):
    """A confirmed row is corrected later; the longer candle around it too."""
    plan = {"revised_candle": {"share": 1, "by_s": 60}}
    now = NOON + 3_600_000
    true, _ = rows(history, {}, "1m", now)
    told, complete = rows(history, plan, "1m", now)
    closes = told.open_ms + MINUTE_MS
    waits = (closes <= now) & (closes > now - 600_000) & (true.count > 0)
    assert complete[:-1].all() and waits.any()
    assert (true.count - told.count == waits).all()
    hour, whole = rows(history, plan, "1H", now)[0], rows(history, {}, "1H", now)[0]
    assert whole.count[-2] - hour.count[-2] == waits.sum()


def test_late_candles_are_confirmed_after_their_time(history):
    """Their rows are told as running until then."""
    now = NOON + 3_600_000
    told, complete = rows(history, {"late_candle": {"share": 0.5, "by_s": 30}}, "1m", now)
    closes = told.open_ms + MINUTE_MS
    assert complete[closes <= now - 300_000].all()
    recent = complete[(closes > now - 300_000) & (closes <= now)]
    assert recent.any() and not recent.all()


def test_the_clock_is_ahead_and_drifts_both_ways():
    """REST's time swings around its offset, in virtual ms."""
    wall = [100.0]
    clock = {"ahead_s": 2, "drift_s": 0.5, "every_s": 60}
    drifting = delays({"clock": clock}, monotonic=lambda: wall[0])
    told = []
    for second in range(61):
        wall[0] = 100.0 + second
        told.append(drifting.told_ms(1_000_000) - 1_000_000)
    assert told[0] == told[30] == told[60] == 20_000
    assert (min(told), max(told)) == (15_000, 25_000)
    assert delays({}).told_ms(5) == 5


def test_without_faults_nothing_is_delayed(history):
    """An empty plan is an honest exchange."""
    plain = delays({})
    trades = history.day(SYMBOL, DAY)
    assert not plain.moves_pushes and plain.hidden_ms == 0 and plain.known(SYMBOL, trades.ts, 1 << 50).all()
    assert (plain.pushed_ms(SYMBOL, trades.ts) == trades.ts).all()
