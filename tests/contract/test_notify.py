"""Notifications from a real database to a real webhook."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import text

from core.clock import ManualClock
from pipelines.notifications.channels import Channels
from pipelines.notifications.desk import Policy
from pipelines.notifications.watch import Watcher
from pipelines.warehouse.backups import VERIFIED, note_backup
from pipelines.warehouse.database import engine
from pipelines.warehouse.health import beat, record_event
from pipelines.warehouse.inventory import heartbeat_age_s
from tests.stack import Tcp, eventually

pytestmark = pytest.mark.servers
NOW_MS = 1_795_262_400_000


class Webhook:
    """Takes what apprise posts, if it is not longer than Discord takes; `refuses` all while told to."""

    def __init__(self, port: int = 0) -> None:
        self.messages: list[dict] = []
        self.refuses = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                refused = outer.refuses or len(document["title"] + document["message"]) > 2_000
                if not refused:
                    outer.messages.append(document)
                self.send_response(400 if refused else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing on stderr."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"json://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def bodies(self) -> list[str]:
        return [message["message"] for message in self.messages]


@pytest.fixture
def webhook():
    hook = Webhook()
    yield hook
    hook.close()


def watcher(url: str, hook: Webhook, clock: ManualClock, *others: str) -> Watcher:
    return Watcher(engine(url), Channels([hook.url, *others]), Policy(), clock)


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
    again = Webhook(unused_port)
    try:
        watcher(database_url, webhook, clock, away).look()
        assert ["backup_job" in body for body in again.bodies()] == [True]
        assert len(webhook.messages) == 1
    finally:
        again.close()


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


def test_database_that_does_not_answer_is_told_without_it(webhook, unused_port):
    """After a minute, once, while nothing can be remembered."""
    clock = ManualClock(NOW_MS)
    ours = watcher(f"postgresql+psycopg://u:hunter2@127.0.0.1:{unused_port}/d", webhook, clock)
    for after_s in (0, 59, 61, 70):
        clock.set(NOW_MS + after_s * 1000)
        ours.look()
    assert len(webhook.messages) == 1
    assert "PostgreSQL does not answer" in webhook.bodies()[0]
    assert "hunter2" not in webhook.bodies()[0]


def test_command_tests_its_addresses_and_stops_when_asked(database_url, webhook, tmp_path):
    """`--test` says who took it; in the foreground it tells and ends with SIGTERM; without addresses it says
    where they go."""
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
    without = Tcp(tmp_path / "home", TCP_DATABASE_URL=database_url).run("notify")
    assert (without.returncode, without.stderr.count("\n")) == (2, 1)
    assert "TCP_NOTIFY_URLS" in without.stderr


def _scalar(url: str, query: str) -> int:
    with engine(url).connect() as connection:
        return int(connection.execute(text(query)).scalar() or 0)
