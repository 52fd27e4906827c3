"""Every route of the OpenAPI document, asked in ways that nobody means: a 4xx with a reason, never a 5xx."""

import base64
import json
import random
from urllib.parse import quote, urlencode

import pytest

from tests.dashboard_marts import fill_marts
from tests.dashboard_seed import seed
from tests.dashboard_server import running, until
from tests.research_seed import BACKTEST, SWEEP, WALK, fill_research

pytestmark = pytest.mark.servers
NOW_MS = 1_790_000_000_000
SEED = 7
TRIES = 12
STRANGE = (
    "",
    "0",
    "-1",
    "1e309",
    "99999999999999999999",
    "nan",
    "true",
    "null",
    "bot_001",
    "BTC-USDT",
    "1m",
    "json",
    "parquet",
    "2026-01-01",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59+14:00",
    "9999-12-31T23:00:00-05:00",
    "W10",
    "WyJhIl0",
    "' or 1=1 --",
    "../../etc/passwd",
    "ä☃",
    "\x00",
    "a" * 3000,
)
KNOWN = {
    "bot_id": "bot_001",
    "symbol": "BTC-USDT",
    "timeframe": "1m",
    "sweep_id": SWEEP,
    "run_id": WALK,
    "test_id": BACKTEST,
}
LISTS = 15
"""Lists of the API of which the seeded database has more than a row."""
TIMES = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")
FAR = (-1, 2**31, 2**63 - 1)
TEXTS = ("", "\x00", "ä☃")
BODIES = (None, b"", b"{", b"[]", b'"x"', b"{}", b'{"on": "maybe"}', b'{"bot_id": 5, "virtual_balance": NaN}')


@pytest.fixture
def api(database_url, redis_url, unused_port, tmp_path):
    """A dashboard over a seeded database with research and marts."""
    with running(database_url, redis_url, unused_port, tmp_path) as client:
        seed(client.database, NOW_MS, minutes=30)
        fill_research(client.database, NOW_MS)
        fill_marts(client.database)
        until(lambda: client.get("/metrics").text.count("tcp_bot_value{") == 5, 20, "the bots")
        yield client


def test_no_request_makes_the_server_fail(api):
    """Strange paths, parameters, cursors and bodies are refused with a reason, or answered."""
    chance = random.Random(SEED)
    document = api.get("/api/openapi.json").json
    asked = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for _ in range(TRIES):
                address, body = _request(chance, path, operation)
                answer = api.request(method.upper(), address, body, {"content_type": "application/json"})
                assert answer.status < 500, (method, address, body, answer.text[:300])
                if answer.status >= 400:
                    assert answer.json["detail"], (method, address)
                asked += 1
    assert asked > 400
    assert _cursors_checked(api, document) >= LISTS


def _cursors_checked(api, document):
    """Ask every list for what is behind a cursor of its own with a value changed; how many lists had one."""
    checked = 0
    for path, operations in document["paths"].items():
        names = {parameter["name"] for parameter in operations.get("get", {}).get("parameters", [])}
        if not {"cursor", "limit"} <= names:
            continue
        address = path
        for name, value in KNOWN.items():
            address = address.replace(f"{{{name}}}", value)
        answer = api.get(f"{address}?limit=1")
        cursor = answer.json.get("next") if answer.status == 200 else None
        if cursor is None:
            continue
        checked += 1
        values = json.loads(base64.urlsafe_b64decode(cursor + "=="))
        for place, value in enumerate(values):
            is_time = isinstance(value, str) and value.endswith("Z") and "T" in value
            changed = (value.rstrip("Z"), *TIMES) if is_time else FAR if isinstance(value, int) else TEXTS
            for strange in changed:
                packed = json.dumps([*values[:place], strange, *values[place + 1 :]]).encode()
                asked = f"{address}?cursor={base64.urlsafe_b64encode(packed).decode().rstrip('=')}"
                answer = api.get(asked)
                assert answer.status < 500, (asked, strange, answer.text[:300])
                assert not is_time or answer.status == 422, (asked, strange)
    return checked


def _request(chance, path, operation):
    query = {}
    for parameter in operation.get("parameters", []):
        value = chance.choice(STRANGE)
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(value or "x", safe=""))
        elif chance.random() < 0.5:
            query[parameter["name"]] = value
    body = chance.choice(BODIES) if "requestBody" in operation else None
    return path + (f"?{urlencode(query)}" if query else ""), body
