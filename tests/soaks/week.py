"""A week of the market in which everything crashes: what was in time, and whether anything is missing."""

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import text

from cli.stack.table import figures
from tests import kill_rig as killing
from tests.chaos_rig import Market, Rig
from tests.e2e.test_bot_kills import MIDNIGHT
from tests.emitted import Emitted
from tests.own_servers import OwnServer
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
# Candles of minutes that were collected: when each was stored, against the moment its close had come here.
_STORED = text("""
    SELECT CAST(stored_s AS float), CAST(stored_s - :began - (close_s - :start) / :speed AS float) AS late_s
    FROM (SELECT extract(epoch FROM created_at) AS stored_s, extract(epoch FROM timestamp) AS close_s
          FROM market_data WHERE timeframe = '1m' AND source <> 'exchange') AS candles
    WHERE close_s > :first ORDER BY stored_s
""")


class Punctuality(NamedTuple):
    """candles: collected ones; on_time: the share of them stored in time; longest_s: the latest of them, wall
    seconds; outages_s: stretches in which nothing was stored, wall seconds."""

    candles: int
    on_time: float
    longest_s: float
    outages_s: Sequence[float]

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
    with tempfile.TemporaryDirectory(prefix="tcp-soak-") as name, killing.kill_rig(market, Path(name)) as rig:
        began = time.time() - (time.monotonic() - rig.began)
        crashes = _crash_everything(rig)
        time.sleep(max(0.0, rig.began + market.wall_s - time.monotonic()))
        killing.settled(rig, SETTLE_S)
        rig.daemon.stop()
        measured = _punctuality(rig, began)
        say(f"{days:g} days of the market at {pace:.0f} times its pace; crashes: {', '.join(crashes)}")
        _tell(measured)
        say("compares candles with what was emitted, bots with a calm run; this takes minutes")
        late = (
            [] if measured.on_time >= LEAST_ON_TIME else [f"only {measured.on_time:.3%} of candles in time"]
        )
        return late + _market_faults(rig) + killing.faults_of(rig)


def _crash_everything(rig: Rig) -> list[str]:
    """Kill -9 of every component once, at moments drawn from a seed; what was killed, in order."""
    drawn = random.Random(rig.market.seed)
    victims: dict[str, Callable[[], None]] = {
        "daemon": partial(rig.daemon.kill, collecting=True, after_s=0),
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


def _kill(rig: Rig, victim: str, drawn: random.Random) -> None:
    eventually(partial(killing._kill_one, rig, victim, drawn), killing.START_S, f"a {victim}")


def _restart(server: OwnServer) -> None:
    server.kill()
    time.sleep(AWAY_S)
    server.start()


def _punctuality(rig: Rig, began: float) -> Punctuality:
    values = {
        "began": began,
        "start": rig.market.start_ms / 1000,
        "speed": rig.market.speed,
        "first": MIDNIGHT / 1000,
    }
    with rig.engine.connect() as connection:
        rows = connection.execute(_STORED, values).all()
    times = [row.stored_s for row in rows]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    in_time = sum(row.late_s <= ON_TIME_S for row in rows)
    return Punctuality(
        len(rows),
        in_time / max(1, len(rows)),
        max((row.late_s for row in rows), default=0.0),
        [gap for gap in gaps if gap > OUTAGE_S],
    )


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
                ("candles", "in time", "latest s", "outages", "longest s", "together s", "uptime of a week"),
                (
                    f"{measured.candles:,}",
                    f"{measured.on_time:.4%}",
                    f"{measured.longest_s:.1f}",
                    str(len(outages)),
                    f"{max(outages, default=0):.1f}",
                    f"{sum(outages):.1f}",
                    f"{measured.uptime:.4%}",
                ),
            ]
        )
    )
