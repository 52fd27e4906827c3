"""`tcp backfill` and `tcp data` as people and scripts call them: real processes, server, exchange."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import text

from config.settings import PROJECT_ROOT
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import serve
from pipelines.warehouse.database import engine
from pipelines.warehouse.health import beat

pytestmark = pytest.mark.servers

NOW_MS = 1_789_000_000_000  # 2026-09-10T00:26:40Z


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Tcp = Callable[..., Awaitable[Outcome]]


@pytest.fixture
async def tcp(database_url: str, tmp_path: Path) -> AsyncIterator[Tcp]:
    """The command line with a database, a simulated exchange and a lake of its own."""
    sim = await serve(SimOptions(seed=7, start_ms=NOW_MS, rate_limit=0))
    environment = {
        **os.environ,
        "TCP_HOME": str(tmp_path / "home"),
        "TCP_DATABASE_URL": database_url,
        "TCP_OKX_REST_URL": sim.rest_url,
        "TCP_OKX_WS_URL": sim.ws_url,
        "TCP_LAKE_URL": str(tmp_path / "lake"),
    }

    async def run(*arguments: str) -> Outcome:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cli.main",
            *arguments,
            cwd=PROJECT_ROOT,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return Outcome(process.returncode or 0, out.decode(), err.decode())

    yield run
    await sim.close()


async def test_a_day_of_candles(tcp: Tcp):
    """One JSON document on stdout, nothing else there; a repeat fetches nothing."""
    command = ("backfill", "candles", "--symbol", "BTC-USDT", "--timeframe", "5m", "--json")
    first = await tcp(*command, "--from", "2026-09-08", "--to", "2026-09-09")
    assert (first.code, first.err) == (0, "")
    assert first.document == {
        "kind": "candles",
        "symbol": "BTC-USDT",
        "timeframe": "5m",
        "from": "2026-09-08T00:00:00Z",
        "to": "2026-09-09T00:00:00Z",
        "rows": 288,
        "already": 0,
        "missing": 0,
        "begin": None,
    }
    again = await tcp(*command, "--from", "2026-09-08T00:00:00Z", "--to", "2026-09-09T02:00:00+02:00")
    assert (again.document["rows"], again.document["already"]) == (0, 288)


async def test_without_an_end_the_present_is_the_end(tcp: Tcp):
    """`--to` left out: up to the exchange's clock, which is not this machine's."""
    done = await tcp("backfill", "candles", "--symbol", "BTC-USDT", "--from", "2026-09-10", "--json")
    assert done.code == 0
    assert 26 <= done.document["rows"] <= 30
    assert done.document["to"].startswith("2026-09-10T00:")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--symbol", "NOPE-USDT", "--from", "2026-09-08", "--to", "2026-09-09"), "NOPE-USDT"),
        (("--symbol", "BTC-USDT", "--timeframe", "7m", "--from", "2026-09-08"), "--timeframe: '7m'"),
        (("--symbol", "BTC-USDT", "--from", "2026-09-09", "--to", "2026-09-08"), "--from"),
        (("--symbol", "BTC-USDT", "--from", "last week"), "--from: 'last week'"),
        (("--symbol", "BTC-USDT", "--from", "2026-09-08", "--to", "2026-13-01"), "--to: '2026-13-01'"),
        (("--symbol", "BTC-USDT", "--from", "2027-09-08"), "from: is in the exchange's future"),
    ],
)
async def test_wrong_use_is_one_line_and_exit_code_2(tcp: Tcp, arguments: tuple[str, ...], named: str):
    """The line names the field and the value; there is no traceback and nothing on stdout."""
    done = await tcp("backfill", "candles", *arguments)
    assert (done.code, done.out) == (2, "")
    assert named in done.err
    assert done.err.count("\n") == 1


async def test_trades_go_to_the_lake_and_are_found_sound(tcp: Tcp, tmp_path: Path, database_url: str):
    """Backfill, archive with removal, status and verify tell one story; the day that is still running is not
    archived, nor removed when asked for; a lost file fails the last."""
    beat(engine(database_url), "test", time.time_ns() // 1_000_000, NOW_MS, {})
    window = ("--from", "2026-09-09T23:00:00Z", "--to", "2026-09-10T00:10:00Z")
    fetched = (await tcp("backfill", "trades", "--symbol", "ETH-USDT", *window, "--json")).document
    assert fetched["rows"] > 100
    archived = await tcp("data", "archive", "--symbol", "ETH-USDT", "--drop", "--json")
    (file,) = archived.document["files"]
    running = await tcp("data", "archive", "--date", "2026-09-10", "--drop")
    assert (running.code, running.out) == (2, "") and "drop: 2026-09-10 is not over" in running.err
    assert (file["date"], file["rows"], file["written"]) == ("2026-09-09", file["dropped"], True)
    status = (await tcp("data", "status", "--json")).document
    assert status["trades"][0]["rows"] == fetched["rows"] - file["rows"]
    totals = {"dataset": "raw_trades", "symbol": "ETH-USDT", "files": 1}
    assert status["lake"] == [{**totals, "rows": file["rows"], "bytes": file["bytes"]}]
    verified = await tcp("data", "verify", "--json")
    assert (verified.code, verified.document["sound"], verified.document["findings"]) == (0, True, [])
    (tmp_path / "lake" / file["path"]).unlink()
    lost = await tcp("data", "verify")
    assert lost.code == 1
    assert f"missing: {file['path']}" in lost.out and "\nmissing? fetch the day again: `tcp" in lost.out


async def test_what_is_not_there_is_not_sound(tcp: Tcp):
    """A symbol or a day of which nothing is known, or that is yet to come: one line and exit code 2, never a
    word of success."""
    said = {
        ("verify", "--symbol", "BTCUSDT"): "--symbol: the lake has no file of BTCUSDT",
        ("verify", "--date", "2026-09-08"): "--date: the lake has no file of 2026-09-08",
        ("archive", "--symbol", "BTCUSDT"): "--symbol: no trades of 'BTCUSDT' are stored",
        ("archive", "--date", "2101-01-01"): "--date: 2101-01-01 has not begun",
    }
    for done, line in zip(
        await asyncio.gather(*(tcp("data", *command) for command in said)), said.values(), strict=True
    ):
        assert (done.code, done.out) == (2, "") and done.err.startswith(f"tcp: {line}")


async def test_a_file_is_imported(tcp: Tcp, tmp_path: Path, database_url: str):
    """CSV labelled by the open: stored by the close; a broken one is named and changes nothing."""
    lines = ["timestamp,open,high,low,close,volume"]
    lines += [f"{1_789_000_020_000 + n * 60_000},1,2,0.5,1.5,{n}" for n in range(5)]
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("\n".join(lines))
    bad.write_text("\n".join([*lines, "1789000320000,1,2,0.5,abc,7"]))
    options = ("--exchange", "binance", "--symbol", "BTC-USDT", "--timeframe", "1m", "--timestamps", "open")
    done = await tcp("data", "import", str(good), *options, "--json")
    assert done.code == 0
    assert (done.document["rows"], done.document["first"]) == (5, "2026-09-10T00:28:00Z")
    refused = await tcp("data", "import", str(bad), *options)
    assert refused.code == 2
    assert "bad.csv" in refused.err
    lines[-1] = "4092512460000,1,2,0.5,1.5,7"
    bad.write_text("\n".join(lines))
    future = await tcp("data", "import", str(bad), *options)
    assert (future.code, future.out) == (2, "") and "bad.csv: line 6: the candle ends at 2099-" in future.err
    with engine(database_url).connect() as connection:
        stored = connection.execute(text("SELECT exchange, timestamp, volume FROM market_data")).all()
    assert [(row.exchange, row.volume) for row in stored] == [("binance", n) for n in range(5)]


async def test_a_file_that_is_not_there_is_named(tcp: Tcp):
    """Exit code 2 with the path."""
    done = await tcp("data", "import", "none.csv", "--symbol", "BTC-USDT", "--timeframe", "1m")
    assert (done.code, done.err) == (2, "tcp: none.csv: no such file\n")
