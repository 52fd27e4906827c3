"""A real broker under test: the simulated exchange and the process that sends orders, each killed at will,
and bots that store decisions as fast as they are carried out."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine, text

from config.files import BotFile
from config.settings import PROJECT_ROOT
from core.ids import decision_id
from core.instruments import Instrument
from core.orders import Order, OrderType
from core.trades import Side
from pipelines.exchanges.sim.specs import MODEL_SPECS
from pipelines.warehouse.bots import save_bot
from pipelines.warehouse.exchange_orders import submit
from pipelines.warehouse.instruments import upsert_instruments

BROKER = "okx-demo"
START_MS = 1_790_000_000_000
KEYS = {
    "TCP_OKX_API_KEY": "sim-key",
    "TCP_OKX_API_SECRET": "sim-secret",
    "TCP_OKX_API_PASSPHRASE": "sim-passphrase",
}
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT")
_TICKS = {spec.symbol: Decimal(1).scaleb(-spec.tick_decimals) for spec in MODEL_SPECS}
# Importing ccxt takes seconds: done once, and each start is a fork of that.
_SENDERS = """
import os, signal, sys
import ccxt.pro
from live.brokers.process import main
from live.brokers.submission import Patience
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.dup2(2, 1)
        os._exit(main(Patience(order_s=1.0, algo_s=1.0, grace_s=0.2)))
    print(pid, flush=True)
"""


class Exchange:
    """`python -m pipelines.exchanges.sim`, whose accounts and clock survive its end."""

    def __init__(self, folder: Path, port: int, faults: dict[str, Any], balances: dict[str, str]) -> None:
        self.accounts = folder / "accounts.jsonl"
        self.faults = faults
        self.rest_url = f"http://127.0.0.1:{port}"
        self.ws_url = f"ws://127.0.0.1:{port}/ws/v5"
        self._command = [
            *(sys.executable, "-m", "pipelines.exchanges.sim", "--port", str(port), "--seed", "5"),
            *("--start-ms", str(START_MS), "--balances", json.dumps(balances)),
            *("--accounts-file", str(self.accounts), "--state-file", str(folder / "clock.json")),
        ]
        self._log = folder / "exchange.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes requests."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, "--faults", json.dumps(self.faults)],
                cwd=PROJECT_ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None and self.process.stdout.readline(), self._log.read_text()

    def prices(self) -> dict[str, Decimal]:
        """The last price of each pair."""
        found = {}
        for symbol in SYMBOLS:
            url = f"{self.rest_url}/api/v5/market/ticker?instId={symbol}"
            while symbol not in found:
                with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(url) as answer:
                    found[symbol] = Decimal(json.load(answer)["data"][0]["last"])
        return found

    def kill(self) -> None:
        """End it at whatever line it is."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()


class Sender:
    """The process that sends orders."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        outer = {name: value for name, value in os.environ.items() if not name.startswith("TCP_")}
        environment = {**outer, **KEYS, **variables, "TCP_HOME": str(folder / "home")}
        self.log = folder / "sender.log"
        self._pid: int | None = None
        with self.log.open("ab") as log:
            self._forks = subprocess.Popen(
                [sys.executable, "-c", _SENDERS],
                cwd=PROJECT_ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
            )

    def start(self) -> None:
        """Start it; returns when it begins."""
        assert self._forks.stdin is not None and self._forks.stdout is not None
        self._forks.stdin.write(b"start\n")
        self._pid = int(self._forks.stdout.readline() or b"0")
        assert self._pid, self.log.read_text()

    def kill(self) -> None:
        """End it at whatever line it is."""
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            until(lambda: not psutil.pid_exists(self._pid or 0), 10, "the sender is gone")
            self._pid = None

    def lives(self) -> bool:
        """Whether it has not ended by itself."""
        return self._pid is not None and psutil.pid_exists(self._pid)

    def close(self) -> None:
        """End it, and what it is forked from."""
        if self.lives():
            self.kill()
        self._forks.communicate()


@dataclass
class Traders:
    """Bots that buy when they hold nothing, and sell otherwise. Their prices are rough: none matters."""

    engine: Engine
    seed: int
    prices: dict[str, Decimal]
    stored: int = 0
    bots: dict[int, tuple[str, str]] = field(default_factory=dict)
    _turns: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        listed = [
            Instrument(
                spec.symbol,
                spec.base,
                spec.quote,
                Decimal(1).scaleb(-spec.tick_decimals),
                Decimal(1).scaleb(-spec.lot_decimals),
                Decimal(spec.min_lots).scaleb(-spec.lot_decimals),
            )
            for spec in MODEL_SPECS
        ]
        upsert_instruments(self.engine, listed)

    def add(self, count: int, **changes: Any) -> None:
        """Bots with 1,000 USDT each; `changes` go over their documents."""
        for number in range(len(self.bots) + 1, len(self.bots) + count + 1):
            name, symbol = f"real_{number:03}", SYMBOLS[number % len(SYMBOLS)]
            document = {
                "bot_id": name,
                "strategy": "ema_crossover",
                "symbol": symbol,
                "timeframe": "1m",
                "virtual_balance": 1000,
                "broker": BROKER,
                **changes,
            }
            save_bot(self.engine, BotFile.model_validate(document), None)
            with self.engine.connect() as connection:
                query = text("SELECT id FROM bots WHERE name = :name")
                self.bots[connection.execute(query, {"name": name}).scalar_one()] = (name, symbol)

    def decide(self, most: int) -> int:
        """Store a decision for every bot whose orders are over, `most` at the most; returns how many."""
        query = text("""
            SELECT p.bot_id, p.quantity FROM positions p JOIN bots b ON b.id = p.bot_id WHERE NOT EXISTS (
                SELECT FROM exchange_orders e WHERE e.bot_id = p.bot_id AND e.kind IN ('market', 'limit')
                AND e.state IN ('submitting', 'sending', 'working'))
            AND (p.cost < 50 OR NOT b.config['risk'] ? 'stop_loss' OR EXISTS (
                SELECT FROM exchange_orders e WHERE e.bot_id = p.bot_id AND e.state = 'working'))
            ORDER BY p.bot_id
        """)
        with self.engine.connect() as connection:
            idle = connection.execute(query).all()
        for bot_id, held in idle[:most]:
            self._store(bot_id, held)
        return len(idle[:most])

    def _store(self, bot_id: int, held: Decimal) -> None:
        """One decision in one transaction, as a bot commits it."""
        turn = self._turns[bot_id] = self._turns.get(bot_id, 0) + 1
        name, symbol = self.bots[bot_id]
        ident, kind = decision_id(name, START_MS + turn * 60_000), OrderType.MARKET
        price = self.prices[symbol]
        side = Side.SELL if held > Decimal(50) / price else Side.BUY
        drawn, quantity = self._random.random(), (Decimal(200) / price).quantize(Decimal("0.00001"))
        if side is Side.SELL:
            quantity = held
        elif drawn < 0.05:
            kind, price = OrderType.LIMIT, (price / 2).quantize(_TICKS[symbol])  # rests
        elif drawn < 0.08:
            quantity = Decimal("0.00000001")  # the exchange refuses it
        order = Order(
            id=ident,
            signal_id=ident,
            side=side,
            order_type=kind,
            timestamp_ms=START_MS + turn * 60_000,
            price=price,
            quantity=quantity,
        )
        with self.engine.begin() as connection:
            lock = text("SELECT FROM positions WHERE bot_id = :bot FOR UPDATE")
            connection.execute(lock, {"bot": bot_id})
            values = {"id": ident, "bot": bot_id, "side": side.value, "price": price, "quantity": quantity}
            values |= {"kind": kind.value, "at": order.timestamp_ms / 1000}
            for statement in _DECISION:
                connection.execute(statement, values)
            submit(connection, bot_id, BROKER, symbol, order)
        self.stored += 1

    def withdraw_resting(self) -> None:
        """Limit orders far from the market would keep their bots waiting for ever."""
        with self.engine.begin() as connection:
            connection.execute(
                text("""
                    UPDATE exchange_orders SET cancel_reason = 'no longer wanted'
                    WHERE kind = 'limit' AND state = 'working' AND cancel_reason IS NULL
                """)
            )

    def scalar(self, query: str, **values: Any) -> Any:
        """The single value of a query."""
        with self.engine.connect() as connection:
            return connection.execute(text(query), values).scalar()

    def live(self) -> int:
        """Orders that are not over."""
        states = "('submitting', 'sending', 'working')"
        return int(self.scalar(f"SELECT count(*) FROM exchange_orders WHERE state IN {states}"))


def until(check: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for `check`; fail, naming `what`, when it took too long."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"{what} within {seconds:g} s"
        time.sleep(0.02)


_DECISION = (
    text("""
        INSERT INTO signals (id, bot_id, timestamp, signal_type, price, confidence, indicators)
        VALUES (:id, :bot, to_timestamp(:at), :side, :price, 1, '{}')
    """),
    text("""
        INSERT INTO orders (id, bot_id, signal_id, timestamp, side, order_type, price, quantity, status)
        VALUES (:id, :bot, :id, to_timestamp(:at), :side, :kind, :price, :quantity, 'open')
    """),
)
