"""What goes wrong beside a bot's own process (files, folders, the room for processes) and ends nothing."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from config.settings import PROJECT_ROOT, Settings
from live.bots.supervisor import BotSupervisor
from live.bots.vitals import Limits
from pipelines.bus.redis import RedisBus
from pipelines.warehouse.bots import find_bot, list_bots
from strategies.catalogue import LOAD_S
from tests import bot_bench as bench

pytestmark = pytest.mark.servers
TOLD = "SELECT array_agg(message ORDER BY timestamp) FROM system_events WHERE event = :event"
CRASHES = "SELECT array_agg(reason) FROM bot_crashes"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The test's database, with a market in it."""
    with bench.market(database_url) as engine:
        yield engine


@pytest.fixture
def home(tmp_path: Path, database_url: str, redis_url: str) -> Settings:
    """Settings of a daemon with folders of its own."""
    for folder in ("config/bots", "config/strategies", "own"):
        (tmp_path / folder).mkdir(parents=True)
    return Settings(
        home=tmp_path / "var",
        config_dir=tmp_path / "config",
        strategies_dir=tmp_path / "own",
        database_url=database_url,
        redis_url=redis_url,
        _env_file=None,
    )


def put(settings: Settings, name: str, file: bytes | None = None) -> None:
    """A bot's file, under another name if one is given, there in one piece."""
    document = {
        "bot_id": name,
        "strategy": "ema_crossover",
        "parameters": {"fast_period": 3, "slow_period": 8},
        "symbol": bench.SYMBOL,
        "timeframe": "1m",
        "virtual_balance": 10000,
    }
    path = os.fsencode(settings.config_dir / "bots") + b"/" + (file or f"{name}.json".encode())
    unfinished = settings.config_dir / "unfinished"
    unfinished.write_text(json.dumps(document))
    unfinished.replace(os.fsdecode(path))


@asynccontextmanager
async def supervised(settings: Settings, engine: Engine, url: str) -> AsyncIterator["asyncio.Task[None]"]:
    """A supervisor that looks often; it must run to the end."""
    bus = RedisBus(url)
    task = asyncio.create_task(BotSupervisor(settings, engine, bus, Limits(look_s=0.1)).run())
    try:
        yield task
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bus.close()


async def runs(engine: Engine, name: str) -> None:
    """Wait until the bot runs."""
    await bench.until(lambda: ("running", name) in [(r.state, r.name) for r in list_bots(engine)], name, 90)


def told(engine: Engine, event: str) -> list[str]:
    """Messages of that event."""
    return bench.scalar(engine, TOLD, event=event) or []


async def test_a_file_whose_name_is_no_text_or_that_cannot_be_looked_at_is_its_own_problem(
    home: Settings, engine: Engine, redis_url: str
) -> None:
    """Each is told once, and the bot of the good file runs."""
    put(home, "odd", b"bot\xe9.json")
    put(home, "good")
    endless = home.config_dir / "bots" / "long.json"
    endless.symlink_to("x" * 300)
    async with supervised(home, engine, redis_url):
        await runs(engine, "good")
        assert sorted(told(engine, "bot_file_refused")) == [
            f"{home.config_dir}/bots/bot\\udce9.json: its name is not UTF-8 text: rename it",
            f"{endless}: File name too long",
        ]
        put(home, "later")
        await runs(engine, "later")
        assert len(told(engine, "bot_file_refused")) == 2 and not told(engine, "bots_fault")


async def test_a_bot_that_cannot_be_started_is_told_once_and_started_when_it_can_be(
    home: Settings, engine: Engine, redis_url: str
) -> None:
    """Its log has no folder: the supervisor goes on, the bot is stopped, not crashed, until there is one."""
    home.home.mkdir()
    (home.home / "logs").write_text("not a folder")
    for name in ("one", "two"):
        bench.add_bot(engine, name)
    async with supervised(home, engine, redis_url):
        await bench.until(lambda: len(told(engine, "bots_fault")) == 3, "two bots and the files are told")
        assert all(": NotADirectoryError: " in message for message in told(engine, "bots_fault"))
        assert {row.state for row in list_bots(engine)} <= {"stopped", "starting"}
        (home.home / "logs").unlink()
        await runs(engine, "one")
        await runs(engine, "two")
        assert len(told(engine, "bots_fault")) == 3
    assert bench.scalar(engine, CRASHES) is None


async def test_a_crash_that_cannot_be_stored_is_stored_later(
    home: Settings, engine: Engine, redis_url: str
) -> None:
    """The database refuses the row for a while: then it is there, once, and the bot runs again."""
    put(home, "one")
    async with supervised(home, engine, redis_url):
        await runs(engine, "one")
        with engine.begin() as connection:
            connection.exec_driver_sql(_REFUSING)
        pid = find_bot(engine, "one").pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await bench.until(lambda: told(engine, "bots_fault"), "it is told")
        assert bench.scalar(engine, CRASHES) is None
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TRIGGER refusing ON bot_crashes")
        await bench.until(lambda: find_bot(engine, "one").pid not in (pid, None), "it runs again")
        assert bench.scalar(engine, CRASHES) == ["killed by signal 9"]


_REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not now'; END $$;
CREATE TRIGGER refusing BEFORE INSERT ON bot_crashes FOR EACH ROW EXECUTE FUNCTION refuse();
"""
# A limit of processes holds for everybody but root.
_CROWDED = """
import os
import resource
import signal
from live.bots import nursery
most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
signal.signal(signal.SIGUSR1, lambda *_: resource.setrlimit(resource.RLIMIT_NPROC, (most, most)))
if os.geteuid() == 0:
    os.setuid(54_321)
resource.setrlimit(resource.RLIMIT_NPROC, (1, most))
nursery.main()
"""


def test_where_there_is_no_room_for_a_process_the_nursery_says_so_and_lives_on(tmp_path: Path) -> None:
    """A bot is not started with the reason, and the same one is as soon as there is room."""
    nursery = subprocess.Popen(
        [sys.executable, "-c", _CROWDED], cwd=PROJECT_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert nursery.stdin is not None and nursery.stdout is not None

    def start() -> dict[str, Any]:
        assert nursery.stdin is not None and nursery.stdout is not None
        nursery.stdin.write(json.dumps({"start": "one", "log": "/dev/null"}).encode() + b"\n")
        nursery.stdin.flush()
        answer: dict[str, Any] = json.loads(nursery.stdout.readline())
        return answer

    try:
        assert json.loads(nursery.stdout.readline()) == {"ready": True}
        why = "no process for it: Resource temporarily unavailable"
        assert start() == {"started": "one", "pid": None, "why": why}
        nursery.send_signal(signal.SIGUSR1)
        assert start()["pid"] > 0
    finally:
        nursery.communicate()


async def test_a_strategy_that_dies_or_hangs_as_it_is_loaded_does_not_reach_the_daemon(
    home: Settings, engine: Engine, redis_url: str
) -> None:
    """Files that no bot uses: each is named once, bots are looked after meanwhile, and the files of bots are
    taken in when the first one is gone, and beside the other one, which is passed over."""
    put(home, "one")
    dying, hanging = (home.strategies_dir / name for name in ("dying.py", "hanging.py"))
    async with supervised(home, engine, redis_url):
        await runs(engine, "one")
        dying.write_text("import os\nos._exit(3)\n")
        await bench.until(lambda: told(engine, "bot_file_refused"), "it is told")
        why = "no file of a bot was read: the process that loads strategies ended with code 3, at"
        assert told(engine, "bot_file_refused") == [f"{why} {dying}"]
        pid = find_bot(engine, "one").pid
        put(home, "two")
        dying.unlink()
        await runs(engine, "two")
        assert find_bot(engine, "one").pid == pid is not None
        hanging.write_text("import time\nwhile True:\n    time.sleep(1)\n")
        put(home, "three")
        os.kill(pid, signal.SIGKILL)
        await bench.until(lambda: bench.scalar(engine, CRASHES), "the crash is told at once", LOAD_S / 2)
        await bench.until(lambda: "three" in [row.name for row in list_bots(engine)], "three is there")
        await bench.until(lambda: len(told(engine, "bot_file_refused")) == 2, "the slow one is told")
        slow = f"{hanging}, line 3: TimeoutError: took more than {LOAD_S:g} s to load"
        assert told(engine, "bot_file_refused")[1:] == [slow] and not told(engine, "bots_fault")
