"""Notifications from a real database to a real webhook."""

import time

import msgspec
import pytest
from sqlalchemy import text

from core.clock import ManualClock
from pipelines.notifications.channels import Channels
from pipelines.notifications.desk import Memory, Notice, Policy
from pipelines.notifications.notebook import FILE, Notebook
from pipelines.notifications.watch import REFUSED, Watcher
from pipelines.warehouse.backups import VERIFIED, note_backup
from pipelines.warehouse.database import engine
from pipelines.warehouse.health import beat, record_event
from pipelines.warehouse.inventory import heartbeat_age_s
from pipelines.warehouse.lock import NOTIFY_LOCK
from pipelines.warehouse.notices import newest_event
from tests.stack import Tcp, eventually
from tests.webhook import Webhook

pytestmark = pytest.mark.servers
NOW_MS = 1_795_262_400_000


@pytest.fixture
def webhook(tmp_path):
    hook = Webhook(tmp_path / FILE)
    yield hook
    hook.close()


def watcher(url: str, hook: Webhook, clock: ManualClock, *others: str, **options) -> Watcher:
    """That of the next process: the one before has ended."""
    hook.end_watcher()
    notes, channels = Notebook(hook.notes), Channels([hook.url, *others])
    hook.watcher = Watcher(engine(url), channels, Policy(), clock, notes, **options)
    return hook.watcher


def test_events_reach_the_webhook_once_over_restarts(database_url, webhook):
    """What was stored before the first start is the past; each later event is told once, also by the next
    process; a crash that comes again is counted."""
    connections, clock = engine(database_url), ManualClock(NOW_MS)
    record_event(connections, "error", "live", "gap_unfillable", "long ago")
    ours = watcher(database_url, webhook, clock)
    ours.look()
    assert webhook.messages == []
    for name in ("gap_open", "gap_open", "postgres_outage"):
        record_event(connections, "warning", "live", name, f"{name} of BTC-USDT", None, NOW_MS)
    ours.look()
    again = watcher(database_url, webhook, clock)
    again.look()
    assert len(webhook.messages) == 1
    assert webhook.messages[0]["title"] == "TCP warning: gap_open and 1 more"
    clock.set(NOW_MS + 1_800_000)
    again.look()
    assert ["(1 more in 30 min)" in body for body in webhook.bodies()] == [False, True]


def test_nothing_is_lost_while_nobody_takes_it(database_url, webhook):
    """What no address took stays, in the database too, and the next process tells it, in portions if it is
    more than a message holds."""
    connections, clock = engine(database_url), ManualClock(NOW_MS)
    ours = watcher(database_url, webhook, clock)
    ours.look()
    webhook.refuses = True
    told = [f"backup of disk_{number:02}: no room is left" for number in range(60)]
    for words in told:
        record_event(connections, "error", "dagster", "run_failed", words, None, NOW_MS)
    ours.look()
    assert webhook.messages == []
    webhook.refuses = False
    again = watcher(database_url, webhook, clock)
    for _ in range(5):
        again.look()
    lines = [line for body in webhook.bodies() for line in body.splitlines()]
    assert [line.partition(" dagster: ")[2] for line in lines] == told
    assert len(webhook.messages) == 3


def test_address_that_takes_nothing_misses_nothing(database_url, webhook, unused_port):
    """The other one is told once; this one when it is back, by the next process."""
    connections, clock = engine(database_url), ManualClock(NOW_MS)
    away = f"json://127.0.0.1:{unused_port}/"
    ours = watcher(database_url, webhook, clock, away)
    ours.look()
    record_event(connections, "error", "dagster", "run_failed", "backup_job: no room", None, NOW_MS)
    for _ in range(2):
        ours.look()
    assert len(webhook.messages) == 1
    again = Webhook(webhook.notes, unused_port)
    try:
        watcher(database_url, webhook, clock, away).look()
        assert ["backup_job" in body for body in again.bodies()] == [True]
        assert len(webhook.messages) == 1
    finally:
        again.close()


def test_refused_notice_keeps_no_other_and_is_told_of(database_url, webhook):
    """The address that takes others gets those that came after it within a few looks; what it refuses is
    given up, and an event says so to all, without the words that were refused."""
    connections, clock = engine(database_url), ManualClock(NOW_MS)
    elapsed = iter(range(0, 10_000, 30))
    ours = watcher(database_url, webhook, clock, monotonic=lambda: next(elapsed))
    ours.look()
    webhook.unloved = "<script>"
    for words in ("of <script>", "of disk a", "of disk b"):
        record_event(connections, "error", "dagster", "run_failed", words, None, NOW_MS)
    for _ in range(4):
        ours.look()
    assert [body.partition("dagster: ")[2] for body in webhook.bodies()] == ["of disk a", "of disk b"]
    for name in ("c", "d"):
        record_event(connections, "error", "dagster", "run_failed", f"of disk {name}", None, NOW_MS)
        for _ in range(4):
            ours.look()
    titles = [message["title"] for message in webhook.messages]
    assert titles == [*["TCP error: run_failed"] * 3, f"TCP warning: {REFUSED}", "TCP error: run_failed"]
    assert "takes others, but not run_failed of dagster" in webhook.bodies()[3]
    assert ours._desk.memory.owed == {name: [] for name in ours._channels.names()}


def test_daemon_that_is_silent_and_heard_again_is_told(database_url, webhook):
    """It cannot report its own death; one message each way, each by another process of ours."""
    connections, clock = engine(database_url), ManualClock(NOW_MS)
    beat(connections, "live", NOW_MS, None, {})
    with connections.begin() as connection:
        connection.execute(text("UPDATE heartbeats SET timestamp = now() - interval '2 minutes'"))
    for _ in range(3):
        watcher(database_url, webhook, clock).look()
    with connections.begin() as connection:
        connection.execute(text("UPDATE heartbeats SET timestamp = now()"))
    watcher(database_url, webhook, clock).look()
    assert [message["title"] for message in webhook.messages] == ["TCP error: silent", "TCP info: back"]


def test_what_cannot_report_itself_is_told_when_it_begins_and_when_it_is_over(database_url, webhook):
    """Dagster that is silent, backups that are missing, a disk that is nearly full for a minute: once
    each, and once that all is well; who watches is heard of too."""
    connections, clock = engine(database_url), ManualClock(round(time.time() * 1000))
    ours = watcher(database_url, webhook, clock)
    ours.look()

    def is_now(dagster_ago_s: int, backup_ago: str, free: float) -> None:
        now_ms = round(time.time() * 1000)
        beat(connections, "live", now_ms, None, {"disk_free_bytes": {"home": free}})
        beat(connections, "dagster", now_ms - dagster_ago_s * 1000, None, {})
        note_backup(connections, "a.dump")
        with connections.begin() as connection:
            aged = f"UPDATE controls SET updated_at = now() - interval '{backup_ago}' WHERE name = :name"
            connection.execute(text(aged), {"name": VERIFIED})
        for ago_s in (61, 59, 0):
            clock.set(now_ms - ago_s * 1000)
            ours.look()

    is_now(60, "1 day", 9e9)
    assert webhook.messages == []
    is_now(660, "3 days", 4e9)
    told = "\n".join(webhook.bodies())
    assert told.count("\n") == 2
    for words in ("Dagster has been silent for 66", "no backup was verified for 3 days", "4.0 GB are free"):
        assert words in told
    is_now(60, "1 day", 9e9)
    assert [message["title"] for message in webhook.messages] == [
        "TCP error: silent and 1 more",
        "TCP error: full",
        "TCP info: back and 1 more",
        "TCP info: back",
    ]
    assert heartbeat_age_s(connections, "notify") < 60


def test_database_that_does_not_answer_is_told_without_it(database_url, webhook, unused_port):
    """After a minute, once, also over processes that live shorter, while the database can remember nothing;
    once too that it answers, and what was owed to an address that was away as well. What is told already
    stays that."""
    connections, clock = engine(database_url), ManualClock(NOW_MS)
    record_event(connections, "error", "live", "gap_unfillable", "told before", None, NOW_MS)
    away, other = (
        f"postgresql+psycopg://u:hunter2@127.0.0.1:{unused_port}/d",
        f"json://127.0.0.1:{unused_port}/",
    )
    heard = []
    for life in ((0, 40), (45, 59), (61, 70), (100, 170)):
        ours = watcher(away, webhook, clock, other)
        for after_s in life:
            clock.set(NOW_MS + after_s * 1000)
            ours.look()
        heard.append(len(webhook.messages))
    assert heard == [0, 0, 1, 1]
    assert "PostgreSQL does not answer" in webhook.bodies()[0]
    assert "hunter2" not in webhook.bodies()[0]
    second = Webhook(webhook.notes, unused_port)
    try:
        for _ in range(2):
            watcher(database_url, webhook, clock, second.url).look()
    finally:
        second.close()
    assert [message["title"] for message in webhook.messages] == ["TCP error: silent", "TCP info: back"]
    assert [body.count("\n") for body in second.bodies()] == [1]
    assert not webhook.notes.exists()


def test_stack_that_does_not_start_is_told(database_url, webhook, tmp_path, unused_port):
    """`tcp up` is tried again and again, and has no watcher yet: the try after a minute tells why, once, and
    the watcher of the one that starts tells that."""
    nowhere = f"postgresql+psycopg://u:hunter2@127.0.0.1:{unused_port}/d"
    tcp = Tcp(tmp_path, TCP_DATABASE_URL=nowhere, TCP_NOTIFY_URLS=webhook.url)
    heard = []
    for _ in range(3):
        assert tcp.run("up").returncode == 2
        heard.append(len(webhook.messages))
        memory = Notebook(webhook.notes).read()
        memory.away_since_s -= 61
        Notebook(webhook.notes).write(msgspec.json.encode(memory))
    assert heard == [0, 1, 1]
    assert "`tcp up` does not start: TCP_DATABASE_URL: PostgreSQL at" in webhook.bodies()[0]
    assert "hunter2" not in webhook.bodies()[0]
    watcher(database_url, webhook, ManualClock(NOW_MS)).look()
    assert webhook.bodies()[1].endswith("stack: `tcp up` has started")


def test_notebook_knows_what_the_database_was_not_told(database_url, webhook):
    """A process that ended while PostgreSQL was away had gone on from the database's memory: the next one
    goes on from there, and tells nothing twice."""
    connections, clock = engine(database_url), ManualClock(NOW_MS)
    watcher(database_url, webhook, clock).look()
    record_event(connections, "error", "live", "gap_unfillable", "told before", None, NOW_MS)
    newest = newest_event(connections)
    (name,) = Channels([webhook.url]).names()
    owed = {name: [Notice(NOW_MS / 1000, "error", "live", "postgres_outage", "owed")]}
    memory = Memory(cursor=newest, owed=owed, lasting={"postgres_outage"})
    Notebook(webhook.notes).write(msgspec.json.encode(memory))
    for _ in range(2):
        watcher(database_url, webhook, clock).look()
    assert [body.partition("live: ")[2] for body in webhook.bodies()] == ["owed"]
    assert not webhook.notes.exists()


def test_one_host_tells_and_another_takes_over_with_what_is_owed(database_url, webhook, tmp_path):
    """Each event is told once, also while both look: by the other host when the session of the first is gone
    without a word, and by the first again when the other one ends. None leaves a notebook."""
    connections, clock = engine(database_url), ManualClock(NOW_MS)
    channels, elapsed = Channels([webhook.url]), iter(range(0, 100_000, 600))
    first, second = (
        Watcher(
            connections,
            channels,
            Policy(),
            clock,
            Notebook(tmp_path / name),
            monotonic=lambda: next(elapsed),
        )
        for name in ("first", "second")
    )

    def happens(what: str) -> None:
        record_event(connections, "error", "dagster", "run_failed", what, None, NOW_MS)

    def told(who: Watcher, count: int) -> bool:
        who.look()
        return len(webhook.messages) == count

    try:
        for who in (first, second):
            who.look()
        happens("disk a")
        for who in (second, first, second, first):
            who.look()
        assert len(webhook.messages) == 1
        webhook.refuses = True
        happens("disk b")
        first.look()
        webhook.refuses = False
        with connections.begin() as connection:
            ended = f"""SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database d ON d.oid = database
                WHERE locktype = 'advisory' AND objid = {NOTIFY_LOCK} AND datname = current_database()"""
            assert connection.execute(text(ended)).all() == [(True,)]
        eventually(lambda: told(second, 2), 20, "the second host's message")
        happens("disk c")
        for who in (first, second, first):
            who.look()
        second.close()
        happens("disk d")
        assert told(first, 4)
    finally:
        first.close()
        second.close()
    assert [body.partition("dagster: ")[2] for body in webhook.bodies()] == [f"disk {x}" for x in "abcd"]
    assert [path.name for path in tmp_path.iterdir()] == []


def test_ids_that_a_restored_database_gives_again_are_told(database_url, webhook):
    """A notebook, and a watcher that lives on, know more events than a database restored from a backup, or
    a new one: what happens since is told, by the cursor of the backup where it has one."""
    connections, clock = engine(database_url), ManualClock(NOW_MS)

    def happens(what: str) -> None:
        record_event(connections, "error", "live", "gap_unfillable", what, None, NOW_MS)

    def told() -> list[str]:
        return [body.partition("live: ")[2] for body in webhook.bodies()]

    happens("told before the backup")
    watcher(database_url, webhook, clock).look()
    happens("since the backup")
    Notebook(webhook.notes).write(msgspec.json.encode(Memory(cursor=10_000)))
    ours = watcher(database_url, webhook, clock)
    ours.look()
    assert told() == ["since the backup"]
    with connections.begin() as connection:
        connection.execute(text("DELETE FROM system_events"))
    ours.look()
    happens("after the old ones were removed")
    ours.look()
    with connections.begin() as connection:
        connection.execute(text("TRUNCATE system_events RESTART IDENTITY"))
    ours.look()
    happens("in a new database")
    ours.look()
    assert told() == ["since the backup", "after the old ones were removed", "in a new database"]
    assert not webhook.notes.exists()


def test_command_tests_its_addresses_and_stops_when_asked(database_url, webhook, tmp_path, unused_port):
    """`--test` says who took it; in the foreground it tells and ends with SIGTERM, and works without a
    PostgreSQL too; without addresses it says where they go."""
    tcp = Tcp(tmp_path / "home", TCP_DATABASE_URL=database_url, TCP_NOTIFY_URLS=webhook.url)
    result = tcp.run("notify", "--test")
    assert (result.returncode, len(webhook.messages)) == (0, 1), result.stderr
    running = tcp.start("notify", output=tmp_path / "log")
    try:
        stored = "SELECT count(*) FROM controls WHERE name = 'notifications'"
        eventually(lambda: _scalar(database_url, stored), 30, "its first look")
        record_event(engine(database_url), "error", "bots", "bot_error", "bot bot_001 stays off")
        eventually(lambda: len(webhook.messages) == 2, 30, "the message")
    finally:
        running.terminate()
    assert running.wait(10) == 0
    nowhere = f"postgresql+psycopg://u@127.0.0.1:{unused_port}/d"
    running = Tcp(tmp_path / "home", TCP_DATABASE_URL=nowhere, TCP_NOTIFY_URLS=webhook.url).start(
        "notify", output=tmp_path / "log"
    )
    try:
        eventually(lambda: (tmp_path / "home" / FILE).exists(), 30, "its first look without PostgreSQL")
    finally:
        running.terminate()
    assert running.wait(20) == 0
    without = Tcp(tmp_path / "home", TCP_DATABASE_URL=database_url).run("notify")
    assert (without.returncode, without.stderr.count("\n")) == (2, 1)
    assert "TCP_NOTIFY_URLS" in without.stderr


def _scalar(url: str, query: str) -> int:
    with engine(url).connect() as connection:
        return int(connection.execute(text(query)).scalar() or 0)
