"""Faults on request: decided from a seed, carried out on the wire."""

import asyncio
import json
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from core.errors import BadInput
from pipelines.exchanges.sim.fault_plan import parse_faults
from pipelines.exchanges.sim.fault_script import Script
from pipelines.exchanges.sim.faults import Action, ConnectionFaults, RequestFaults
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import serve

FRAMES = [b'{"frame":%d}' % number for number in range(2_000)]


def sent(document: dict[str, Any], ordinal: int = 1) -> list[bytes]:
    faults = ConnectionFaults(parse_faults(document), ordinal, 0.0)
    return [out for frame in FRAMES for out in faults.frames(frame, 1.0)]


def test_without_faults_every_frame_goes_out_once_in_order():
    """An empty plan changes nothing."""
    assert sent({}) == FRAMES


def test_the_same_seed_gives_the_same_faults_and_another_connection_others():
    """A failing run can be repeated."""
    plan = {"seed": 5, "gap": 0.1, "duplicate": 0.1, "reorder": 0.1, "garbage": 0.1}
    assert sent(plan) == sent(plan)
    assert sent(plan) != sent(plan, ordinal=2)
    assert sent(plan) != sent({**plan, "seed": 6})


def test_gaps_lose_frames():
    """About the wanted share is missing, the rest is in order and unchanged."""
    out = sent({"gap": 0.1})
    assert 100 < len(FRAMES) - len(out) < 320
    assert out == [frame for frame in FRAMES if frame in set(out)]


def test_duplicates_repeat_frames():
    """Nothing is lost; repeated frames follow their first copy."""
    out = sent({"duplicate": 0.1})
    assert [frame for place, frame in enumerate(out) if place == 0 or frame != out[place - 1]] == FRAMES
    assert 100 < len(out) - len(FRAMES) < 320


def test_reordered_frames_come_one_later_and_none_is_lost():
    """Neighbours change places; no frame is further than that from its own."""
    out = sent({"reorder": 0.1})
    assert set(FRAMES[:-1]) <= set(out) and len(out) == len(set(out))
    moved = [place for place, frame in enumerate(out) if frame != FRAMES[place]]
    assert len(moved) > 100
    assert all(abs(place - FRAMES.index(out[place])) == 1 for place in moved)


def test_garbage_is_no_json_and_replaces_nothing():
    """Broken frames are extra."""
    out = sent({"garbage": 0.1})
    broken = [frame for frame in out if frame not in set(FRAMES)]
    assert len(broken) > 100 and len(out) - len(broken) == len(FRAMES)
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken[0])


def test_silence_begins_and_ends():
    """Frames inside the window are lost, those before and after it are not."""
    plan = parse_faults({"silence": {"every_s": 10, "for_s": 3}})
    faults = ConnectionFaults(plan, 1, 0.0)
    heard = [bool(faults.frames(b"{}", tenth / 10)) for tenth in range(600)]
    changes = [place / 10 for place, (a, b) in enumerate(pairwise(heard), start=1) if a != b]
    lengths = [end - start for start, end in zip(changes[::2], changes[1::2], strict=False)]
    assert len(lengths) >= 2 and all(2.9 <= length <= 3.2 for length in lengths)
    assert 5 <= changes[0] <= 15


def test_actions_fall_due_once():
    """A notice is followed by the end of the connection after its time; a cut happens once."""
    plan = parse_faults({"notice": {"every_s": 10, "for_s": 60}, "disconnect": {"every_s": 200}})
    faults = ConnectionFaults(plan, 1, 0.0)
    due = [(second, action) for second in range(400) for action in faults.due(float(second))]
    times = {action: second for second, action in due}
    assert [action for _, action in due] == [Action.NOTICE, Action.CLOSE, Action.CUT]
    assert times[Action.CLOSE] - times[Action.NOTICE] == 60 and 100 <= times[Action.CUT] <= 300


def test_requests_are_refused_at_the_wanted_shares():
    """429 and 500 each about as often as asked for."""
    faults = RequestFaults(parse_faults({"http_429": 0.2, "http_500": 0.1}))
    drawn = [faults.status() for _ in range(5_000)]
    assert 800 < drawn.count(429) < 1_200 and 350 < drawn.count(500) < 650


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"gaps": 0.1}, "gaps.*known are seed, disconnect"),
        ({"gap": 2}, "gap"),
        ({"disconnect": {"every_s": 0}}, "disconnect.every_s"),
        ({"silence": 5}, "silence"),
        ({"half_open": {"every_s": 5, "for": 1}}, "`for`"),
        ({"late": {"share": 0.1}}, "by_s.*late"),
        ({"clock": {"ahead_ms": 5}}, "ahead_ms"),
        ({"script": [{"at_s": 5, "fault": "gap"}]}, r"script\[0\].fault"),
        ({"http_429": 0.6, "http_500": 0.5}, "http_429"),
    ],
)
def test_a_wrong_plan_is_refused_with_its_key(document, named):
    """A typo in --faults is told, not ignored."""
    with pytest.raises(BadInput, match=f"faults.*{named}"):
        parse_faults(document)


def test_a_half_open_connection_stays_until_its_time_is_over():
    """Nothing is announced; its end is a cut, and without a length there is none."""
    faults = ConnectionFaults(parse_faults({"half_open": {"every_s": 10, "for_s": 100}}), 1, 0.0)
    due = [(second, action) for second in range(400) for action in faults.due(float(second))]
    assert [action for _, action in due] == [Action.CUT] and 105 <= due[0][0] <= 116
    lasting = ConnectionFaults(
        parse_faults({"half_open": {"every_s": 10}, "disconnect": {"every_s": 90}}), 1, 0
    )
    assert not any(lasting.due(float(second)) for second in range(400)) and lasting.is_half_open


def test_a_script_happens_at_its_virtual_times():
    """Each beginning is told once, windows are open in between, and nothing happens twice."""
    now = [1_000_000]
    steps = [
        {"at_s": 0, "fault": "disconnect"},
        {"at_s": 60, "fault": "silence", "for_s": 30},
        {"at_s": 70, "fault": "http_500", "for_s": 5},
    ]
    plan = parse_faults({"script": steps})
    script = Script(plan.script, lambda: now[0], 1_000_000)
    connection, requests = ConnectionFaults(plan, 1, 0.0, script), RequestFaults(plan, script)
    begun, heard, statuses = [], [], []
    for second in range(120):
        now[0] = 1_000_000 + second * 1_000
        begun += [(second, *what) for what in script.begun()]
        heard.append(bool(connection.frames(b"{}", 1.0)))
        statuses.append(requests.status())
    assert begun == [(0, "disconnect", 0), (60, "silence", 30_000), (70, "http_500", 5_000)]
    assert [second for second in range(120) if not heard[second]] == list(range(60, 90))
    assert [second for second in range(120) if statuses[second] == 500] == list(range(70, 75))


async def test_a_half_open_connection_is_silent_to_pings_and_others_are_served():
    """The TCP connection stays, and a new one works."""
    running = await serve(SimOptions(speed=60, faults={"script": [{"at_s": 60, "fault": "half_open"}]}))
    arg = {"channel": "trades", "instId": "BTC-USDT"}
    subscribe = json.dumps({"op": "subscribe", "args": [arg]})
    try:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{running.ws_url}/public") as dead:
            await dead.send_str(subscribe)
            with pytest.raises(TimeoutError):
                while True:
                    async with asyncio.timeout(1):
                        assert (await dead.receive()).type is aiohttp.WSMsgType.TEXT
            await dead.send_str("ping")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await dead.receive()
            assert not dead.closed
            async with session.ws_connect(f"{running.ws_url}/public") as fresh, asyncio.timeout(5):
                await fresh.send_str("ping")
                assert await fresh.receive_str() == "pong"
    finally:
        await running.close()


async def test_the_market_ends_when_it_is_told_to():
    """Virtual time goes on, and nothing is traded any more."""
    start = 1_763_000_000_000
    options = SimOptions(speed=600, start_ms=start, end_ms=start + 30_000)
    running = await serve(options)
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(10):
            while running.now_ms() < start + 300_000:
                await asyncio.sleep(0.05)
            url = f"{running.rest_url}/api/v5/market/trades?instId=BTC-USDT&limit=1"
            async with session.get(url) as answer:
                newest = int((await answer.json())["data"][0]["ts"])
        assert start + 20_000 < newest < start + 30_000
    finally:
        await running.close()


async def test_faults_reach_the_wire_and_can_be_changed_while_it_runs():
    """A notice and a cut end a connection; after the faults are taken back REST answers again."""
    faults = {"notice": {"every_s": 0.2, "for_s": 60}, "disconnect": {"every_s": 4}, "http_429": 1}
    running = await serve(SimOptions(speed=60, faults=faults))
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"{running.ws_url}/public") as socket:
            arg = {"channel": "trades", "instId": "BTC-USDT"}
            await socket.send_str(json.dumps({"op": "subscribe", "args": [arg]}))
            async with asyncio.timeout(10):
                seen = [json.loads(message.data) async for message in socket]
            notices = [message for message in seen if message.get("event") == "notice"]
            assert [notice["code"] for notice in notices] == ["64008"]
            assert socket.close_code != 1000
        time_url = f"{running.rest_url}/api/v5/public/time"
        async with session.get(time_url) as answer:
            assert (answer.status, (await answer.json())["code"]) == (429, "50011")
        async with session.post(f"{running.rest_url}/sim/faults", json={"gap": 7}) as answer:
            assert answer.status == 400
        async with session.post(f"{running.rest_url}/sim/faults", json={}) as answer:
            assert answer.status == 200
        async with session.get(time_url) as answer:
            assert answer.status == 200
    await running.close()
