"""Ten bots at high speed that are killed, with their daemon and its servers, again and again."""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from tests import bot_bench as bench
from tests.bot_audit import audit, differences, finish, repeat_calmly
from tests.chaos_rig import Havoc, LiveDaemon, Market, Rig, chaos_rig
from tests.stack import eventually
from tests.stored_market import market_faults

VARIABLES = {"TCP_SYMBOLS": "BTC-USDT,ETH-USDT,SOL-USDT", "TCP_BOT_RESTARTS": "1000"}
"""A bot that is killed all the time is to be started again all the time."""
STRATEGIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("ema_crossover", {"fast_period": 2, "slow_period": 4}),
    ("rsi_reversion", {"period": 3, "oversold": 45, "overbought": 55}),
    ("macd_trend", {"fast_period": 2, "slow_period": 4, "signal_period": 2}),
    ("sma_crossover", {"fast_period": 2, "slow_period": 5}),
    ("bollinger_reversion", {"period": 4, "deviations": 1}),
)
"""With parameters that trade every few candles."""
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
BOTS = tuple(f"bot_{n:02}" for n in range(10))
EXITS = {"stop_loss": 0.002, "take_profit": 0.003}
RESTING: dict[int, dict[str, Any]] = {
    1: {"execution": {"order": "limit", "offset": 0.0004, "expires": 3}, "risk": EXITS},
    4: {"execution": {"order": "stop", "offset": 0.0004, "expires": 3}, "risk": {"trailing_stop": 0.002}},
    7: {"execution": {"maker_fee": 0.0008, "volume_share": 0.2}, "risk": {"stop_loss": 0.002}},
}
"""Entries that wait, partial fills, protective orders: something rests at most of the kills."""
HISTORY = 600
"""Minutes that are stored before the bots are made, so that none begins with less than it wants."""
START_S = 120


def bot_document(n: int) -> dict[str, Any]:
    """The file of bot n: five strategies on three markets, every third with exits, the last two on 5m; three
    bots with orders that rest."""
    strategy, parameters = STRATEGIES[n % len(STRATEGIES)]
    return {
        "bot_id": BOTS[n],
        "strategy": strategy,
        "parameters": parameters,
        "symbol": SYMBOLS[n % len(SYMBOLS)],
        "timeframe": "5m" if n >= 8 else "1m",
        "virtual_balance": 10_000,
        "slippage": 0.0005 if n % 2 else 0,
        "risk": EXITS if n % 3 == 0 else {},
        **RESTING.get(n, {}),
    }


@contextmanager
def kill_rig(
    market: Market, folder: Path, launch: Callable[[Mapping[str, str], Path], LiveDaemon] | None = None
) -> Iterator[Rig]:
    """The rig of the chaos run with ten bots, each of which has judged its first candle. launch: see there"""
    with chaos_rig(market, folder, truth=False, variables=VARIABLES, launch=launch) as rig:
        minutes = "SELECT count(*) AS n FROM market_data WHERE timeframe = '1m' GROUP BY symbol"
        stored = f"SELECT min(n) FROM ({minutes})"
        eventually(lambda: (bench.scalar(rig.engine, stored) or 0) > HISTORY, START_S, "history")
        for n, name in enumerate(BOTS):
            (folder / "config" / "bots" / f"{name}.json").write_text(json.dumps(bot_document(n)))
        began = "SELECT count(DISTINCT bot_id) FROM signals"
        eventually(lambda: bench.scalar(rig.engine, began) == len(BOTS), START_S, "a signal of every bot")
        yield rig


@dataclass(frozen=True)
class BotHavoc:
    """What is killed with SIGKILL and how often, drawn from a seed; each of Postgres and Redis stops `stops`
    times meanwhile.

    nurseries: of the process that bots are forked from, which takes all of them with it
    pause_s: between two kills, on average
    """

    seed: int
    bots: int
    daemons: int
    nurseries: int
    stops: int
    pause_s: float = 0.7
    stop_pause_s: float = 9.0

    def wreak(self, rig: Rig) -> None:
        """Do all of it, and leave everything running."""
        servers = Havoc(self.seed, kills=0, stops=self.stops, pause_s=self.stop_pause_s)
        with ThreadPoolExecutor(1, "killer") as killer:
            killing = killer.submit(self._kill_all, rig)
            servers.wreak(rig)
            killing.result()

    def _kill_all(self, rig: Rig) -> None:
        drawn = random.Random(f"{self.seed}/bots")
        victims = ["bot"] * self.bots + ["daemon"] * self.daemons + ["nursery"] * self.nurseries
        drawn.shuffle(victims)
        for victim in victims:
            time.sleep(drawn.uniform(0.2, 1.8) * self.pause_s)
            if victim == "daemon":
                rig.daemon.kill(collecting=False, after_s=0)
            else:
                eventually(partial(_kill_one, rig, victim, drawn), START_S, f"a {victim}")


def _kill_one(rig: Rig, victim: str, drawn: random.Random) -> bool:
    """Kill a bot or the nursery of the running daemon; whether there was one."""
    try:
        nurseries = [
            child
            for child in psutil.Process(rig.daemon.pid).children()
            if "live.bots.nursery" in child.cmdline()
        ]
        found = nurseries if victim == "nursery" else [bot for each in nurseries for bot in each.children()]
        alive = [each for each in found if each.status() != psutil.STATUS_ZOMBIE]
        if not alive:
            return False
        drawn.choice(alive).kill()
    except psutil.NoSuchProcess:
        return False
    return True


def settled(rig: Rig, seconds: float) -> None:
    """Wait until every bot has judged the candle in which the market ended: no running candle is left that
    could have filled an order."""
    behind = (
        "SELECT string_agg(b.name || ' at ' || coalesce(p.last_candle::text, '-'), ', ') FROM bots b"
        " JOIN positions p ON p.bot_id = b.id"
        " WHERE p.last_candle IS NULL OR p.last_candle < to_timestamp(:end / 1000.0)"
    )
    deadline = time.monotonic() + seconds
    while late := bench.scalar(rig.engine, behind, end=rig.market.end_ms):
        assert time.monotonic() < deadline, f"still behind after {seconds} s: {late}"
        time.sleep(0.5)


def faults_of(rig: Rig) -> list[str]:
    """All that is not as it must be. The daemon has to be stopped before: calm twins of the bots are made.

    The exchange's clock goes on behind the market's end, and minutes without trades with it: what the bots
    had not judged of those when they were stopped is judged first.
    """
    for name in BOTS:
        finish(rig.engine, name)
    found = [f"candles: {line}" for line in market_faults(rig.engine)[0]]
    revised = "SELECT count(*) FROM market_data WHERE revision > 0"
    if n := bench.scalar(rig.engine, revised):
        found.append(f"{n} candles were issued before all their trades were there")
    crashed = "SELECT string_agg(DISTINCT reason, ', ') FROM bot_crashes WHERE exit_code = 1"
    if reasons := bench.scalar(rig.engine, crashed):
        found.append(f"exceptions: {reasons}")
    found += audit(rig.engine)
    for name in BOTS:
        found += differences(rig.engine, name, repeat_calmly(rig.engine, name))[:10]
    return found
