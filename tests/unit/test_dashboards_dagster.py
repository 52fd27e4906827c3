"""Handing work to Dagster: only to the one of this installation, and back when it refuses."""

from datetime import date

import pytest

from config.settings import Settings
from core.errors import Unavailable
from dashboards.backfills import Backfills
from dashboards.dagster_runs import DagsterRuns, HandedRun
from tests.dagster_webserver import Webserver
from tests.dashboard_server import until


@pytest.fixture
def webserver(tmp_path):
    """One that works on this installation."""
    found = Webserver(tmp_path / "dagster")
    yield found
    found.close()


def test_only_the_dagster_of_this_installation_counts_as_up(webserver, tmp_path, unused_port):
    """Another home's Dagster on the port, or none, is not up."""
    assert DagsterRuns(Settings(home=tmp_path, dagster_port=webserver.port)).is_up()
    assert not DagsterRuns(Settings(home=tmp_path / "other", dagster_port=webserver.port)).is_up()
    assert not DagsterRuns(Settings(home=tmp_path, dagster_port=unused_port)).is_up()


def test_a_run_has_an_address_and_a_refusal_none(webserver, tmp_path):
    """The job gets its config under its op; whatever Dagster refuses is left to the caller."""
    runs = DagsterRuns(Settings(home=tmp_path, dagster_port=webserver.port))
    webserver.launches += [
        {"__typename": "LaunchRunSuccess", "run": {"runId": "abc"}},
        {"__typename": "RunConfigValidationInvalid", "errors": []},
    ]
    handed = runs.launch("backtest_job", "backtest", {"symbol": "BTC-USDT"})
    assert handed == HandedRun("abc", f"{runs.url}/runs/abc")
    assert webserver.asked[0]["runConfigData"] == {"ops": {"backtest": {"config": {"symbol": "BTC-USDT"}}}}
    assert runs.launch("backtest_job", "backtest", {}) is None


def test_a_backfill_is_followed_to_its_end(webserver, tmp_path):
    """Each day is a partition of its symbol; the row has the address at once and says who did it."""
    settings = Settings(home=tmp_path, dagster_port=webserver.port)
    backfills = Backfills(settings, DagsterRuns(settings))
    webserver.launches.append({"__typename": "LaunchBackfillSuccess", "backfillId": "bf"})
    webserver.states += ["COMPLETED_SUCCESS"]
    asked = backfills.start("candles", "BTC-USDT", "1m", date(2026, 3, 1), date(2026, 3, 2))
    until(lambda: asked.job.state in {"done", "failed"}, 20, "the backfill")
    row = asked.row()
    assert (row["state"], row["said"]) == ("done", "by Dagster")
    assert row["address"].endswith("/runs/b/bf")
    assert webserver.asked[0]["partitionNames"] == ["2026-03-01|BTC-USDT", "2026-03-02|BTC-USDT"]
    backfills.jobs.close()


def test_an_answer_that_does_not_come_fails_no_backfill(webserver, tmp_path):
    """Dagster is asked again, which the row says; after minutes of silence it is told as unknown, not as
    failed."""
    settings = Settings(home=tmp_path, dagster_port=webserver.port)
    backfills = Backfills(settings, DagsterRuns(settings))
    webserver.launches += [{"__typename": "LaunchBackfillSuccess", "backfillId": "bf"}] * 2
    webserver.states += [None, "COMPLETED_SUCCESS", None]
    asked = backfills.start("candles", "BTC-USDT", "1m", date(2026, 3, 1), date(2026, 3, 2))
    until(lambda: "asked again" in asked.row()["said"], 20, "the lost answer")
    assert asked.row()["state"] == "running"
    until(lambda: asked.job.ended, 20, "the backfill")
    assert asked.row()["state"] == "done"
    backfills.dagster = DagsterRuns(settings, silent_s=-1)
    lost = backfills.start("candles", "BTC-USDT", "1m", date(2026, 3, 1), date(2026, 3, 2))
    until(lambda: lost.job.ended, 20, "the end of the patience")
    assert lost.row()["state"] == "unknown" and "may go on" in lost.row()["said"]
    backfills.jobs.close()


def test_the_newest_runs_are_named_by_what_they_do(webserver, tmp_path, unused_port):
    """A job by its name, assets without a job by the first of them; None where Dagster is away."""
    runs = DagsterRuns(Settings(home=tmp_path, dagster_port=webserver.port))
    row = {"status": "SUCCESS", "creationTime": 1.0, "startTime": 2.0, "endTime": None}
    assets = {"jobName": "__ASSET_JOB", "assetSelection": [{"path": ["marts", "costs"]}]}
    webserver.runs = [
        row | {"runId": "a", "jobName": "backup_job", "assetSelection": None, "assetSelectionCount": 0},
        row | {"runId": "b", "assetSelectionCount": 3, **assets},
        row | {"runId": "c", "assetSelectionCount": 1, **assets},
    ]
    found = runs.newest(2)
    assert [run.name for run in found] == ["backup_job", "costs and 2 more"]
    assert found[0].address == f"{runs.url}/runs/a"
    assert [run.name for run in runs.newest(3)][2] == "costs"
    assert DagsterRuns(Settings(home=tmp_path, dagster_port=unused_port)).newest(2) is None


def test_a_run_is_unknown_only_where_dagster_says_so(webserver, tmp_path, unused_port):
    """While Dagster restarts, its runs are not gone: that is told as a server that is away."""
    run = "0123abcd-0123-abcd-0123-0123456789ab"
    assert DagsterRuns(Settings(home=tmp_path, dagster_port=webserver.port)).backtest(run) is None
    with pytest.raises(Unavailable, match="not up"):
        DagsterRuns(Settings(home=tmp_path, dagster_port=unused_port)).backtest(run)


def test_a_failed_backfill_says_where_to_look_and_a_refused_one_is_no_backfill(webserver, tmp_path):
    """The failure names Dagster's page; days without a partition are refused before anything runs."""
    runs = DagsterRuns(Settings(home=tmp_path, dagster_port=webserver.port))
    webserver.launches += [
        {"__typename": "LaunchBackfillSuccess", "backfillId": "bf"},
        {"__typename": "PythonError", "message": "no such partition"},
    ]
    webserver.states += ["COMPLETED_FAILED"]
    said: list[tuple[str, bool]] = []

    def note(*heard):
        said.append(heard)

    with pytest.raises(Unavailable, match="runs/b/bf"):
        runs.backfill("candle_backfill", ["2026-03-01|BTC-USDT"], {"timeframe": "1m"}, note)
    assert said == [(f"{runs.url}/runs/b/bf", True)]
    assert runs.backfill("candle_backfill", ["1999-01-01|BTC-USDT"], {}, note) is None
