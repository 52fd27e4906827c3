"""Every command that the manual shows with a `$` runs on a stack, as it stands there."""

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

pytestmark = [pytest.mark.e2e, pytest.mark.servers, pytest.mark.timeout(420)]

DOCS = PROJECT_ROOT / "docs"
PAGES = ("first-minutes", "from-idea-to-bot", "backfill-a-year", "okx-demo", "go-live", "deploy", "operate")
CANDLES = "SELECT count(*) FROM market_data WHERE timeframe = '5m'"


def commands() -> list[tuple[str, str]]:
    """(page, command) in the order of the manual; what an earlier page shows too is run once."""
    found: dict[str, str] = {}
    for page in PAGES:
        blocks = re.findall(r"```console\n(.*?)```", (DOCS / f"{page}.md").read_text(), flags=re.DOTALL)
        for line in "".join(blocks).splitlines():
            assert line.startswith("$ tcp "), (page, line)
            found.setdefault(line.removeprefix("$ tcp "), page)
    return [(page, command) for command, page in found.items()]


def files() -> dict[str, str]:
    """Name → content of each file that a page shows with its name."""
    blocks = [
        block
        for page in PAGES
        for block in re.findall(
            r'```json title="([^"]+)"\n(.*?)```', (DOCS / f"{page}.md").read_text(), re.DOTALL
        )
    ]
    return dict(blocks)


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
        "TCP_HISTORY_DAYS": "1",
        "PYTHONPATH": str(PROJECT_ROOT),
    }
    with home(tmp_path / "home", **variables) as tcp:
        url = tcp.run("db", "url").stdout.strip()
        running = [tcp.start(part, output=tmp_path / f"{part}.log") for part in ("live", "dashboard")]
        try:
            dashboard = f"http://127.0.0.1:{variables['TCP_DASHBOARD_PORT']}/healthz"
            eventually(lambda: http_answers(dashboard), 90, "the dashboard")
            eventually(lambda: _count(url) >= 250, 90, "candles")
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
    assert len(asked) >= 30 and {page for page, _ in asked} == set(PAGES)
    for page, command in asked:
        ran = ask(command)
        assert ran["code"] == 0, (page, command, ran["output"][-800:])


def _count(url: str) -> int:
    try:
        with engine(url).connect() as connection:
            return int(connection.execute(text(CANDLES)).scalar() or 0)
    except DBAPIError:
        return 0
