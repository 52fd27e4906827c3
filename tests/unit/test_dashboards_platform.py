"""The system page without a browser: its numbers, and what Dagster did."""

from dashboards import platform
from dashboards.dagster_runs import DagsterRun

CALM = {"pending_trades": 12, "last_commit_ms": 8.4, "bus_waiting": 0, "spool": {"trades": 0}}
BOTS = [{"restarts": 0, "shown": "running"}, {"restarts": 0, "shown": "stopped"}]
LOAD = {"bytes": 3_200_000_000, "connections": 12, "most": 100}


def tones(cards):
    """Name → tone of the numbers that have one."""
    return {name: tone for name, _, tone, _ in cards if tone}


def test_a_calm_platform_warns_of_nothing():
    """Queues that move are no trouble, however long."""
    found = platform.cards(CALM, BOTS, {}, LOAD)
    assert tones(found) == {}
    words = {name: text for name, text, _, _ in found}
    assert words["Trades waiting"] == "12"
    assert words["Bots running"] == "1 of 2"
    assert words["Database"] == "3 GB"


def test_trouble_is_seen_in_its_own_number():
    """Trades on disk, a slow commit, restarts, broken bots, errors and a full server stand out."""
    daemon = CALM | {"spool": {"trades": 5}, "last_commit_ms": 2_500, "bus_waiting": 3}
    bots = [{"restarts": 2, "shown": "error"}]
    found = platform.cards(daemon, bots, {"error": 1, "warning": 4}, LOAD | {"connections": 90})
    assert tones(found) == {
        "Trades waiting": "warn-text",
        "Last commit": "warn-text",
        "Messages waiting": "warn-text",
        "Bots running": "down",
        "Restarts": "warn-text",
        "Errors, 24 h": "down",
        "Warnings, 24 h": "warn-text",
        "Database": "warn-text",
    }


def test_before_the_daemon_said_anything_its_numbers_are_dashes():
    """Nothing is known of queues that nobody told of."""
    found = platform.cards({}, [], {}, LOAD)
    assert [text for _, text, _, _ in found[:3]] == ["—", "—", "—"]


def test_runs_of_dagster_say_how_they_ended():
    """Away, idle and busy have a face each; a run leads to its page."""
    away = str(platform.runs_list(None, "http://here"))
    assert "Dagster is not up" in away
    assert "Code('tcp up')" in away
    assert "Nothing was run yet" in str(platform.runs_list([], "http://here"))
    runs = [
        DagsterRun("backup_job", "STARTED", 100.0, 101.0, None, "http://here/runs/a"),
        DagsterRun("candle_backfill", "FAILURE", 50.0, 51.0, 81.4, "http://here/runs/b"),
    ]
    shown = str(platform.runs_list(runs, "http://here"))
    assert "Running" in shown
    assert "Failed" in shown
    assert "30 s" in shown
    assert "http://here/runs/b" in shown
