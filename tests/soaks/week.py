"""A week of the market in which everything crashes: what was in time, and whether anything is missing.

Two daemons on one database: the kill of one is healed by the other. The dashboard, the notifications and
Dagster run beside them and are killed too. The process of real orders does not: its requests have deadlines
by the exchange's clock, of which a second here is minutes. tests/contract/test_real_broker.py kills it.
"""

import contextlib
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import text

from cli.stack.ports import free_port
from cli.stack.servers import http_answers
from cli.stack.table import figures
from pipelines.warehouse.inventory import heartbeat_age_s
from tests import bot_bench as bench
from tests import kill_rig as killing
from tests.chaos_rig import START_S, Daemon, Market, Rig
from tests.e2e.test_bot_kills import MIDNIGHT
from tests.emitted import Emitted
from tests.own_servers import OwnServer
from tests.soaks.pair import Pair
from tests.soaks.report import say
from tests.stack import eventually

DAY_S = 86_400
WEEK_S = 7 * DAY_S
LEAD_S = 30
"""Of wall time that the market runs before the bots are there."""
ON_TIME_S = 10.0
"""Of wall time, behind its close, in which a candle is stored: what a takeover may last."""
LEAST_ON_TIME = 0.999
OUTAGE_S = 1.0
"""Of wall time without any new candle, while one closes several times a second, that is an outage."""
AWAY_S = 1.0
SETTLE_S = 600
TAKEOVER_S = 10.0
DAGSTER_START_S = 400.0
HEARD = ("notify", "dagster")
"""Services that have a heartbeat."""
# Candles of all minutes, by whomever: when each was stored, against the moment its close had come here.
_STORED = text("""
    SELECT CAST(stored_s AS float), CAST(stored_s - :began - (close_s - :start) / :speed AS float) AS late_s,
           source
    FROM (SELECT extract(epoch FROM created_at) AS stored_s, extract(epoch FROM timestamp) AS close_s, source
          FROM market_data WHERE timeframe = '1m') AS candles
    WHERE close_s > :first AND close_s <= :last ORDER BY stored_s
""")


HEADER = (
    "minutes",
    "by REST",
    "in time",
    "latest s",
    "outages",
    "longest s",
    "together s",
    "takeovers s",
    "uptime of a week",
)


class Punctuality(NamedTuple):
    """expected: minutes of all symbols; asked_for: of them candles that were asked of the exchange; on_time:
    the share of those expected that were stored in time; longest_s: the latest one, wall seconds; outages_s:
    stretches in which nothing was stored, wall seconds; takeovers_s: from a daemon's kill to the first
    heartbeat of the other one."""

    expected: int
    asked_for: int
    on_time: float
    longest_s: float
    outages_s: Sequence[float]
    takeovers_s: Sequence[float]

    @property
    def uptime(self) -> float:
        """Of a week at the market's own pace with these outages: a crash takes as long at any pace."""
        return 1 - sum(self.outages_s) / WEEK_S


def run(minutes: float, days: float = 7) -> list[str]:
    """What was late, lost, doubled or different in so many days of the market within `minutes`."""
    pace = days * DAY_S / (minutes * 60)
    start_ms = MIDNIGHT - int(LEAD_S * 1000 * pace)
    market = Market(
        seed=7,
        activity=0.3,
        speed=pace,
        start_ms=start_ms,
        end_ms=MIDNIGHT + round(days * DAY_S) * 1000 + 5_000,
        faults={"seed": 7, "script": [{"at_s": (LEAD_S + minutes * 24) * pace, "fault": "disconnect"}]},
    )
    with (
        tempfile.TemporaryDirectory(prefix="tcp-soak-") as name,
        killing.kill_rig(market, Path(name), Pair) as rig,
    ):
        began = time.time() - (time.monotonic() - rig.began)
        takeovers_s: list[float] = []
        with _beside(rig, Path(name)) as others:
            crashes = _crash_everything(rig, others, takeovers_s)
            time.sleep(max(0.0, rig.began + market.wall_s - time.monotonic()))
            killing.settled(rig, SETTLE_S)
        rig.daemon.stop()
        measured = _punctuality(rig, began, takeovers_s)
        say(f"{days:g} days of the market at {pace:.0f} times its pace; crashes: {', '.join(crashes)}")
        _tell(measured)
        say("compares candles with what was emitted, bots with a calm run; this takes minutes")
        return _too_late(measured) + _market_faults(rig) + killing.faults_of(rig)


@contextlib.contextmanager
def _beside(rig: Rig, folder: Path) -> Iterator["Others"]:
    """The dashboard, the notifications and Dagster; at the end each is there again. Dagster takes minutes to
    be up, in which the market goes on: whoever kills it waits for that."""
    port = free_port()
    environment = {
        **rig.environment,
        "TCP_DASHBOARD_PORT": str(port),
        "TCP_DAGSTER_PORT": str(free_port()),
        "TCP_LAKE_URL": str(folder / "lake"),
        "TCP_NOTIFY_URLS": f"json://127.0.0.1:{free_port()}/",  # nobody is there, which harms nothing
    }
    with contextlib.ExitStack() as stack:
        others = Others({}, {})
        for name in ("dashboard", *HEARD):
            others.services[name] = Daemon(environment, folder / f"{name}.log", (name,))
            stack.callback(others.services[name].stop)
        healthy = partial(http_answers, f"http://127.0.0.1:{port}/healthz", timeout_s=5)
        eventually(healthy, START_S, "the dashboard")
        yield others
        eventually(healthy, START_S, "the dashboard again")
        for name, killed in others.killed.items():
            eventually(partial(_is_heard, rig, name, killed), DAGSTER_START_S, f"{name} again")


class Others(NamedTuple):
    """What runs beside the daemons: services by name, and when one that has a heartbeat was killed."""

    services: dict[str, Daemon]
    killed: dict[str, float]


def _is_heard(rig: Rig, component: str, since: float) -> bool:
    """Whether it has beaten since that monotonic time."""
    age_s = heartbeat_age_s(rig.engine, component)
    return age_s is not None and age_s < time.monotonic() - since


def _kill_heard(rig: Rig, component: str, others: Others) -> None:
    """SIGKILL, once it works."""
    eventually(partial(_is_heard, rig, component, rig.began), DAGSTER_START_S, component)
    others.services[component].kill(collecting=False, after_s=0)
    others.killed[component] = time.monotonic()


def _crash_everything(rig: Rig, others: Others, takeovers_s: list[float]) -> list[str]:
    """Kill -9 of every component once, of each host's daemon while it collects and while it waits, at moments
    drawn from a seed; what was killed, in order."""
    assert isinstance(rig.daemon, Pair)
    drawn = random.Random(rig.market.seed)
    victims: dict[str, Callable[[], None]] = {
        "daemon": partial(_take_over, rig, takeovers_s),
        "the other daemon": partial(_take_over, rig, takeovers_s),
        "a daemon that waits": rig.daemon.kill_waiting,
        "dashboard": partial(others.services["dashboard"].kill, collecting=False, after_s=0),
        **{name: partial(_kill_heard, rig, name, others) for name in HEARD},
        "postgres": partial(_restart, rig.postgres),
        "redis": partial(_restart, rig.redis),
        "nursery": partial(_kill, rig, "nursery", drawn),
        **{f"a bot ({n})": partial(_kill, rig, "bot", drawn) for n in range(1, len(killing.BOTS) + 1)},
    }
    names = drawn.sample(sorted(victims), len(victims))
    left_s = rig.began + rig.market.wall_s - time.monotonic() - 2 * LEAD_S
    moments = sorted(time.monotonic() + drawn.random() * left_s for _ in names)
    for name, moment in zip(names, moments, strict=True):
        time.sleep(max(0.0, moment - time.monotonic()))
        victims[name]()
        say(f"{(time.monotonic() - rig.began) / 60:5.1f} min  killed: {name}")
    return [*names, "all connections of the exchange"]


def _take_over(rig: Rig, takeovers_s: list[float]) -> None:
    """Kill the daemon that collects, and wait for the other one's first heartbeat."""
    rig.daemon.kill(collecting=True, after_s=0)
    killed = time.monotonic()
    before = _heard(rig)
    eventually(lambda: _heard(rig) != before, START_S, "a takeover")
    takeovers_s.append(time.monotonic() - killed)


def _heard(rig: Rig) -> str | None:
    """Who wrote the daemon's last heartbeat."""
    pid = "SELECT details ->> 'pid' FROM heartbeats WHERE component = 'live'"
    return bench.scalar(rig.engine, pid)


def _kill(rig: Rig, victim: str, drawn: random.Random) -> None:
    eventually(partial(killing._kill_one, rig, victim, drawn), killing.START_S, f"a {victim}")


def _restart(server: OwnServer) -> None:
    server.kill()
    time.sleep(AWAY_S)
    server.start()


def _punctuality(rig: Rig, began: float, takeovers_s: Sequence[float]) -> Punctuality:
    values = {
        "began": began,
        "start": rig.market.start_ms / 1000,
        "speed": rig.market.speed,
        "first": MIDNIGHT / 1000,
        "last": rig.market.end_ms / 1000,
    }
    minutes = (rig.market.end_ms - MIDNIGHT) // 60_000
    with rig.engine.connect() as connection:
        rows = connection.execute(_STORED, values).all()
    times = [row.stored_s for row in rows]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    in_time = sum(row.late_s <= ON_TIME_S for row in rows)
    expected = minutes * len(killing.SYMBOLS)
    return Punctuality(
        expected,
        sum(row.source == "exchange" for row in rows),
        in_time / expected,
        max((row.late_s for row in rows), default=0.0),
        [gap for gap in gaps if gap > OUTAGE_S],
        takeovers_s,
    )


def _too_late(measured: Punctuality) -> list[str]:
    """What is beyond its target."""
    found = [f"a takeover took {s:.1f} s" for s in measured.takeovers_s if s > TAKEOVER_S]
    if measured.on_time < LEAST_ON_TIME:
        found.append(f"only {measured.on_time:.3%} of candles in time")
    return found


def _market_faults(rig: Rig) -> list[str]:
    """Candles of all timeframes and every trade id against what the market's model emits."""
    market = rig.market
    emitted = Emitted(
        rig.engine, market.seed, market.activity, killing.SYMBOLS, market.start_ms, market.end_ms
    )
    trades = emitted.load()
    assert emitted.note_begin() == len(killing.SYMBOLS)
    found, compared = emitted.faults()
    say(f"emitted: {trades}; stored and compared: {compared}")
    return [f"market: {line}" for line in found]


def _tell(measured: Punctuality) -> None:
    outages = sorted(measured.outages_s, reverse=True)
    say(
        figures(
            [
                HEADER,
                (
                    f"{measured.expected:,}",
                    f"{measured.asked_for:,}",
                    f"{measured.on_time:.4%}",
                    f"{measured.longest_s:.1f}",
                    str(len(outages)),
                    f"{max(outages, default=0):.1f}",
                    f"{sum(outages):.1f}",
                    " ".join(f"{s:.1f}" for s in measured.takeovers_s),
                    f"{measured.uptime:.4%}",
                ),
            ]
        )
    )
