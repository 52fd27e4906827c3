"""How whole the data is, as `tcp data status` and the API tell it: holes, comparisons, connections."""

import json
from collections.abc import Iterator
from decimal import Decimal

import pytest
from sqlalchemy import text

from cli.data_status import status_document, status_text
from core.timeframes import Timeframe
from dashboards.api import data_models
from pipelines.lake.status import data_status
from pipelines.warehouse.database import engine
from pipelines.warehouse.gaps import record_gap
from pipelines.warehouse.quality import QualityRow, record_quality
from pipelines.warehouse.reconciliation import Difference, record_difference, record_reconciled
from pipelines.warehouse.trades import copy_trades
from tests.dashboard_server import Client, running
from tests.writing import trade

pytestmark = pytest.mark.servers

NOON = 1_763_726_400_000
MINUTE = 60_000
SYMBOL = "BTC-USDT"


@pytest.fixture
def stored(database_url: str) -> str:
    """Two stretches of trades, holes of each state, candles that differed, two minutes of two sockets."""
    with engine(database_url).begin() as connection:
        copy_trades(connection, [*map(trade, range(1, 11)), *map(trade, range(14, 21))])
        for first, state in ((2, "refilled"), (11, "unfillable"), (30, "open")):
            record_gap(connection, SYMBOL, first, first + 2, state, NOON)  # type: ignore[arg-type]
        record_reconciled(connection, SYMBOL, "recent", NOON, 90, 2)
        record_reconciled(connection, SYMBOL, "daily", NOON, 10, 1)
        for n, settled in enumerate((True, False, False)):
            ours, theirs = (Decimal(1),) * 5, (*(Decimal(1),) * 4, Decimal("2.5"))
            found = Difference(
                SYMBOL, Timeframe.M1, NOON + n * MINUTE, ours, theirs, "unexplained", f"no. {n}"
            )
            record_difference(connection, found, NOON)
            if settled:
                connection.execute(
                    text("UPDATE candle_differences SET resolved_at = now(), resolution = 'equal_again'")
                )
    for n in range(2):
        rows = [
            QualityRow(f"trades {socket}", "wss://a/public", 5.0, 80.0 + n, 9, 100, 0, socket, 0, n, 0, None)
            for socket in (1, 2)
        ]
        record_quality(engine(database_url), NOON + n * MINUTE, rows)
    return database_url


def test_the_status_names_holes_comparisons_and_connections(stored: str):
    document = status_document(data_status(stored))
    json.dumps(document)
    assert document["trades"][0]["missing_ids"] == 3
    (gaps,) = document["gaps"]
    assert (gaps["open"], gaps["refilled"], gaps["unfillable"]) == (1, 1, 1)
    (compared,) = document["comparisons"]
    assert (compared["compared"], compared["differing"]) == (100, 3)
    assert (compared["open"], compared["unexplained"]) == (2, 2)
    assert [(row["connection"], row["trades"], row["lost_ids"]) for row in document["connections"]] == [
        ("trades 1", 200, 2),
        ("trades 2", 200, 4),
    ]
    assert [row["worst_p99_ms"] for row in document["connections"]] == [81.0, 81.0]
    lines = status_text(data_status(stored)).splitlines()
    assert [line.split()[0] for line in lines] == ["raw", "holes", "candles", "connection", "connection"]
    assert "3 ids MISSING" in lines[0]
    assert "2 NOT SETTLED" in lines[2]


def test_no_id_is_missing_where_ids_do_not_follow_each_other(stored: str):
    with engine(stored).begin() as connection:
        connection.execute(
            text("UPDATE raw_trades SET exchange = 'kraken' WHERE trade_id < 10 OR trade_id > 13")
        )
    trades = {row["exchange"]: row["missing_ids"] for row in status_document(data_status(stored))["trades"]}
    assert trades == {"kraken": None, "okx": 0}


@pytest.fixture
def api(stored: str, redis_url: str, unused_port: int, tmp_path) -> Iterator[Client]:
    with running(stored, redis_url, unused_port, tmp_path) as client:
        yield client


def test_the_api_pages_through_differences_and_quality(api: Client):
    health = data_models.DataHealth.model_validate(api.get("/api/data/health").json)
    assert [(row["kind"], row["compared"], row["differing"]) for row in health.reconciled] == [
        ("daily", 10, 1),
        ("recent", 90, 2),
    ]
    assert [row["detail"] for row in health.differences] == ["no. 2", "no. 1", "no. 0"]
    first = api.get("/api/data/differences?limit=2").json
    second = api.get(f"/api/data/differences?limit=2&cursor={first['next']}").json
    found = [
        *data_models.Differences.model_validate(first).items,
        *data_models.Differences.model_validate(second).items,
    ]
    assert [row.detail for row in found] == ["no. 2", "no. 1", "no. 0"]
    assert found[0].their_volume == Decimal("2.5")
    left = api.get("/api/data/differences?open=true").json["items"]
    assert [row["detail"] for row in left] == ["no. 2", "no. 1"]
    assert api.get("/api/data/differences?format=csv").text.count("\n") == 4
    first = api.get("/api/data/quality?limit=3").json
    second = api.get(f"/api/data/quality?limit=3&cursor={first['next']}").json
    keys = [(row["minute"], row["connection"]) for row in (*first["items"], *second["items"])]
    assert keys == sorted(keys, reverse=True)
    assert len(set(keys)) == 4
