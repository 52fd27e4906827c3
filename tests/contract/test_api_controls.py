"""Routes that change something: status, kill switch, configuration, backtests."""

import gc
import json
from contextlib import closing

import pytest
import sqlalchemy as sa

from cli.stack.ports import free_port
from dashboards.api import models
from orchestration.defs.backtests.config import BacktestConfig
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.result import BacktestResult
from pipelines.warehouse import tables
from tests.dagster_webserver import Webserver
from tests.dashboard_seed import seed
from tests.dashboard_server import running, until
from tests.research_seed import BACKTEST, SWEEP, fill_research

pytestmark = pytest.mark.servers
NOW_MS = 1_790_000_000_000
UNUSABLE = (
    ({"strategy": "magic"}, "strategy"),
    ({"timeframe": "7m"}, "timeframe"),
    ({"parameters": {"fast_period": 90, "slow_period": 20}}, "fast_period"),
    ({"fee": 2}, "fee"),
    ({"symbol": "XXX-USDT"}, "XXX-USDT"),
    ({"start": "2026-02-01", "end": "2026-01-01"}, "end"),
)


@pytest.fixture
def api(database_url, redis_url, unused_port, tmp_path):
    """A dashboard over a seeded database and an empty config folder."""
    with running(database_url, redis_url, unused_port, tmp_path) as client:
        seed(client.database, NOW_MS, minutes=150)
        yield client


def _status(api, name):
    with api.database.connect() as connection:
        return connection.execute(sa.select(tables.bots.c.status).where(tables.bots.c.name == name)).scalar()


def test_stop_pause_and_start_write_the_wanted_status(api):
    """Each control route sets bots.status and answers what is wanted and what is."""
    for action, status in (("stop", "stopped"), ("start", "active"), ("pause", "paused")):
        answer = api.post(f"/api/bot/bot_002/{action}")
        assert answer.status == 200
        assert answer.json["status"] == status == _status(api, "bot_002")
    assert api.post("/api/bot/nobody/stop").status == 404
    assert api.post("/api/bot/bot_002/explode").status == 422


def test_the_kill_switch_is_seen_by_the_feed(api):
    """Turning it on is stored and reaches the process's own view."""
    assert api.get("/api/kill-switch").json == {"on": False}
    assert api.post("/api/kill-switch", {"on": True}).json == {"on": True}
    until(lambda: "tcp_kill_switch 1" in api.get("/metrics").text, 10, "the kill switch")


def test_a_configuration_is_checked_stored_and_written_as_a_file(api, tmp_path):
    """PUT changes row and file together, and a wrong document changes neither."""
    document = {
        "strategy": "ema_crossover",
        "parameters": {"fast_period": 5, "slow_period": 50},
        "symbol": "BTC-USDT",
        "timeframe": "1m",
        "virtual_balance": 10_000,
    }
    assert api.put("/api/bot/bot_001/config", document).json["parameters"]["fast_period"] == 5
    stored = api.get("/api/bot/bot_001/config").json
    assert stored["parameters"]["slow_period"] == 50
    path = tmp_path / "bots" / "bot_001.json"
    assert json.loads(path.read_text())["parameters"] == document["parameters"]

    wrong = document | {"parameters": {"fast_period": 0}}
    answer = api.put("/api/bot/bot_001/config", wrong)
    assert answer.status == 422
    assert "fast_period" in answer.json["detail"]
    moved = api.put("/api/bot/bot_001/config", document | {"symbol": "ETH-USDT"})
    assert moved.status == 422
    assert api.put("/api/bot/bot_001/config", document | {"bot_id": "other"}).status == 422
    assert api.get("/api/bot/bot_001/config").json == stored
    assert sorted(found.name for found in path.parent.iterdir()) == ["bot_001.json"]


def test_versions_of_a_configuration_are_told_and_a_bot_is_deleted_restored_and_purged(api):
    """The list of bots lacks a deleted one, its own pages do not; purged it is unknown."""
    stored = api.get("/api/bot/bot_001/config").json
    assert api.put("/api/bot/bot_001/config", stored | {"fee": 0.002}).status == 200
    answer = api.get("/api/bot/bot_001/config/history").json
    versions = models.ConfigVersions.model_validate(answer).items
    assert [(each.version, each.origin) for each in versions] == [(2, "api"), (1, "file")]
    assert versions[0].changes == {"fee": [0.001, 0.002]}

    assert api.request("DELETE", "/api/bot/bot_001", None, {}).json["purged"] is False
    listed = [bot["bot_id"] for bot in api.get("/api/bots").json["items"]]
    everything = [bot["bot_id"] for bot in api.get("/api/bots?deleted=true").json["items"]]
    assert "bot_001" not in listed and "bot_001" in everything
    assert api.get("/api/bot/bot_001").json["deleted_at"] is not None
    assert api.get("/api/bot/bot_001/trades").status == 200
    assert "was deleted" in api.post("/api/bot/bot_001/start").json["detail"]
    assert api.put("/api/bot/bot_001/config", stored).status == 422
    assert api.post("/api/bot/bot_001/restore").json["deleted_at"] is None
    assert _status(api, "bot_001") == "stopped"

    assert api.request("DELETE", "/api/bot/bot_001?purge=true", None, {}).json["purged"] is True
    assert api.get("/api/bot/bot_001").status == 404
    assert api.request("DELETE", "/api/bot/bot_001", None, {}).status == 404


def test_a_backtest_runs_and_is_read_back(api):
    """POST answers the result, and the same result is found in the list and by its id."""
    wanted = {"strategy": "ema_crossover", "symbol": "BTC-USDT", "timeframe": "1m", "cash": 5000}
    answer = api.post("/api/backtest", wanted)
    assert answer.status == 200
    result = models.Backtest.model_validate(answer.json)
    assert result.initial_cash == 5000
    stored = api.get(f"/api/backtest/results/{result.id}?equity=true").json
    assert stored["metrics"] == result.metrics
    assert len(stored["trades"]) == len(result.trades)
    assert len(stored["equity"]) > 100
    listed = models.Runs.model_validate(api.get("/api/backtest/results").json)
    assert [run.id for run in listed.items] == [result.id]


def test_a_finished_backtest_leaves_no_frames_behind(api):
    """Of a run, here in this process, the server keeps the document that it answers, not the curves, which
    are as long as the candles."""
    wanted = {"strategy": "ema_crossover", "symbol": "BTC-USDT", "timeframe": "1m"}
    before = results_in_memory()
    assert api.post("/api/backtest", wanted).status == 200
    until(lambda: results_in_memory() <= before, 10, "the end of the result")


def results_in_memory():
    """How many whole results of backtests this process holds."""
    gc.collect()
    return sum(type(thing) is BacktestResult for thing in gc.get_objects())


def test_a_note_is_kept_beside_its_run(api):
    """It replaces the one before, an empty one removes it; a run that is not there, or a note that is too
    long, is refused."""
    fill_research(api.database, NOW_MS)
    path = f"/api/backtest/results/{BACKTEST}"
    assert api.get(path).json["note"] is None
    assert api.put(f"{path}/note", {"note": " wider stop \x00"}).json == {"note": "wider stop"}
    assert api.get(path).json["note"] == "wider stop"
    assert api.put(f"{path}/note", {"note": "x" * 501}).status == 422
    assert api.put(f"{path}/note", {"note": "  "}).status == 200
    assert api.get(path).json["note"] is None
    assert api.put("/api/backtest/results/none/note", {"note": "x"}).status == 404


def test_a_backtest_that_cannot_run_names_the_field(api):
    """422 with the field; nothing is stored."""
    wanted = {"strategy": "ema_crossover", "symbol": "BTC-USDT", "timeframe": "1m"}
    for change, word in UNUSABLE:
        answer = api.post("/api/backtest", wanted | change)
        assert answer.status == 422, change
        assert word in answer.json["detail"], change
    assert api.get("/api/backtest/results").json["items"] == []


def test_a_backtest_is_cancelled_and_nothing_of_it_is_stored(api):
    """One that waits ends at once, for who waits for its answer too; one that is storing its result is
    refused and stored. Unknown ones are 404."""
    wanted = {"strategy": "ema_crossover", "symbol": "BTC-USDT", "timeframe": "1m"}
    with api.database.begin() as connection:
        connection.execute(sa.text("lock table strategy_runs in exclusive mode"))
        first, second = (api.post("/api/backtest?wait_s=0", wanted).json["job"] for _ in range(2))
        path = f"/api/backtest/jobs/{first}"
        until(lambda: str(api.get(path).json["step"]).startswith("storing"), 30, "its last step")
        late = api.post(f"{path}/cancel")
        assert (late.status, "too late" in late.json["detail"]) == (409, True)
        for _ in range(2):
            answer = api.post(f"/api/backtest/jobs/{second}/cancel")
            assert (answer.status, answer.json) == (202, {"id": second, "state": "cancelled"})
    until(lambda: api.get(path).status == 200, 30, "the first")
    over = api.post(f"{path}/cancel")
    assert (over.status, over.json["detail"]) == (
        409,
        f"the run {first} is done: there is nothing to cancel",
    )
    gone = api.get(f"/api/backtest/jobs/{second}")
    assert (gone.status, gone.json["detail"]) == (409, "the run was cancelled over the API")
    assert len(api.get("/api/backtest/results").json["items"]) == 1
    said = [row["message"] for row in api.get("/api/events").json["items"] if row["event"] == "run_cancelled"]
    assert said == [f"backtest {second} was cancelled over the API"]
    assert api.post("/api/backtest/jobs/none/cancel").status == 404
    fill_research(api.database, NOW_MS)
    assert api.post(f"/api/sweeps/{SWEEP}/cancel").status == 409
    assert api.post(f"/api/sweeps/{BACKTEST}/cancel").status == 404


def test_a_backtest_that_cannot_be_kept_is_said_in_one_line(api):
    """When the database refuses what a run stores, the answer is 503 as on every route: no statement, no
    link, no traceback."""
    wanted = {"strategy": "ema_crossover", "symbol": "BTC-USDT", "timeframe": "1m"}
    with api.database.begin() as connection:
        connection.execute(sa.text("alter table strategy_runs rename to taken_away"))
    answer = api.post("/api/backtest", wanted)
    assert answer.status == 503
    assert answer.json["detail"].startswith("the database refused: relation")
    assert not any(word in answer.json["detail"] for word in ("\n", "INSERT", "http"))


def test_a_backtest_of_too_many_candles_goes_to_dagster_or_names_the_remedy(api, tmp_path):
    """Stored candles count, not the years asked for. Where Dagster is up its run is followed under
    /backtest/jobs until the backtest that it stored is there; cancelled, it is Dagster that ends it."""
    wanted = {"strategy": "ema_crossover", "symbol": "BTC-USDT", "timeframe": "1m"}
    here = api.post("/api/backtest", wanted | {"start": "2001-01-01"})
    assert here.status == 200
    with api.database.begin() as connection:
        connection.execute(
            sa.text(
                "insert into market_data"
                " (exchange, symbol, timeframe, timestamp, open, high, low, close, volume, source)"
                " select exchange, symbol, timeframe, min(timestamp) - interval '6 years', 1, 1, 1, 1, 1,"
                " 'exchange' from market_data where symbol = 'BTC-USDT' and timeframe = '1m' group by 1, 2, 3"
            )
        )
    refused = api.post("/api/backtest", wanted)
    assert (refused.status, refused.json["field"]) == (422, "start")
    assert "3,15" in refused.json["detail"] and "Dagster" in refused.json["detail"]

    dagster = Webserver(tmp_path / "dagster")
    run = "0123abcd-0123-abcd-0123-0123456789ab"
    dagster.launches.append({"__typename": "LaunchRunSuccess", "run": {"runId": run}})
    made = {"metadataEntries": [{"label": "sharpe"}, {"label": "run_id", "text": here.json["id"]}]}
    one = {"__typename": "Run", "jobName": "backtest_job", "assetMaterializations": []}
    url, redis = api.database.url.render_as_string(hide_password=False), api.settings.redis_url
    port = dagster.port
    with closing(dagster), running(url, redis, free_port(), tmp_path, dagster_port=port) as other:
        begun = other.post("/api/backtest", wanted | {"fee_currency": "quote"})
        address = f"http://127.0.0.1:{port}/runs/{run}"
        assert (begun.status, begun.json) == (202, {"job": run, "state": "waiting", "address": address})
        config = dagster.asked[0]["runConfigData"]["ops"]["backtest"]["config"]
        assert BacktestRequest.read(BacktestConfig(**config).document()).fee_currency == "quote"
        path = f"/api/backtest/jobs/{run}"
        assert other.get(path).status == 404
        dagster.one = one | {"status": "STARTED"}
        assert (other.get(path).status, other.get(path).json["state"]) == (202, "running")
        started = dagster.one
        dagster.terminations.append({"__typename": "TerminateRunFailure", "message": "not now"})
        assert "not now" in other.post(f"{path}/cancel").json["detail"]
        dagster.terminations.append({"__typename": "TerminateRunSuccess"})
        assert (other.post(f"{path}/cancel").status, dagster.asked[-1]) == (202, run)
        for state in ("CANCELING", "CANCELED"):
            dagster.one = started | {"status": state}
            word = state.replace("L", "LL").lower()
            assert other.post(f"{path}/cancel").json == {"id": run, "state": word}
        assert (other.get(path).status, len(dagster.asked)) == (409, 3)
        assert (
            api.get("/api/events").json["items"][0]["message"] == f"backtest {run} was cancelled over the API"
        )
        dagster.one = one | {"status": "SUCCESS", "assetMaterializations": [made]}
        assert other.get(path).json["id"] == here.json["id"]
        assert other.post(f"{path}/cancel").status == 409
        dagster.one = one | {"status": "FAILURE"}
        assert address in other.get(path).json["detail"]
        dagster.close()
        assert other.get(path).status == 503


def test_a_database_that_is_away_is_said_as_503(api):
    """Without its database the API answers 503 with one line, and health says which part is away."""
    with api.database.connect() as connection:
        name = connection.execute(sa.text("select current_database()")).scalar_one()
    other = sa.create_engine(api.database.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with other.connect() as connection:
        connection.execute(sa.text(f'alter database "{name}" with allow_connections false'))
        connection.execute(
            sa.text("select pg_terminate_backend(pid) from pg_stat_activity where datname = :name"),
            {"name": name},
        )
    other.dispose()
    answer = api.get("/api/bot/bot_001/trades")
    assert answer.status == 503
    assert "\n" not in answer.json["detail"]
    until(lambda: api.get("/healthz").status == 503, 10, "the loss")
    assert api.get("/healthz").json["database"] is False
