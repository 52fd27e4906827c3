"""Does a bot's history equal a backtest over the same candles?

The strategy judges the stored candles all at once, the engine walks its signals with the bot's own costs and
limits, and every signal, fill and balance is laid beside what the bot stored. What people did to the bot is
taken over, not judged: candles it slept through are left out, the candle at which it began again gives no
order, and orders that the kill switch or a stop took away are not given. A replay that begins in the middle
of a bot's life also takes over vetoes of limits that remember.
"""

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from config.files import BotFile, parse_model
from core.errors import BadInput
from core.timeframes import Timeframe
from pipelines.backtest.account import ENTRY, EXIT, INSIDE, REASON, Floats
from pipelines.backtest.engine import account_of
from pipelines.backtest.guarded import Walked, weights_of
from pipelines.backtest.ordered import lay
from pipelines.backtest.parity_life import (
    among,
    begins,
    between,
    due,
    held_up,
    remembered,
    since_sale,
    with_pruned,
)
from pipelines.backtest.parity_orders import execution_of, fills_of, outside, seen, summed
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.result import iso
from pipelines.backtest.risk import Risk
from pipelines.warehouse.bot_history import BotHistory
from strategies.base import Strategy
from strategies.evaluate import evaluate
from strategies.registry import build

RELATIVE = 1e-9
"""Indicators, prices and amounts that are further apart than this are different."""
CONFIDENCE = 1e-6
_NEVER_LOST = Decimal("0.999999")
"""A limit of a day's loss that is not reached."""
_FILLS: dict[str, pl.DataType] = {
    "timestamp": pl.Datetime("us", "UTC"),
    "side": pl.String(),
    **{name: pl.Float64() for name in ("price", "quantity", "fees", "pnl")},
}


@dataclass(frozen=True)
class Difference:
    """kind: signal, fill or balance · at: close of the candle, or time of the fill · live, replay: what each
    has, None where one has nothing"""

    kind: str
    at: str
    what: str
    live: Any
    replay: Any
    note: str | None = None


@dataclass(frozen=True)
class ParityReport:
    """What was compared, and every difference; none is a pass.

    start, end: closes of the first and the last candle compared · signals: by type · interruptions: times the
    bot began, after the first · held_up: orders taken away by people · balances: at `end`, quote currency ·
    broker: of a real one the signals alone are compared · changed: the last candle that another configuration
    judged, which is compared on its own (None: there was no other) · remembered: buys vetoed by limits that
    remember more than the replay, taken over · unjudged: limits of which nothing else is known,
    so that the replay never reaches them
    """

    bot: str
    strategy: str
    symbol: str
    timeframe: str
    start: str
    end: str
    candles: int
    signals: dict[str, int]
    fills: int
    interruptions: int
    held_up: int
    live_balance: float
    replay_balance: float
    differences: list[Difference] = field(default_factory=list)
    broker: str = "paper"
    changed: str | None = None
    remembered: int = 0
    unjudged: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def to_document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"passed": self.passed}


def history_needed(history: BotHistory, most: int = 50_000) -> tuple[int, int]:
    """(candles before the first signal that the strategy wants, ms of a candle)."""
    strategy, config = _strategy(history)
    sized = Risk.sized(Risk.of_bot(config.risk), strategy) or Risk()
    return min(max(strategy.window, sized.history), most), Timeframe.parse(config.timeframe).ms


def compare_history(
    history: BotHistory,
    candles: pl.DataFrame,
    lot_size: float = 0.0,
    start: datetime | None = None,
    end: datetime | None = None,
    tick_size: float = 0.0,
    path: pl.DataFrame | None = None,
    changed: str | None = None,
) -> ParityReport:
    """Replay a bot over its candles and report what differs between `start` and `end`.

    candles: a candle frame from before the bot's first signal (see `history_needed`) to its last. lot_size,
    tick_size: to which the bot rounds sizes (base currency) and prices: amounts may differ by that. path: the
    bars inside the candles, for a bot whose orders are judged on them. changed: see `ParityReport`. Of a bot
    with a real broker only the signals are compared: its fills are the exchange's, the replayed balance is
    that of paper orders. BadInput when there is nothing to compare, or the bot's orders are of a kind that a
    backtest does not know.
    """
    history = since_sale(history)
    strategy, config = _strategy(history)
    if history.signals.is_empty():
        raise BadInput("bot", f"{history.row.name} has no signals in that time")
    own = due(history, candles)
    said = with_pruned(history, own)
    inside = between(said, start, end)
    if inside.is_empty():
        raise BadInput("bot", f"{history.row.name} has no signals in that time")
    judged = among(evaluate(strategy, candles), own)
    decided = history.orders.filter(pl.col("oco").is_null())
    begun = begins(history, own["timestamp"], decided, Timeframe.parse(config.timeframe))
    withheld, vetoed = held_up(decided), remembered(history, decided)
    given_up = pl.concat([withheld, vetoed])["timestamp"]
    quiet = pl.Series(begun) | judged["timestamp"].is_in(given_up.implode())
    heeded = judged.with_columns(buy=pl.col("buy") & ~quiet, sell=pl.col("sell") & ~quiet)
    request = _request(strategy, config, history.is_cut)
    weights = _weights(strategy, candles, own, request)
    walked = _walk(strategy, own, heeded, request, config, begun, path, weights)
    replayed = pl.DataFrame({"timestamp": own["timestamp"], "equity": walked.equity})
    lived = _due(history.fills, said["timestamp"][-1], config)
    rounding = _Rounding(
        lot_size,
        float(own["close"].max() or 0),  # type: ignore[arg-type]
        lived.height,
        0.0 if config.execution is None else tick_size / float(own["low"].min() or 1),  # type: ignore[arg-type]
        1.0 if config.execution is not None else 0.05,
    )
    if config.execution is not None:
        lived = summed(lived)
    made = [
        *_fill_differences(
            between(lived, start, end), between(_fills(walked, own, config), start, end), rounding
        ),
        *_balance_differences(between(history.values, start, end), replayed, rounding),
    ]
    valued = _valued(history, inside["timestamp"][-1], replayed)
    return ParityReport(
        bot=history.row.name,
        strategy=strategy.name,
        symbol=config.symbol,
        timeframe=config.timeframe,
        start=iso(inside["timestamp"][0]),
        end=iso(inside["timestamp"][-1]),
        candles=inside.height,
        signals=dict(sorted(inside["signal_type"].value_counts().iter_rows())),
        fills=between(lived, start, end).height,
        interruptions=int(begun[1:].sum()),
        held_up=withheld.height,
        live_balance=float(valued["total_value"].item()),
        replay_balance=float(among(replayed, valued)["equity"].item()),
        differences=[
            *_signal_differences(strategy, inside, judged),
            *_missing(between(history.signals, start, end), inside, between(judged, start, end)),
            *(made if config.broker == "paper" else ()),
        ],
        broker=config.broker,
        changed=changed,
        remembered=vetoed.height,
        unjudged=("max_daily_loss",) if history.is_cut and config.risk.max_daily_loss else (),
    )


def _valued(history: BotHistory, last: datetime, replayed: pl.DataFrame) -> pl.DataFrame:
    """The newest balance up to that candle. BadInput where retention left none."""
    found = among(between(history.values, None, last), replayed).tail(1)
    if found.is_empty():
        raise BadInput(
            "--to",
            f"no balance of {history.row.name} up to {iso(last)} is kept: `tcp data prune` thins them; give "
            "a later --to",
        )
    return found


@dataclass(frozen=True)
class _Rounding:
    """How far amounts may be apart. The bot trades whole lots and leaves less than one of cash and one of
    coins behind; what those did not earn is a few hundredths of a lot for each fill, or a lot where an order
    is filled in parts. tick: of prices, as a fraction of the lowest one; 0 where the bot rounds none."""

    lot_size: float
    highest_price: float
    fills: int
    tick: float = 0.0
    lots_a_fill: float = 0.05

    @property
    def lots(self) -> float:
        return (2 + self.lots_a_fill * self.fills) * self.lot_size

    @property
    def ticks(self) -> float:
        return RELATIVE + self.tick * (2 + self.fills)

    def price(self, one: float, two: float) -> bool:
        return abs(one - two) > (RELATIVE + self.tick) * abs(two)

    def quantity(self, one: float, two: float) -> bool:
        return abs(one - two) > self.lots + self.ticks * abs(two)

    def money(self, one: float, two: float, of: float = 1.0) -> bool:
        """of: an amount that `two` is a difference of, which ticks have moved."""
        moved = self.ticks * max(abs(two), of) if self.tick else RELATIVE * max(abs(two), 1.0)
        return abs(one - two) > self.lots * self.highest_price + moved


def _strategy(history: BotHistory) -> tuple[Strategy, BotFile]:
    config = parse_model(BotFile, history.row.config, f"bot {history.row.name}")
    return build(config.strategy or "", config.parameters, config.timeframe), config


def _request(strategy: Strategy, config: BotFile, is_cut: bool) -> BacktestRequest:
    """The backtest that a bot is, its sizing included. is_cut: what its first day began with is not known,
    and all vetoes for a day's loss are taken over."""
    risk = Risk.of_bot(config.risk)
    if is_cut:
        risk = risk.model_copy(update={"max_daily_loss": risk.max_daily_loss and _NEVER_LOST})
    return BacktestRequest(
        strategy=strategy.name,
        symbol=config.symbol,
        timeframe=config.timeframe,
        fee=float(config.fee),
        slippage=float(config.slippage),
        cash=float(config.virtual_balance),
        risk=Risk.sized(risk, strategy),
        execution=None if config.execution is None else execution_of(config.execution),
    )


def _weights(
    strategy: Strategy, candles: pl.DataFrame, own: pl.DataFrame, request: BacktestRequest
) -> Floats:
    """What a buy at each of the bot's own candles spends, by all candles before it: a number each, or one."""
    weights = weights_of(strategy, request.risk or Risk(), candles, request, 0)
    if weights.size == 1:
        return weights
    found: Floats = weights[candles["timestamp"].is_in(own["timestamp"].implode()).to_numpy()]
    return found


def _walk(
    strategy: Strategy,
    own: pl.DataFrame,
    heeded: pl.DataFrame,
    request: BacktestRequest,
    config: BotFile,
    begins: Any,
    path: pl.DataFrame | None,
    weights: Floats,
) -> Walked:
    # Where the bot began it only looked: nothing is filled and no stop is hit in a candle without trades.
    own = own.with_columns(volume=pl.when(pl.Series(begins)).then(0.0).otherwise("volume"))
    if own["volume"].sum() == 0.0:  # which a backtest takes for volumes that nobody knows
        heeded = heeded.with_columns(buy=False, sell=False)
    if config.execution is None:
        return account_of(strategy, own, heeded, request, 0, weights=weights)
    length = Timeframe.parse(config.timeframe)
    looked = own["timestamp"].filter(pl.Series(begins))
    path = outside(path, looked, timedelta(milliseconds=length.ms))
    return account_of(strategy, own, heeded, request, 0, lay(own, path, 0, length), weights=weights)


def _fills(walked: Walked, own: pl.DataFrame, config: BotFile) -> pl.DataFrame:
    """The engine's round trips as single fills, oldest first, as a bot stores them."""
    if config.execution is not None:
        return fills_of(walked, _FILLS)
    length = timedelta(milliseconds=Timeframe.parse(config.timeframe).ms)
    times, fee, rows = own["timestamp"], float(config.fee), []
    for trip, (price, left, coins, paid, pnl, _) in zip(walked.trips, walked.values, strict=True):
        gross = coins / (1 - fee)
        bought_fee = gross * fee * price
        rows.append((times[int(trip[ENTRY])] - length, "buy", price, gross, bought_fee, None))
        if trip[EXIT] >= 0:
            at = times[int(trip[EXIT])] - (timedelta(0) if trip[REASON] in INSIDE else length)
            rows.append((at, "sell", left, coins, paid - bought_fee, pnl))
    return pl.DataFrame(rows, schema=_FILLS, orient="row")


def _due(fills: pl.DataFrame, last: datetime, config: BotFile) -> pl.DataFrame:
    """Without those of the candle after the last judged one, which the replay has not seen."""
    if config.execution is not None:
        return seen(fills, last)
    early = (pl.col("order_type") == "market") & (pl.col("timestamp") >= last)
    return fills.filter(~early)


def _signal_differences(strategy: Strategy, said: pl.DataFrame, judged: pl.DataFrame) -> list[Difference]:
    replayed = {row["timestamp"]: row for row in judged.iter_rows(named=True)}
    found = []
    for live in said.iter_rows(named=True):
        replay, at = replayed[live["timestamp"]], iso(live["timestamp"])
        kind = "sell" if replay["sell"] else "buy" if replay["buy"] else "hold"
        moved = _apart(live["price"], replay["close"], 0.0)
        note = f"the candle was revised: its close was {live['price']:.12g}" if moved else None
        if live["signal_type"] != kind:
            found.append(Difference("signal", at, "signal_type", live["signal_type"], kind, note))
        elif kind != "hold" and abs(live["confidence"] - replay["confidence"]) > CONFIDENCE:
            found.append(
                Difference("signal", at, "confidence", live["confidence"], replay["confidence"], note)
            )
        for name in strategy.indicator_names:
            if live["indicators"] is None:
                break
            one, two = live["indicators"].get(name), replay[name]
            if (one is None) != (two is None) or _apart(one, two, replay["close"] / 1000):
                found.append(Difference("signal", at, name, one, two, note))
        if moved:
            found.append(Difference("signal", at, "price", live["price"], replay["close"], note))
    return found


def _missing(signals: pl.DataFrame, said: pl.DataFrame, judged: pl.DataFrame) -> list[Difference]:
    """Candles that the bot did not judge though it was there, and signals for candles that are not stored."""
    found, known = [], set(said["timestamp"])
    for row in judged.iter_rows(named=True):
        if row["timestamp"] not in known:
            kind = "sell" if row["sell"] else "buy" if row["buy"] else "hold"
            note = "the bot was there and has no signal for this candle"
            found.append(Difference("signal", iso(row["timestamp"]), "signal_type", None, kind, note))
    for row in signals.filter(~pl.col("timestamp").is_in(said["timestamp"].implode())).iter_rows(named=True):
        note = "the candle that it judged is not stored"
        found.append(
            Difference("signal", iso(row["timestamp"]), "signal_type", row["signal_type"], None, note)
        )
    return found


def _fill_differences(live: pl.DataFrame, replay: pl.DataFrame, rounding: _Rounding) -> list[Difference]:
    lived = {(row["timestamp"], row["side"]): row for row in live.iter_rows(named=True)}
    replayed = {(row["timestamp"], row["side"]): row for row in replay.iter_rows(named=True)}
    found = []
    for key in sorted(lived.keys() | replayed.keys()):
        one, two, at = lived.get(key), replayed.get(key), iso(key[0])
        if one is None or two is None:
            prices = (one and one["price"], two and two["price"])
            found.append(Difference("fill", at, key[1], *prices, "only one of them has it"))
            continue
        wrong = {
            "price": rounding.price(one["price"], two["price"]),
            "quantity": rounding.quantity(one["quantity"], two["quantity"]),
            "fees": rounding.money(one["fees"], two["fees"]),
            "pnl": key[1] == "sell"
            and rounding.money(one["pnl"], two["pnl"], one["price"] * one["quantity"]),
        }
        found += [Difference("fill", at, f"{key[1]} {n}", one[n], two[n]) for n, bad in wrong.items() if bad]
    return found


def _balance_differences(live: pl.DataFrame, replay: pl.DataFrame, rounding: _Rounding) -> list[Difference]:
    """The first candle at which the accounts part, and the last: everything between follows from them."""
    lived = live.select("timestamp", "total_value")
    both = lived.join(replay, on="timestamp", how="inner").sort("timestamp")
    apart = [row for row in both.iter_rows() if rounding.money(row[1], row[2])]
    ends = apart[:1] + (apart[-1:] if len(apart) > 1 else [])
    return [Difference("balance", iso(at), "total_value", one, two) for at, one, two in ends]


def _apart(one: float | None, two: float | None, scale: float) -> bool:
    if one is None or two is None:
        return False
    return abs(one - two) > RELATIVE * (abs(two) + scale)
