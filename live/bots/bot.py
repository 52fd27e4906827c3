"""One bot: candles in, decisions committed, messages out. Synchronous; its process calls it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from functools import partial

import msgspec
import polars as pl
import structlog
from sqlalchemy import Engine

from config.files import BotFile, parse_model
from core.book_fills import BookTop, match_book, may_take
from core.bot_states import Desired
from core.candles import Candle
from core.clock import Clock
from core.decisions import Account, Bar, Outcome, Rules, fill_open_order, judge, observe, withdraw
from core.ids import decision_id
from core.instruments import Instrument
from core.matching import could_touch, match
from core.orders import OrderType
from core.risk import KILL_SWITCH, age_of
from core.signals import Signal
from core.timeframes import Timeframe
from live.bots.journal import note
from live.bots.messages import MarketUpdate, Message, signal_message, status_message
from live.bots.rules import path_of, rules_of, volatility_sizing
from live.bots.window import CandleWindow
from live.brokers.choose import ORDERS_CHANNEL, broker_of
from pipelines.warehouse.bot_ledger import Ledger
from pipelines.warehouse.bot_starts import note_start
from pipelines.warehouse.bots import BotRow
from pipelines.warehouse.exposure import admit
from pipelines.warehouse.health import record_event
from pipelines.warehouse.instruments import read_instruments
from pipelines.warehouse.paths import MOST_BARS, Inside, is_begun
from pipelines.warehouse.sql import to_datetime
from strategies import registry
from strategies.evaluate import last_signal
from strategies.sizes import with_sizes

CATCH_UP_CANDLES = 50
CATCH_UP_MS = 1_000
"""Judged in one go, and the wall time after which no further one is begun, before the process gets to its
heartbeat again: a strategy that is slow over each of many candles is not hung."""
HOLE_PATIENCE_MS = 60_000
"""Wall time to wait for a candle that is missing while newer ones are there."""
CHECKPOINT_BARS = 500
"""Bars of a running candle after which it is stored how far the orders have met it."""
RULES_PATIENCE_MS = 60_000
"""Wall time to wait at the beginning for the exchange's rules of the symbol: orders by other rules than those
would have other sizes."""
BOOK_PATIENCE_MS = 1_500
"""Wall time for which an order that may take from the book waits for the next one, before trades fill it."""
WINDOW_PATIENCE_MS = 5_000
"""Wall time to wait at the beginning for history that the strategy wants, since some last arrived."""

_log = structlog.get_logger("bot")


class Bot:
    """Judges every final candle once, in order, and keeps the account.

    Whatever is missed on the bus is read from Postgres; after any failure `restore` makes this object what
    it was after the last commit.

    latencies: (signal id, ms) measured and not stored yet; judged: candles since the process began

    Parameters
    ----------
    row: the bot's row, whose config is complete
    clock: wall time, for latencies and patience; candles are never judged by it
    say: called with every message for the bus, after its commit
    judging: entered around each judgement of the strategy, which it may time
    """

    def __init__(
        self,
        row: BotRow,
        engine: Engine,
        clock: Clock,
        say: Callable[[Message], None],
        judging: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        config = parse_model(BotFile, row.config, f"bot {row.name}")
        self.name = row.name
        self._bot_id = row.id
        self.symbol = config.symbol
        self.timeframe = Timeframe.parse(config.timeframe)
        self.latencies: list[tuple[str, float]] = []
        self.live_close_ms: int | None = None
        self.judged = 0
        self._engine = engine
        self._clock = clock
        self._say = say
        self._judging = judging
        self._strategy = registry.build(config.strategy or "", config.parameters, config.timeframe)
        self._ledger = Ledger(engine, row.id, self.symbol, self.timeframe)
        self._config = config.model_copy(update={"risk": with_sizes(config.risk, self._strategy)})
        rows = max(self._strategy.window, self._config.risk.history)
        self._window = CandleWindow(engine, self.symbol, self.timeframe, rows)
        self._broker = broker_of(config, row.id)
        self._is_paper = config.broker == "paper"
        self._inside = Inside(engine, self.symbol, path_of(config))
        self._rules: Rules | None = None
        self._running: Candle | None = None
        self.takes_books = self._is_paper and config.execution is not None and config.execution.book
        self._book_due_ms = 0
        self.restore()

    def restore(self) -> None:
        """Forget what is in memory; the database is right."""
        self._account = self._ledger.restore()
        self._restored_ms = self._ledger.exchange_ms()
        self._hole_since_ms: int | None = None
        self._waits_since_ms = self._clock.now_ms()
        self._seen_history = (0, self._waits_since_ms)
        self._book_due_ms = 0

    def beat(self) -> Desired:
        """Heartbeat; returns what is wanted of the bot."""
        wanted = self._ledger.beat(self._clock.now_ms(), self.latencies)
        self.latencies = []
        return wanted

    def on_update(self, update: MarketUpdate) -> None:
        """A candle from the bus, running or final."""
        candle = update.candle
        self.live_close_ms = max(self.live_close_ms or 0, candle.close_ms - self.timeframe.ms)
        if self._account.last_candle_ms is None:
            self._begin()
        last_ms = self._account.last_candle_ms
        if last_ms is None:
            return
        if not candle.final:
            self._running = candle
            self._meet(candle)
        elif candle.close_ms <= last_ms:
            self._window.revise(candle)
        elif candle.close_ms == last_ms + self.timeframe.ms:
            self._judge(candle, update.published_ms)
        else:
            self.catch_up()

    def on_book(self, book: BookTop) -> None:
        """An order book from the bus: the first one after a decision fills what it can of the order."""
        due, self._book_due_ms = self._book_due_ms, 0
        last_ms = self._account.last_candle_ms
        if not due or last_ms is None or book.timestamp_ms >= last_ms + self.timeframe.ms:
            return  # of a later candle: which trades came before it would not be known
        met = match_book(self._terms(), self._account, book, last_ms, last_ms + self.timeframe.ms)
        if met.orders:
            self._store(met, last_ms, met.executions[-1].fill.price if met.executions else None)

    def catch_up(self) -> bool:
        """Judge stored candles that are due; returns whether there may be more of them."""
        if self._account.last_candle_ms is None:
            return self._begin()
        last_ms, began_ms = self._account.last_candle_ms, self._clock.now_ms()
        candles = self._ledger.candles_after(last_ms, CATCH_UP_CANDLES)
        for candle in candles:
            if candle.close_ms != last_ms + self.timeframe.ms and not self._hole_is_lost(last_ms, candle):
                return False
            self._judge(candle, None)
            last_ms = candle.close_ms
            if self._clock.now_ms() - began_ms >= CATCH_UP_MS:
                return True
        if len(candles) == CATCH_UP_CANDLES:
            return True
        if self._running is not None:
            self._meet(self._running)  # its newest trades may have been stored after it was told of
        return False

    def _begin(self) -> bool:
        """Start at the newest candle: it is judged and stored, but no order follows from it."""
        reference_ms = self.live_close_ms or self._ledger.exchange_close_ms()
        if reference_ms is None:
            return False
        newest = self._ledger.candle_at(reference_ms)
        judged_ms = self._ledger.last_judged_ms()
        if newest is None or (judged_ms is not None and newest.close_ms < judged_ms):
            return False
        if self._rules_arrive():
            return False
        frame = self._window.push(newest)
        if not self._window.is_full and self._history_arrives(frame.height):
            return False
        with self._judging():
            signal = last_signal(self._strategy, frame)
        with self._engine.begin() as connection:
            self._ledger.begin_decision(connection, self._account)
            account = self._broker.account(connection, self._account)
            outcome = observe(self._terms(), account, newest)
            self._ledger.write(connection, outcome, newest.close_ms, signal)
            note_start(connection, self._bot_id, newest.close_ms, judged_ms)
        self._account = outcome.account
        _log.info("begins", bot=self.name, candle_ms=newest.close_ms)
        self._say(signal_message(self.name, signal, outcome, None))
        self._tell(outcome, newest.close, "candle")
        return True

    def _rules_arrive(self) -> bool:
        """Whether the exchange's rules of the symbol are still to come, as far as one can hope."""
        self._terms()
        return self._rules is None and self._clock.now_ms() - self._waits_since_ms < RULES_PATIENCE_MS

    def _history_arrives(self, candles: int) -> bool:
        """Whether older candles are still being fetched, as far as one can see."""
        now_ms = self._clock.now_ms()
        most, since_ms = self._seen_history
        if candles > most:
            self._seen_history = (candles, now_ms)
            return True
        return now_ms - since_ms < WINDOW_PATIENCE_MS

    def _judge(self, candle: Candle, published_ms: float | None) -> None:
        frame = self._window.push(candle)
        with self._judging():
            signal = last_signal(self._strategy, frame)
        rules = self._terms(frame)
        bars = self._bars(rules, candle)
        while bars is not None and len(bars) == MOST_BARS:
            self._store(match(rules, self._account, bars, candle.close_ms), candle.open_ms, candle.close)
            if self._account.matching.matched_id != bars[-1].trade_id:
                break  # the kill switch is on: they meet nothing
            bars = self._bars(rules, candle)
        with self._engine.begin() as connection:
            standing = self._ledger.begin_decision(connection, self._account)
            age_ms = age_of(candle, standing.exchange_ms)
            asked = partial(admit, connection, self._bot_id) if standing.limited else None

            def decide(rules: Rules, account: Account, signal: Signal) -> Outcome:
                return judge(rules, account, candle, signal, standing.kill_switch, bars, age_ms, asked)

            account = self._broker.account(connection, self._account)
            outcome = self._marked(self._broker.judge(connection, rules, account, candle, signal, decide))
            self._ledger.write(connection, outcome, candle.close_ms, signal)
            sends = self._broker.send(connection, outcome)
        latency_ms = None if published_ms is None else self._clock.now_ms() - published_ms
        if latency_ms is not None:
            self.latencies.append((decision_id(self.name, candle.close_ms), latency_ms))
        self._account, self._hole_since_ms = outcome.account, None
        self.judged += 1
        if self.takes_books and published_ms is not None and may_take(self._account.open_order):
            self._book_due_ms = self._clock.now_ms() + BOOK_PATIENCE_MS
        if sends:
            self._say((ORDERS_CHANNEL, {"bot": self.name}))
        note(self.name, outcome, signal, latency_ms)
        self._say(signal_message(self.name, signal, outcome, latency_ms))
        self._tell(outcome, candle.close, "trade" if outcome.executions else "candle")

    def _bars(self, rules: Rules, candle: Candle) -> Sequence[Bar] | None:
        """The inside of a final candle, where it matters to the orders; None: as one bar it does the same."""
        account = self._account
        if rules.path == "candle":
            return None
        if is_begun(candle, account.matching) or could_touch(rules, account, candle.low, candle.high):
            return self._inside.of_final(candle, account.matching)
        return None

    def _meet(self, running: Candle) -> None:
        """What waits meets the trades of the running candle, as far as they are certain.

        An order at the market is filled by the first trade after the decision, which is the open of the next
        candle; only messages that come after the decision count: the final candle before it proved that no
        trade is missing up to there. Other orders wait for stored trades; the message only says when to look.
        """
        last_ms = self._account.last_candle_ms
        if last_ms is None or running.volume == 0 or running.close_ms != last_ms + self.timeframe.ms:
            return
        if self._clock.now_ms() < self._book_due_ms:
            return
        met = self._met(self._terms(), running) if self._is_paper else None
        if met is not None:
            self._store(met, running.open_ms, running.close)

    def _store(self, met: Outcome, open_ms: int, price: Decimal | None) -> None:
        """Commit what a part of the candle that opens then did to the orders, which the kill switch withdraws
        instead; price: the newest, by which the account is told."""
        if not self._is_paper:  # its account is what the exchange's matches made of it, and nothing else
            raise RuntimeError(f"bot {self.name}: orders at {self._config.broker} are not filled on paper")
        with self._engine.begin() as connection:
            standing = self._ledger.begin_decision(connection, self._account)
            outcome = withdraw(self._account, KILL_SWITCH) if standing.kill_switch else self._marked(met)
            self._ledger.write(connection, outcome, open_ms, None)
        self._account = outcome.account
        note(self.name, outcome)
        if outcome.executions:
            self._tell(outcome, price, "trade")

    def _met(self, rules: Rules, running: Candle) -> Outcome | None:
        """What the running candle does to the orders; None: nothing that has to be stored."""
        account = self._account
        if rules.path == "candle":
            order = account.open_order
            plain = rules.costs.volume_share is None and not rules.costs.impact
            due = order is not None and order.order_type is OrderType.MARKET and not running.provisional
            return fill_open_order(rules, account, running) if due and plain else None
        if not could_touch(rules, account, running.low, running.high):
            return None
        bars = self._inside.so_far(running, account.matching)
        outcome = match(rules, account, bars, running.close_ms)
        return outcome if outcome.orders or len(bars) >= CHECKPOINT_BARS else None

    def _marked(self, outcome: Outcome) -> Outcome:
        """Fills at times before this process took over are marked: nobody was there."""
        executions = tuple(
            msgspec.structs.replace(execution, recovered=execution.fill.timestamp_ms < self._restored_ms)
            for execution in outcome.executions
        )
        return msgspec.structs.replace(outcome, executions=executions)

    def _hole_is_lost(self, last_ms: int, newer: Candle) -> bool:
        """Whether the candles before `newer` have been missing for so long that they are passed over."""
        now_ms = self._clock.now_ms()
        if self._hole_since_ms is None:
            self._hole_since_ms = now_ms
        if now_ms - self._hole_since_ms < HOLE_PATIENCE_MS:
            return False
        missing = (newer.close_ms - last_ms) // self.timeframe.ms - 1
        _log.warning("passes over missing candles", bot=self.name, missing=missing, after_ms=last_ms)
        message = (
            f"bot {self.name} passes over {missing} candles after {to_datetime(last_ms):%Y-%m-%d %H:%M} UTC"
        )
        record_event(self._engine, "warning", "bots", "candles_passed_over", message)
        return True

    def _terms(self, frame: pl.DataFrame | None = None) -> Rules:
        """The rules in force; frame: the candles up to the judged one, which a size may depend on."""
        if self._rules is None:
            listed = read_instruments(self._engine).get(self.symbol)
            rules = rules_of(self._config, self._strategy, listed or _unlisted(self.symbol))
            self._rules = rules if listed is not None else None
        else:
            rules = self._rules
        risk = self._config.risk
        if frame is None or risk.sizing != "volatility":
            return rules
        return msgspec.structs.replace(rules, sizing=volatility_sizing(risk, self.timeframe, frame))

    def _tell(self, outcome: Outcome, price: Decimal | None, event: str) -> None:
        self._say(status_message(self.name, Desired.ACTIVE.value, "running", outcome, price, event))

    @property
    def account(self) -> Account:
        """As of the last commit."""
        return self._account


def _unlisted(symbol: str) -> Instrument:
    """Rules for a symbol whose own are not stored yet: as fine as exchanges go, no minimum."""
    base, _, quote = symbol.partition("-")
    step = Decimal("0.00000001")
    return Instrument(symbol, base, quote, tick_size=step, lot_size=step, min_size=step)
