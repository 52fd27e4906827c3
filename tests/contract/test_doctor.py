"""`tcp doctor` on a stack that runs, or ran: what is wrong is named with what helps."""

import time

import pytest
from sqlalchemy import Engine, text

from cli.stack.doctor_state import database_findings, disk_findings
from cli.stack.plan import Plan, make_plan
from config.settings import Settings
from pipelines.warehouse.backups import ask_for_backups, note_backup
from pipelines.warehouse.controls import set_kill_switch
from pipelines.warehouse.database import engine
from pipelines.warehouse.health import beat, record_event
from pipelines.warehouse.spool import database_id

pytestmark = pytest.mark.servers

BOT = """
    INSERT INTO bots (name, strategy_name, symbol, timeframe, status, config, virtual_balance,
                      current_balance, last_error)
    VALUES ('bot_009', 'x', 'BTC-USDT', '1m', 'error', '{}', 1, 1, 'ZeroDivisionError')
"""
GAP = """
    INSERT INTO data_gaps (exchange, symbol, first_id, last_id, state, detected_at)
    VALUES ('okx', 'BTC-USDT', 1, 9, 'open', now())
"""
ADDRESS = "json://127.0.0.1:9/"
DAEMON = {"symbols": {"BTC-USDT": {"state": "live"}}, "last_commit_ms": 8, "postgres_away_s": 0}


def planned(url: str, home, **settings) -> Plan:
    return make_plan(Settings(home=home, database_url=url, **settings))


def said(plan: Plan) -> dict[str, tuple[bool | None, str]]:
    return {finding.name: (finding.ok, finding.message) for finding in database_findings(plan)}


def test_healthy_database_has_nothing_wrong(database_url, tmp_path):
    """All is well, and the daemon that never ran is a note. Nothing is known of the backups of an earlier
    version's database: it has two days for one from the daemon's next start, and no more."""
    connections = engine(database_url)
    database_id(connections)
    _age_controls(connections)
    before = said(planned(database_url, tmp_path))
    assert before.pop("daemon")[0] is None
    assert before.pop("verified backup")[0] is None
    assert {ok for ok, _ in before.values()} == {True}
    assert "WAL archive" not in before  # this server keeps none
    for name in ("live", "dagster", "notify"):
        beat(connections, name, round(time.time() * 1000), None, DAEMON)
    ask_for_backups(connections)
    after = said(planned(database_url, tmp_path, notify_urls=ADDRESS))
    assert {ok for ok, _ in after.values()} == {True}
    assert "notify" in after and "notify" not in said(planned(database_url, tmp_path))
    _age_controls(connections)
    ask_for_backups(connections)
    assert said(planned(database_url, tmp_path))["verified backup"][0] is False


def test_everything_that_is_wrong_is_named_with_what_helps(database_url, tmp_path):
    """A bot given up, a hole, errors, the kill switch, a symbol left out, a daemon that cannot write, an
    address and nobody who tells it anything."""
    connections = engine(database_url)
    with connections.begin() as connection:
        connection.execute(text(BOT))
        connection.execute(text(GAP))
    record_event(connections, "error", "dagster", "run_failed", "backup_job: no room")
    set_kill_switch(connections, True)
    wrong = DAEMON | {
        "symbols": {"X-USDT": {"state": "unlisted", "detail": "not listed"}},
        "postgres_away_s": 70,
        "pending_trades": 5,
    }
    beat(connections, "live", round(time.time() * 1000), None, wrong)
    beat(connections, "dagster", round(time.time() * 1000) - 601_000, None, {})
    note_backup(connections, "a.dump")
    _age_controls(connections)
    found = said(planned(database_url, tmp_path, notify_urls=ADDRESS))
    expected = {
        "bots": (False, "ZeroDivisionError"),
        "dagster": (False, "tcp health dagster"),
        "notify": (False, "tcp-notify.service"),
        "verified backup": (False, "tcp db backup --verify"),
        "symbols": (False, "X-USDT: not listed"),
        "writing": (False, "taken nothing for 70 s"),
        "holes in trades": (None, "tcp data status"),
        "errors of the last day": (None, "backup_job: no room"),
        "kill switch": (None, "tcp kill-switch off"),
    }
    for name, (ok, words) in expected.items():
        assert found[name][0] is ok and words in found[name][1], name


def test_daemon_that_was_there_and_a_schema_that_is_old_are_told(database_url, tmp_path):
    """What runs no more says since when; without the schema nothing else is asked."""
    connections = engine(database_url)
    beat(connections, "live", round(time.time() * 1000) - 3_600_000, None, DAEMON)
    assert "1:00:0" in said(planned(database_url, tmp_path))["daemon"][1]
    with connections.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert list(said(planned(database_url, tmp_path))) == ["schema"]
    assert "tcp db migrate" in said(planned(database_url, tmp_path))["schema"][1]


def test_what_lies_on_the_disk_is_looked_at(database_url, tmp_path):
    """A secret that others may read, a lake without room to write, no backup, something set aside."""
    plan = planned(database_url, tmp_path, lake_url=str(tmp_path / "lake"), notify_file=tmp_path / "absent")
    damaged = tmp_path / "spool" / "1" / "damaged"
    (tmp_path / "secrets").mkdir(exist_ok=True)
    (tmp_path / "secrets" / "postgres").write_text("hunter2")
    damaged.mkdir(parents=True)
    (damaged / "refused.jsonl").write_text("{}")
    found = {finding.name: finding for finding in disk_findings(plan)}
    assert found["secrets"].ok is False and "chmod 600" in found["secrets"].message
    assert "hunter2" not in str(found)
    assert found["notifications"].ok is False and "TCP_NOTIFY_FILE" in found["notifications"].message
    assert found["spool"].ok is None and "refused.jsonl" in found["spool"].message
    assert found["backups"].ok is None and "tcp db backup" in found["backups"].message
    assert found["lake"].ok is True
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "backup-1.dump").write_text("")
    assert {finding.name: finding.ok for finding in disk_findings(plan)}["backups"] is True
    refused = planned(database_url, tmp_path, lake_url=str(tmp_path / ("x" * 300)))  # as a stale mount does
    (lake,) = (finding for finding in disk_findings(refused) if finding.name == "lake")
    assert lake.ok is False and "File name too long" in lake.message


def _age_controls(connections: Engine) -> None:
    with connections.begin() as connection:
        connection.execute(text("UPDATE controls SET updated_at = now() - interval '49 hours'"))
