"""Which days the archive's schedule asks for each night."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from core.trades import Side, Trade
from pipelines.lake.archive import archive_raw_trades
from pipelines.warehouse.database import engine
from pipelines.warehouse.trades import copy_trades
from tests.graph.outside import run_outside

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

YESTERDAY = date(2026, 11, 19)
SWITCH = """
from orchestration.defs.lake.schedules import archive_of_yesterday
print(archive_of_yesterday.default_status.value)
"""
ASKED = f"""{SWITCH}
import dagster as dg
from datetime import UTC, datetime
at = datetime(2026, 11, 20, 2, 15, tzinfo=UTC)
for request in archive_of_yesterday(dg.build_schedule_context(scheduled_execution_time=at)):
    print(request.run_key, request.partition_key)
"""


def test_a_night_that_was_missed_is_made_up_for(database_url, tmp_path):
    """Yesterday of each symbol is asked for, and each stored day of the month before that the lake lacks.
    Where days are to leave PostgreSQL it runs without being switched on: they leave by way of the lake; and
    nowhere else."""
    days_ago = {"archived": 2, "missed": 3, "long ago": 40}
    trades = []
    for number, ago in enumerate(sorted(days_ago.values(), reverse=True)):
        at = datetime.combine(YESTERDAY - timedelta(days=ago), datetime.min.time(), UTC)
        at_ms = int(at.timestamp() * 1000)
        trades += [Trade("BTC-USDT", number, at_ms, Decimal(1), Decimal(1), Side.BUY)]
    with engine(database_url).begin() as connection:
        copy_trades(connection, trades)
    archived, missed = (YESTERDAY - timedelta(days=days_ago[name]) for name in ("archived", "missed"))
    archive_raw_trades(database_url, str(tmp_path / "lake"), "BTC-USDT", archived)
    variables = {"TCP_DATABASE_URL": database_url, "TCP_SYMBOLS": "BTC-USDT,ETH-USDT"}
    said = run_outside("-c", ASKED, TCP_HOME=tmp_path, TCP_RAW_TRADES_DAYS="7", **variables)
    asked = [(YESTERDAY, "BTC-USDT"), (YESTERDAY, "ETH-USDT"), (missed, "BTC-USDT")]
    assert said.splitlines() == ["RUNNING"] + [
        f"{YESTERDAY}-{day}-{symbol} {day}|{symbol}" for day, symbol in asked
    ]
    assert run_outside("-c", SWITCH, TCP_HOME=tmp_path, **variables).splitlines() == ["STOPPED"]
