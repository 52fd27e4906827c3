"""The simulated exchange's private side on the wire: signatures, limits, logins, pushes and faults."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from core.errors import BadInput
from pipelines.exchanges.sim.fault_plan import parse_faults
from pipelines.exchanges.sim.faults import OrderFault, OrderFaults
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import RunningSim, serve
from pipelines.exchanges.sim.trading.keys import ApiKey
from pipelines.exchanges.sim.trading.signing import signature

START_MS = 1_790_000_000_000
STAMP = "2026-09-21T14:13:20.000Z"
KEYS = (ApiKey("one", "secret one", "pass"), ApiKey("two", "secret two", "pass"))
BUY = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "0.01", "px": "100"}


class Client:
    """Signs requests of the first key at a clock that stands at START_MS."""

    def __init__(self, session: aiohttp.ClientSession, running: RunningSim) -> None:
        self.session = session
        self.running = running

    async def send(self, method: str, path: str, body: Any = None, **other: str) -> tuple[int, Any]:
        path, text = f"/api/v5{path}", "" if body is None else json.dumps(body)
        headers = {
            "OK-ACCESS-KEY": "one",
            "OK-ACCESS-PASSPHRASE": "pass",
            "OK-ACCESS-TIMESTAMP": STAMP,
            "x-simulated-trading": "1",
        } | {name.replace("_", "-"): value for name, value in other.items()}
        secret = "secret two" if headers["OK-ACCESS-KEY"] == "two" else "secret one"
        signed = signature(secret, headers["OK-ACCESS-TIMESTAMP"] + method + path + text)
        headers = {"OK-ACCESS-SIGN": signed} | headers
        url = self.running.rest_url + path
        async with self.session.request(method, url, data=text or None, headers=headers) as answer:
            return answer.status, await answer.json()

    async def order(self, **changes: str) -> tuple[str, dict[str, str]]:
        _, body = await self.send("POST", "/trade/order", BUY | changes)
        return body["code"], body["data"][0]

    async def rows(self, path: str, **headers: str) -> list[Any]:
        status, body = await self.send("GET", path, **headers)
        assert (status, body["code"]) == (200, "0")
        return body["data"]

    async def login(self, access: str = "private", **changes: str) -> tuple[Any, dict[str, Any]]:
        socket = await self.session.ws_connect(f"{self.running.ws_url}/{access}")
        stamp = str(START_MS // 1000)
        arg = {"apiKey": "one", "passphrase": "pass", "timestamp": stamp}
        arg["sign"] = signature("secret one", stamp + "GET/users/self/verify")
        await socket.send_json({"op": "login", "args": [arg | changes]})
        return socket, await socket.receive_json(timeout=5)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A client of an exchange with two keys, whose clock stands."""
    running = await serve(
        SimOptions(start_ms=START_MS, speed=0.000_001, api_keys=KEYS, connection_limits=False)
    )
    async with aiohttp.ClientSession() as session:
        yield Client(session, running)
    await running.close()


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"OK_ACCESS_KEY": "three"}, "50111"),
        ({"OK_ACCESS_SIGN": "wrong"}, "50113"),
        ({"OK_ACCESS_PASSPHRASE": "wrong"}, "50105"),
        ({"OK_ACCESS_TIMESTAMP": "2026-09-21T14:12:00Z"}, "50102"),
        ({"OK_ACCESS_TIMESTAMP": "noon"}, "50112"),
        ({"OK_ACCESS_KEY": ""}, "50103"),
        ({"OK_ACCESS_SIGN": ""}, "50106"),
    ],
)
async def test_requests_that_are_not_signed_properly_are_refused(client, headers, code):
    """Each mistake has its own code, and HTTP status 401."""
    status, body = await client.send("GET", "/account/balance?ccy=USDT", **headers)
    assert (status, body["code"]) == (401, code)


async def test_each_key_has_an_account_of_its_own(client):
    """An order of one key holds nothing of the other's money."""
    code, row = await client.order()
    assert (code, row["sCode"]) == ("0", "0")
    details = {}
    for key in ("one", "two"):
        (balance,) = await client.rows("/account/balance?ccy=USDT", OK_ACCESS_KEY=key)
        details[key] = (balance["details"][0]["availBal"], balance["details"][0]["frozenBal"])
    assert details == {"one": ("99999", "1"), "two": ("100000", "0")}
    assert [order["ordId"] for order in await client.rows("/trade/orders-pending")] == [row["ordId"]]
    (config,) = await client.rows("/account/config")
    (fee,) = await client.rows("/account/trade-fee?instType=SPOT")
    assert config["acctLv"] == "1" and fee["feeGroup"][0]["taker"] == "-0.001"


async def test_a_refused_order_is_code_1_with_the_reason_in_its_row(client):
    """A batch in which some fail is code 2."""
    code, row = await client.order(sz="0.000001")
    assert (code, row["sCode"]) == ("1", "51020")
    _, body = await client.send("POST", "/trade/batch-orders", [BUY, BUY | {"instId": "NO-SUCH"}])
    assert (body["code"], [row["sCode"] for row in body["data"]]) == ("2", ["0", "51001"])
    status, body = await client.send("POST", "/trade/cancel-order", {"instId": "BTC-USDT", "ordId": "1"})
    assert (status, body["data"][0]["sCode"]) == (200, "51400")
    status, body = await client.send("GET", "/trade/order?instId=BTC-USDT&ordId=1")
    assert body["code"] == "51603"


async def test_sixty_orders_in_two_seconds_are_the_limit_of_a_pair(client):
    """The 61st is 50011; another pair is not touched by that."""
    answers = await asyncio.gather(*(client.send("POST", "/trade/order", BUY) for _ in range(70)))
    codes = [body["code"] for _, body in answers]
    assert codes.count("50011") >= 1 and codes[:60].count("0") == 60
    assert (await client.order(instId="ETH-USDT"))[0] == "0"


@pytest.mark.parametrize(
    ("change", "code"), [({"apiKey": "x"}, "60005"), ({"sign": "x"}, "60007"), ({"timestamp": "1"}, "60006")]
)
async def test_a_wrong_login_is_told_what_is_wrong(client, change, code):
    """And private channels stay closed."""
    socket, event = await client.login(**change)
    assert (event["event"], event["code"]) == ("error", code)
    await socket.send_json({"op": "subscribe", "args": [{"channel": "account"}]})
    assert (await socket.receive_json(timeout=5))["code"] == "60011"
    await socket.close()


async def test_orders_over_the_websocket_are_acked_and_pushed(client):
    """instIdCode names the pair; the push has the order, the balance channel its money."""
    socket, event = await client.login()
    assert (event["event"], event["code"]) == ("login", "0")
    args = [{"channel": "orders", "instType": "SPOT"}, {"channel": "balance_and_position"}]
    await socket.send_json({"op": "subscribe", "args": args})
    first = [await socket.receive_json(timeout=5) for _ in range(3)]
    assert [message.get("event", "data") for message in first] == ["subscribe", "subscribe", "data"]
    assert first[2]["data"][0]["balData"][0] == {"ccy": "USDT", "cashBal": "100000", "uTime": str(START_MS)}
    order = {name: value for name, value in BUY.items() if name != "instId"}
    await socket.send_json({"id": "7", "op": "order", "args": [BUY]})
    refused = await socket.receive_json(timeout=5)
    assert (refused["id"], refused["data"][0]["sMsg"]) == ("7", "Parameter instIdCode error")
    market = {"ordType": "market", "sz": "10", "instIdCode": 1}
    await socket.send_json({"id": "8", "op": "order", "args": [order | market]})
    messages = [await socket.receive_json(timeout=5) for _ in range(4)]
    acked = next(message for message in messages if message.get("id") == "8")
    pushed = [message["data"][0] for message in messages if message.get("arg", {}).get("channel") == "orders"]
    assert [row["state"] for row in pushed] == ["live", "filled"]
    assert {row["ordId"] for row in pushed} == {acked["data"][0]["ordId"]}
    assert pushed[1]["execType"] == "T" and pushed[1]["feeCcy"] == "BTC"
    balances = [m["data"][0] for m in messages if m.get("arg", {}).get("channel") == "balance_and_position"]
    assert {row["ccy"] for row in balances[0]["balData"]} == {"BTC", "USDT"}
    await socket.close()


async def test_fired_stops_are_pushed_on_the_business_url():
    """A trigger in reach of the market becomes effective and names the order that it placed."""
    running = await serve(SimOptions(start_ms=START_MS, speed=600, api_keys=KEYS, balances={"BTC": "1"}))
    async with aiohttp.ClientSession() as session:
        client = Client(session, running)
        socket, _ = await client.login("business")
        await socket.send_json({"op": "subscribe", "args": [{"channel": "orders-algo", "instType": "SPOT"}]})
        await socket.receive_json(timeout=5)
        # follows the newest price by 0.1 %: minutes of the model's market are enough
        args = {"instId": "BTC-USDT", "tdMode": "cash", "side": "sell", "ordType": "move_order_stop"}
        _, body = await client.send(
            "POST", "/trade/order-algo", args | {"sz": "0.5", "callbackRatio": "0.001"}
        )
        states = [(await socket.receive_json(timeout=20))["data"][0] for _ in range(2)]
        assert [row["state"] for row in states] == ["live", "effective"]
        assert {row["algoId"] for row in states} == {body["data"][0]["algoId"]}
        (order,) = await client.rows("/trade/orders-history?instType=SPOT")
        assert (order["ordId"], order["accFillSz"]) == (states[1]["ordId"], "0.5")
        await socket.close()
    await running.close()


@pytest.mark.parametrize(
    "body",
    [
        [],
        [1],
        5,
        None,
        {},
        {"instId": ["BTC-USDT"]},
        BUY | {"sz": {}},
        BUY | {"px": "1e5000"},
        BUY | {"side": []},
        BUY | {"clOrdId": "é"},
        BUY | {"tgtCcy": {}, "ordType": "market"},
    ],
)
async def test_no_body_breaks_the_exchange(client, body):
    """Whatever is sent is refused with a code, on every private endpoint that changes something."""
    for path in ("order", "cancel-order", "amend-order", "batch-orders", "order-algo", "cancel-algos"):
        for sent in (body, [body]):
            status, answer = await client.send("POST", f"/trade/{path}", sent)
            assert status < 500 and answer["code"] not in ("0", "")
    assert await client.rows("/trade/orders-pending") == []


def test_the_fate_of_orders_comes_from_the_seed():
    """Each share is met, and the same seed repeats it."""
    plan = parse_faults({"order_lost_request": 0.1, "order_lost_answer": 0.1, "order_reject": 0.1})
    drawn = [OrderFaults(plan).draw() for _ in range(3)]
    assert len(set(drawn)) == 1
    faults = OrderFaults(plan)
    many = [faults.draw() for _ in range(3_000)]
    for fault in (OrderFault.LOST_REQUEST, OrderFault.LOST_ANSWER, OrderFault.REJECT):
        assert 220 < many.count(fault) < 380
    assert OrderFault.TOO_MANY not in many


@pytest.mark.parametrize(("fault", "placed"), [("order_lost_request", 0), ("order_lost_answer", 1)])
async def test_an_order_without_answer_was_placed_or_not(client, fault, placed):
    """The connection ends either way; only asking tells which."""
    client.running.server.set_faults({fault: 1, "order_timeout_s": 0.05})
    with pytest.raises(aiohttp.ClientError):
        await client.order(clOrdId="mine")
    client.running.server.set_faults({})
    assert [o["clOrdId"] for o in await client.rows("/trade/orders-pending")] == ["mine"] * placed


async def test_orders_are_refused_on_request(client):
    """A reject has its sCode, the rate limit its HTTP status; neither places anything."""
    client.running.server.set_faults({"order_reject": 1})
    assert (await client.order())[1]["sCode"] == "50026"
    client.running.server.set_faults({"order_429": 1})
    status, body = await client.send("POST", "/trade/order", BUY)
    assert (status, body["code"]) == (429, "50011")
    assert await client.rows("/trade/orders-pending") == []


async def test_pushes_of_orders_are_doubled_and_answers_lost_on_request(client):
    """With `duplicate` each push comes twice; a lost answer on the WebSocket is no answer."""
    socket, _ = await client.login()
    await socket.send_json({"op": "subscribe", "args": [{"channel": "orders", "instType": "ANY"}]})
    await socket.receive_json(timeout=5)
    client.running.server.set_faults({"duplicate": 1, "order_lost_answer": 1})
    order = {name: value for name, value in BUY.items() if name != "instId"} | {"instIdCode": 1}
    await socket.send_json({"id": "9", "op": "order", "args": [order]})
    first, second = [await socket.receive_json(timeout=5) for _ in range(2)]
    assert first == second and first["data"][0]["state"] == "live"
    await socket.close()


@pytest.mark.parametrize("options", [{"balances": {"USDT": "-1"}}, {"taker_fee": "much"}])
def test_unusable_accounts_are_refused_at_the_start(options):
    """A negative balance or a fee that is no number."""
    with pytest.raises(BadInput):
        SimOptions(**options)
