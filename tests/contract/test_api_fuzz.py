"""Every route of the OpenAPI document, asked in ways that nobody means: a 4xx with a reason, never a 5xx."""

import random
from urllib.parse import quote, urlencode

import pytest

from tests.dashboard_seed import seed
from tests.dashboard_server import running, until

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
BODIES = (None, b"", b"{", b"[]", b'"x"', b"{}", b'{"on": "maybe"}', b'{"bot_id": 5, "virtual_balance": NaN}')


@pytest.fixture
def api(database_url, redis_url, unused_port, tmp_path):
    """A dashboard over a seeded database."""
    with running(database_url, redis_url, unused_port, tmp_path) as client:
        seed(client.database, NOW_MS, minutes=30)
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
