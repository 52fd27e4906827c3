"""The supervisor brings bots to the state people want, on a real PostgreSQL and a real Redis."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine

from config.settings import PROJECT_ROOT, Settings
from live.bots.process import environment
from live.bots.supervisor import BotSupervisor
from live.bots.vitals import Limits
from pipelines.bus.redis import RedisBus
from pipelines.warehouse.bot_edits import delete_bot, edit_bot
from pipelines.warehouse.bot_versions import list_versions
from pipelines.warehouse.bots import announce, find_bot, list_bots, set_status
from tests import bot_bench as bench
from tests.bot_programs import DAEMON, LEAVING

pytestmark = pytest.mark.servers


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The test's database, with a market in it."""
    with bench.market(database_url) as engine:
        yield engine


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[RedisBus]:
    """The test's Redis."""
    bus = RedisBus(redis_url)
    yield bus
    await bus.close()


@pytest.fixture
def home(tmp_path: Path, database_url: str, redis_url: str) -> Settings:
    """Settings of a daemon with a folder of its own."""
    (tmp_path / "config" / "bots").mkdir(parents=True)
    (tmp_path / "config" / "strategies").mkdir()
    return Settings(
        home=tmp_path / "var",
        config_dir=tmp_path / "config",
        database_url=database_url,
        redis_url=redis_url,
        _env_file=None,
    )


def _write(settings: Settings, name: str, **changes: object) -> Path:
    document = {
        "bot_id": name,
        "strategy": "ema_crossover",
        "parameters": {"fast_period": 3, "slow_period": 8},
        "symbol": bench.SYMBOL,
        "timeframe": "1m",
        "virtual_balance": 10000,
    } | changes
    path = settings.config_dir / "bots" / f"{name}.json"
    path.write_text(json.dumps(document))
    return path


@asynccontextmanager
async def _supervised(settings: Settings, engine: Engine, bus: RedisBus, **limits: float):
    supervisor = BotSupervisor(settings, engine, bus, Limits(**limits))
    task = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _state(engine: Engine, name: str, state: str) -> None:
    await bench.until(
        lambda: [row.state for row in list_bots(engine) if row.name == name] == [state],
        f"{name} is {state}: {[(row.name, row.state, row.last_error) for row in list_bots(engine)]}",
    )


def _pid(engine: Engine, name: str) -> int:
    pid = find_bot(engine, name).pid
    assert pid is not None
    return pid


def _works_by(engine: Engine, name: str) -> int:
    """The newest configuration that a process of the bot has taken over."""
    return max(each.version for each in list_versions(engine, name) if each.applied_at is not None)


async def test_bots_follow_what_is_wanted_and_none_is_left_behind(home, engine, bus):
    """New enabled bots run, a disabled one does not; stop, pause and start do what they say; at the end no
    process is left and what was wanted is kept."""
    _write(home, "one")
    _write(home, "two")
    _write(home, "off", enabled=False)
    async with _supervised(home, engine, bus):
        await _state(engine, "one", "running")
        await _state(engine, "two", "running")
        assert find_bot(engine, "off").state == "stopped"
        pids = {name: _pid(engine, name) for name in ("one", "two")}
        set_status(engine, "one", "stopped")
        await announce(bus, "one")
        await _state(engine, "one", "stopped")
        assert not psutil.pid_exists(pids["one"])
        set_status(engine, "two", "paused")
        await announce(bus, "two")
        await _state(engine, "two", "paused")
        assert _pid(engine, "two") == pids["two"]
        set_status(engine, "one", "active")
        await announce(bus, "one")
        await _state(engine, "one", "running")
        pids["one"] = _pid(engine, "one")
    assert not any(psutil.pid_exists(pid) for pid in pids.values())
    assert {row.name: (row.status, row.state) for row in list_bots(engine)} == {
        "off": ("stopped", "stopped"),
        "one": ("active", "stopped"),
        "two": ("paused", "stopped"),
    }


async def test_a_killed_bot_is_restarted_three_times_and_then_given_up(home, engine, bus):
    """Four kills: three restarts, each crash on record, then status error and an event; start revives it."""
    _write(home, "one")
    killed: set[int | None] = set()

    def runs_anew() -> bool:
        return [
            row.pid for row in list_bots(engine) if row.state == "running" and row.pid not in killed
        ] != []

    async with _supervised(home, engine, bus):
        for n in range(4):
            # The row of the one that was just killed says "running" until the supervisor has looked.
            await bench.until(runs_anew, f"one runs after {n} kills")
            pid = _pid(engine, "one")
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
            expected = n + 1
            await bench.until(
                lambda expected=expected: (
                    bench.scalar(engine, "SELECT count(*) FROM bot_crashes") == expected
                ),
                f"crash {expected} is on record",
            )
        await _state(engine, "one", "error")
        row = find_bot(engine, "one")
        assert (row.status, row.restarts, row.last_error) == ("error", 3, "killed by signal 9")
        assert bench.scalar(engine, "SELECT message FROM system_events WHERE event = 'bot_error'") == (
            "bot one crashed 4 times within an hour: killed by signal 9"
        )
        set_status(engine, "one", "active")
        await announce(bus, "one")
        await _state(engine, "one", "running")


async def test_a_hung_bot_is_killed_and_another_is_not_disturbed(home, engine, bus):
    """A process that stands still (SIGSTOP) has no heartbeat: it is replaced; its neighbour keeps its own."""
    _write(home, "hung")
    _write(home, "well")
    async with _supervised(home, engine, bus, hung_s=8.0, look_s=0.5):
        await _state(engine, "hung", "running")
        await _state(engine, "well", "running")
        stuck, neighbour = _pid(engine, "hung"), _pid(engine, "well")
        os.kill(stuck, signal.SIGSTOP)
        await bench.until(lambda: find_bot(engine, "hung").pid not in {stuck, None}, "it was replaced")
        await _state(engine, "hung", "running")
        assert "hung: no heartbeat for 8 s" in bench.scalar(engine, "SELECT reason FROM bot_crashes")
        assert _pid(engine, "well") == neighbour


async def test_a_broken_file_stops_no_other_bot_and_keeps_the_last_good_one(home, engine, bus):
    """One event names file and field; the bot of the broken file runs on; mending it applies at once."""
    _write(home, "one")
    broken = _write(home, "two", strategy="no_such_strategy")
    async with _supervised(home, engine, bus, look_s=0.2):
        await _state(engine, "one", "running")
        message = bench.scalar(engine, "SELECT message FROM system_events WHERE level = 'error'")
        assert message.startswith(f"{broken}: strategy: 'no_such_strategy' is not known; there are ")
        pid = _pid(engine, "one")
        (home.config_dir / "bots" / "one.json").write_text('{"bot_id": "one", ')
        count = "SELECT count(*) FROM system_events WHERE level = 'error'"
        await bench.until(lambda: bench.scalar(engine, count) == 2, "the second problem is on record")
        assert _pid(engine, "one") == pid and find_bot(engine, "one").state == "running"
        _write(home, "one", parameters={"fast_period": 4, "slow_period": 9})
        await bench.until(lambda: find_bot(engine, "one").pid not in {pid, None}, "it runs with the new file")
        assert find_bot(engine, "one").config["parameters"] == {"fast_period": 4, "slow_period": 9}
        await _state(engine, "one", "running")
        await bench.until(lambda: list_versions(engine, "one")[0].applied_at, "the version is applied")
        newest, first = list_versions(engine, "one")
        assert (newest.origin, newest.changes) == (
            "file",
            {"parameters.fast_period": [3, 4], "parameters.slow_period": [8, 9]},
        )
        assert newest.applied_at is not None and first.applied_at is not None
        assert first.applied_at < newest.created_at < newest.applied_at


async def test_deleted_and_purged_bots_end_and_their_files_do_not_bring_them_back(home, engine, bus):
    """Both processes are gone, the deleted one's rows stay; its file, put there again, is refused with the
    remedy, and nothing is started or crashes."""
    _write(home, "kept")
    _write(home, "purged")
    async with _supervised(home, engine, bus, look_s=0.2):
        await _state(engine, "kept", "running")
        await _state(engine, "purged", "running")
        pids = [_pid(engine, name) for name in ("kept", "purged")]
        delete_bot(engine, home, "kept")
        delete_bot(engine, home, "purged", purge=True)
        await announce(bus, "kept")
        await bench.until(lambda: not any(map(psutil.pid_exists, pids)), "both processes are gone")
        await bench.until(lambda: find_bot(engine, "kept").state == "stopped", "the deleted one is stopped")
        path = _write(home, "kept")
        refused = "SELECT message FROM system_events WHERE event = 'bot_file_refused'"
        await bench.until(lambda: bench.scalar(engine, refused), "the file is refused")
        assert bench.scalar(engine, refused).startswith(f"{path}: bot_id: 'kept' was deleted at ")
        assert find_bot(engine, "kept").state == "stopped"
        assert [row.name for row in list_bots(engine, deleted=True)] == ["kept"]
        assert bench.scalar(engine, "SELECT count(*) FROM bot_crashes") == 0


async def test_bots_come_back_when_the_nursery_dies(home, engine, bus):
    """The process they were forked from is killed -9: they die with it and are started again, and that is no
    crash of theirs."""
    _write(home, "one")
    async with _supervised(home, engine, bus):
        await _state(engine, "one", "running")
        pid = _pid(engine, "one")
        psutil.Process(pid).parent().kill()
        await bench.until(lambda: not psutil.pid_exists(pid), "the bot died with the nursery")
        await bench.until(lambda: find_bot(engine, "one").pid not in {pid, None}, "it runs again")
        await _state(engine, "one", "running")
        assert bench.scalar(engine, "SELECT count(*) FROM bot_crashes") == 0


async def test_a_daemon_that_lost_the_lease_leaves_the_states_to_the_one_that_has_it(
    home, engine, bus, tmp_path
):
    """The first one's session is cut and the second takes over: the first ends its processes and stands by,
    writes no state, and both live on with one process for the bot."""
    _write(home, "one")
    other = home.model_copy(update={"home": tmp_path / "other"})
    async with _supervised(home, engine, bus, look_s=3.0) as first:
        await _state(engine, "one", "running")
        before = _pid(engine, "one")
        async with _supervised(other, engine, bus, look_s=0.1):
            await bench.until(lambda: bench.scalar(engine, _LEASE) == 1, "the lease")
            bench.scalar(engine, f"SELECT pg_terminate_backend(pid) FROM ({_LEASE_PID}) AS l")
            await bench.until(lambda: not psutil.pid_exists(before), "the first one's process is gone")
            await bench.until(lambda: find_bot(engine, "one").pid not in {before, None}, "taken over")
            await _state(engine, "one", "running")
            pid = _pid(engine, "one")
            for _ in range(3):
                await announce(bus, "one")
                await asyncio.sleep(0.2)
                row = find_bot(engine, "one")
                assert (row.state, row.pid) == ("running", pid) and psutil.pid_exists(pid)
            assert first.is_standby
        assert bench.scalar(engine, "SELECT count(*) FROM bot_crashes") == 0


async def test_what_the_database_refuses_of_one_bot_is_told_and_leaves_the_others(home, engine, bus):
    """Its row cannot be changed: no outage, so that the heartbeats of the others are looked at; one event."""
    with engine.begin() as connection:
        connection.exec_driver_sql(_REFUSING)
    _write(home, "bad")
    _write(home, "good")
    async with _supervised(home, engine, bus, look_s=0.1, hung_s=6.0) as supervisor:
        await _state(engine, "good", "running")
        told = "SELECT array_agg(message) FROM system_events WHERE event = 'bots_fault'"
        await bench.until(lambda: bench.scalar(engine, told), "it is told")
        assert bench.scalar(engine, told) == [
            "bot bad: the database refuses what is to be stored: not this one"
        ]
        pid = _pid(engine, "good")
        os.kill(pid, signal.SIGSTOP)
        await bench.until(lambda: not psutil.pid_exists(pid), "the hung one is ended all the same")
        assert not supervisor.is_standby


async def test_a_process_that_ends_itself_counts_as_a_crash_and_takes_its_children_along(
    home, engine, bus, tmp_path
):
    """Whatever code a strategy ends its process with; what it started and left ends too."""
    (tmp_path / "strategies").mkdir()
    for name, code in (("leaver", 0), ("orphan", 3)):
        text = LEAVING.format(kind=name.title(), code=code, note=tmp_path / f"{name}.pid")
        (tmp_path / "strategies" / f"{name}.py").write_text(text)
        bench.add_bot(engine, name, strategy=name, parameters={})
    settings = home.model_copy(update={"strategies_dir": tmp_path / "strategies"})
    async with _supervised(settings, engine, bus, look_s=0.2, restarts=1):
        for name in ("leaver", "orphan"):
            await _state(engine, name, "error")
    reasons = "SELECT array_agg(reason ORDER BY c.id) FROM bot_crashes c JOIN bots b ON b.id = bot_id"
    by_itself = "ended by itself, although nobody had asked it to"
    assert bench.scalar(engine, f"{reasons} WHERE name = 'leaver'") == [by_itself] * 2
    assert bench.scalar(engine, f"{reasons} WHERE name = 'orphan'") == ["ended with code 3"] * 2
    for name in ("leaver", "orphan"):
        left = [int(line) for line in (tmp_path / f"{name}.pid").read_text().split()]
        assert len(left) == 2
        await bench.until(lambda left=left: not any(map(_lives, left)), "its children are gone")


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


_LEASE_PID = """SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 7205004 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
_LEASE = f"SELECT count(*) FROM ({_LEASE_PID}) AS l"
_REFUSING = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
CREATE TRIGGER refusing BEFORE UPDATE ON bots FOR EACH ROW WHEN (NEW.name = 'bad') EXECUTE FUNCTION refuse();
"""


async def test_two_daemons_share_no_bot_and_a_killed_one_leaves_no_orphan(home, engine, bus, tmp_path):
    """The second stands by; when the first is killed -9 its bots die with it, and the second takes over. Its
    file is of before the bot was edited at the first, and brings nothing back until somebody edits it."""
    _write(home, "one")
    other = home.model_copy(update={"home": tmp_path / "var2", "config_dir": tmp_path / "config2"})
    shutil.copytree(home.config_dir, other.config_dir)
    running = []
    try:
        for n, settings in enumerate([home, other]):
            with (tmp_path / f"daemon{n}.log").open("wb") as log:
                running.append(
                    subprocess.Popen(
                        [sys.executable, "-c", DAEMON],
                        cwd=PROJECT_ROOT,
                        env=os.environ | environment(settings),
                        stdout=log,
                        stderr=log,
                    )
                )
            await _state(engine, "one", "running")
        edit_bot(engine, home, "one", {"risk.stop_loss": 0.05})
        await bench.until(lambda: _works_by(engine, "one") == 2, "the bot goes on by what it was given")
        standing_by = tmp_path / "daemon1.log"
        await bench.until(lambda: b"stands by" in standing_by.read_bytes(), "the second stands by")
        pid = _pid(engine, "one")
        assert running[0].pid in {parent.pid for parent in psutil.Process(pid).parents()}
        running[0].kill()
        await bench.until(lambda: not psutil.pid_exists(pid), "the bot died with its daemon")
        await bench.until(lambda: find_bot(engine, "one").pid not in {pid, None}, "the second took over")
        await _state(engine, "one", "running")
        parents = psutil.Process(_pid(engine, "one")).parents()
        assert running[1].pid in {parent.pid for parent in parents}
        assert bench.scalar(engine, "SELECT count(*) FROM bot_crashes") == 0
        told = "SELECT count(*) FROM system_events WHERE event = 'bot_file_kept'"
        await bench.until(lambda: bench.scalar(engine, told) == 1, "the old file is told")
        row = find_bot(engine, "one")
        assert (row.config_version, row.config["risk"]["stop_loss"]) == (2, 0.05)
        _write(other, "one", risk={"stop_loss": 0.02})
        await bench.until(lambda: _works_by(engine, "one") == 3, "the edited file counts")
        assert find_bot(engine, "one").config["risk"]["stop_loss"] == 0.02
        assert bench.scalar(engine, told) == 1
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)
