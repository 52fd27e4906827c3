"""`tcp bots` and `tcp kill-switch`, as typed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import PROJECT_ROOT
from pipelines.warehouse.bots import find_bot
from pipelines.warehouse.database import engine as engine_of
from tests import bot_bench as bench

pytestmark = pytest.mark.servers
GOOD = {
    "bot_id": "mine",
    "strategy_file": "fast.json",
    "symbol": "BTC-USDT",
    "timeframe": "1m",
    "virtual_balance": 2500.5,
    "enabled": False,
}


@pytest.fixture
def tcp(database_url: str, redis_url: str, tmp_path: Path):
    """Runs the command line with a config folder of its own."""
    (tmp_path / "config" / "strategies").mkdir(parents=True)
    strategy = {"strategy_name": "EMA_Crossover", "parameters": {"fast_period": 3, "slow_period": 8}}
    (tmp_path / "config" / "strategies" / "fast.json").write_text(json.dumps(strategy))
    environment = os.environ | {
        "TCP_HOME": str(tmp_path / "var"),
        "TCP_CONFIG_DIR": str(tmp_path / "config"),
        "TCP_DATABASE_URL": database_url,
        "TCP_REDIS_URL": redis_url,
        "TCP_OKX_REST_URL": "http://127.0.0.1:9",
        "TCP_OKX_WS_URL": "ws://127.0.0.1:9",
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cli.main", *arguments]
        return subprocess.run(
            command,
            cwd=PROJECT_ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_a_bot_is_created_shown_started_paused_and_stopped(tcp, database_url, tmp_path):
    """The file is kept in the config folder, and each command says what is wanted now."""
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(GOOD))
    created = tcp("bots", "create", str(file), "--json")
    assert created.returncode == 0, created.stderr
    document = json.loads(created.stdout)
    assert (document["bot_id"], document["status"], document["virtual_balance"]) == (
        "mine",
        "stopped",
        2500.5,
    )
    assert document["config"]["parameters"] == {"fast_period": 3, "slow_period": 8}
    assert (tmp_path / "config" / "bots" / "mine.json").read_text() == file.read_text()
    engine = engine_of(database_url)
    for command, wanted in (("start", "active"), ("pause", "paused"), ("stop", "stopped")):
        assert json.loads(tcp("bots", command, "mine", "--json").stdout)["status"] == wanted
        assert find_bot(engine, "mine").status == wanted
    listed = json.loads(tcp("bots", "list", "--json").stdout)
    assert [bot["bot_id"] for bot in listed["bots"]] == ["mine"]
    assert "mine" in tcp("bots", "list").stdout
    engine.dispose()


def test_a_bot_is_configured_told_of_deleted_and_restored(tcp, tmp_path):
    """As typed: a field, its history, a wrong field, the end and the return."""
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(GOOD))
    assert tcp("bots", "create", str(file)).returncode == 0
    changed = tcp("bots", "configure", "mine", "--set", "risk.stop_loss=0.05")
    assert changed.stdout == "mine: version 2 instead of 1, from the next candle on\n", changed.stderr
    told = tcp("bots", "history", "mine").stdout.splitlines()
    assert told[0].startswith("version 2  ") and told[0].endswith("  cli  not in force yet")
    assert told[1] == "    risk.stop_loss: None -> 0.05"
    wrong = tcp("bots", "configure", "mine", "--set", "fee=2")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("tcp: document: fee: ") and wrong.stderr.count("\n") == 1
    gone = tcp("bots", "delete", "mine", "--json")
    aside = tmp_path / "config" / "bots" / "mine.json.deleted"
    assert json.loads(gone.stdout) == {
        "bot_id": "mine",
        "deleted": True,
        "purged": False,
        "files": [str(aside)],
    }
    refused = tcp("bots", "start", "mine")
    assert refused.returncode == 2 and "`tcp bots restore mine` brings it back" in refused.stderr
    assert "is back, stopped" in tcp("bots", "restore", "mine").stdout
    assert not aside.exists() and aside.with_suffix("").exists()


def test_an_unknown_bot_is_refused_with_the_known_names(tcp, database_url):
    """Exit code 2, one line, for every command that takes a name."""
    engine = engine_of(database_url)
    bench.add_bot(engine, "alpha")
    engine.dispose()
    for command in ("show", "start"):
        result = tcp("bots", command, "beta")
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr == "tcp: bot: 'beta' is not known; known: alpha\n"


def test_the_kill_switch_is_turned_on_and_off(tcp, database_url):
    """What it says is what is stored; another word is refused."""
    on = tcp("kill-switch", "on", "--json")
    assert json.loads(on.stdout) == {"kill_switch": True, "cancelled_orders": 0}
    engine = engine_of(database_url)
    assert bench.scalar(engine, "SELECT value->>'on' FROM controls") == "true"
    assert tcp("kill-switch", "off").stdout == "kill switch is off\n"
    assert bench.scalar(engine, "SELECT value->>'on' FROM controls") == "false"
    engine.dispose()
    assert tcp("kill-switch", "maybe").returncode == 2


def test_balances_at_an_exchange_are_shown_and_accepted(tcp, database_url):
    """What nothing explains has a line of its own, as has what was accepted; before any trade it says so."""
    none = tcp("bots", "balances")
    assert (none.returncode, none.stdout) == (0, "no bot has traded at an exchange yet\n"), none.stderr
    with engine_of(database_url).begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO exchange_balances (broker, currency, held, traded, others)"
            " VALUES ('okx-demo', 'BTC', 2, 0.5, 1)"
        )
    accepted = json.loads(tcp("bots", "balances", "--accept", "--json").stdout)
    assert [(row["currency"], row["others"]) for row in accepted["accepted"]] == [("BTC", 1)]
    (row,) = accepted["balances"]
    assert (row["difference"], row["others"]) == (0, 1.5)
    shown = tcp("bots", "balances").stdout
    assert shown.startswith("okx-demo  BTC    held 2, by trades +0.5, others' 1.5, unexplained 0  (")
