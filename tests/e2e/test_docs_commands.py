"""Every command of the README and of the manual, in a block or in the text, runs on a stack as it stands."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from cli.stack.ports import free_port
from cli.stack.servers import http_answers
from config.settings import PROJECT_ROOT
from pipelines.warehouse.database import engine
from tests.stack import Tcp, eventually, home

pytestmark = [pytest.mark.e2e, pytest.mark.servers, pytest.mark.timeout(600)]

STORY = (
    *("first-minutes", "from-idea-to-bot", "backfill-a-year", "data", "sweeps"),
    *("okx-demo", "go-live", "deploy"),
)
"""Pages in the order in which they are read; the others follow by name."""
TESTED_ALONE = {"strategies"}  # tests/contract/test_strategies_guide.py follows it with files of its own
COMMAND = re.compile(r"""`tcp ([^`]+)`|^(?:\$ )?tcp ((?:[^"'\n]|"[^"]*"|'[^']*')+)$""", re.MULTILINE)
GAP = re.compile(r"…|\||\[|\b(FILE|ID|NAME|BOT|E|HOST)\b")
SERVING = {"up", "live", "dashboard", "dagster", "docs", "notify"}
"""They run until they are stopped: here `--help` does."""
NAMED = {
    *("backtest", "backtest --validate", "sweep", "strategies check", "parity", "bots show", "bots start"),
    *("backfill trades", "backfill trades --source bulk", "backfill trades --source bulk --repair"),
    *("data import", "data export", "data query", "db", "db restore", "db verify"),
}
"""Commands that the text names without what they need."""
NOT_HERE = {
    "big.parquet": "a measurement of 45 minutes",
    "--timeframe 1m --from 2025-11-01": "a year of minutes",
    "backfill trades --symbol": "days of trades, page by page",
    "--source bulk --symbol": "a month of files",
    "parity my_bot": "needs candles that it has judged: tests/replay/test_parity.py",
    "db recover": "needs TCP_WAL_ARCHIVE: tests/contract/test_backup.py",
    "db base-backup": "the same",
    "bots balances": "needs an account: tests/contract/test_bots_command.py",
    "--resume sweep.parquet": "goes on with a killed sweep: tests/contract/test_sweep_run.py",
    "down": "tests/e2e/test_stack.py",
}
CANDLES = "SELECT count(*) FROM market_data WHERE symbol = 'BTC-USDT' AND timeframe IN ('1m', '5m')"
HISTORY = 4 * (1440 + 300)
"""Of them, of four days: a walk-forward trains on three."""


def commands() -> list[tuple[str, str]]:
    """(page, command) in the order of the manual, each once, without those that have gaps to fill in."""
    found: dict[str, str] = {}
    for page, content in pages().items():
        for shown in COMMAND.finditer(re.sub(r"\\\n\s*", "", content)):
            written = shown[1] or shown[2]
            command = shlex.join(shlex.split(written, comments=True))
            if not GAP.search(re.sub('"[^"]*"', "", written)) and command not in NAMED:
                found.setdefault(command, page)
    return [(page, command) for command, page in found.items()]


def pages() -> dict[str, str]:
    """Name → text of each page, the README first."""
    docs = {path.stem: path for path in sorted((PROJECT_ROOT / "docs").glob("*.md"))}
    rest = [name for name in docs if name not in {*STORY, *TESTED_ALONE}]
    paths = {"README": PROJECT_ROOT / "README.md"} | {name: docs[name] for name in (*STORY, *rest)}
    return {name: path.read_text() for name, path in paths.items()}


def files() -> dict[str, str]:
    """Name → content of each file that a page shows with its name."""
    return dict(re.findall(r'```json title="([^"]+)"\n(.*?)```', "".join(pages().values()), re.DOTALL))


@pytest.fixture
def stack(tmp_path: Path):
    """Databases, exchange, daemon and dashboard of an own home, with a day of candles of one symbol."""
    config = tmp_path / "config"
    shutil.copytree(PROJECT_ROOT / "config", config)
    for name, content in files().items():
        (tmp_path / name).write_text(content)
    variables = {
        "TCP_CONFIG_DIR": str(config),
        "TCP_STRATEGIES_DIR": str(tmp_path / "my_strategies"),
        "TCP_LAKE_URL": str(tmp_path / "lake"),
        "TCP_DASHBOARD_PORT": str(free_port()),
        "TCP_DAGSTER_PORT": str(free_port()),
        "TCP_SYMBOLS": "BTC-USDT,ETH-USDT,SOL-USDT",
        "TCP_HISTORY_DAYS": "5",
        "TCP_REQUEST_RATE": "0",
        "PYTHONPATH": str(PROJECT_ROOT),
    }
    with home(tmp_path / "home", **variables) as tcp:
        url = tcp.run("db", "url").stdout.strip()
        running = [tcp.start(part, output=tmp_path / f"{part}.log") for part in ("live", "dashboard")]
        try:
            dashboard = f"http://127.0.0.1:{variables['TCP_DASHBOARD_PORT']}/healthz"
            eventually(lambda: http_answers(dashboard), 90, "the dashboard")
            eventually(lambda: _count(url) >= HISTORY, 90, "four days of candles")
            yield tcp
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(30)


@pytest.fixture
def ask(stack: Tcp, tmp_path: Path):
    """Runs a command in the user's folder: exit code and output."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.command_server"],
        cwd=tmp_path,
        env=stack.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None and server.stdout is not None

    def answer(command: str) -> dict:
        server.stdin.write(json.dumps(shlex.split(command)) + "\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline())

    yield answer
    server.communicate()
    assert server.returncode == 0


def test_each_command_of_the_manual_runs(ask):
    """In the order of the pages, each ends with exit code 0."""
    asked = commands()
    assert len(asked) >= 70 and {page for page, _ in asked} >= {"README", *STORY}
    assert [part for part in NOT_HERE if not any(part in command for _, command in asked)] == []
    for page, command in asked:
        if any(part in command for part in NOT_HERE):
            continue
        first = command.split()[0]
        ran = ask(f"{first} --help" if first in SERVING else command)
        assert ran["code"] == 0, (page, command, ran["output"][-800:])


def _count(url: str) -> int:
    try:
        with engine(url).connect() as connection:
            return int(connection.execute(text(CANDLES)).scalar() or 0)
    except DBAPIError:
        return 0
