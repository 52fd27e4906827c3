"""The part of parity that is about a bot's life: which candles it had to judge, where it began, what people
did to it. A replay takes all of that over; what is missing without such a reason is a difference."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl

from core.errors import BadInput
from core.fills import TIER_DAYS
from core.risk import OF_NO_CANDLE, OF_THE_PAST, SOLD
from core.timeframes import Timeframe
from pipelines.backtest.result import iso
from pipelines.warehouse.bot_history import BotHistory
from pipelines.warehouse.bot_starts import Configured

_OWN_RULES = ("a buy signal came", "a sell signal came", "the position was closed")
"""Reasons for which an order is withdrawn by the decisions themselves, so that a backtest does it too."""
_GIVEN = ("filled", "partially_filled", "open")


def among(frame: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """The rows whose time is one of the other frame's."""
    return frame.filter(pl.col("timestamp").is_in(other["timestamp"].implode()))


def between(frame: pl.DataFrame, start: datetime | None, end: datetime | None) -> pl.DataFrame:
    """The rows from one time to another, both included; None: no end."""
    if start is not None:
        frame = frame.filter(pl.col("timestamp") >= start)
    return frame if end is None else frame.filter(pl.col("timestamp") <= end)


def since_sale(history: BotHistory) -> BotHistory:
    """What came after the kill switch last sold the position, which no candle explains: the replay begins
    there, flat, with what the account was worth, and measures its limits from there."""
    sold = history.orders.filter(pl.col("reason") == SOLD)["timestamp"]
    if sold.is_empty():
        return history
    worth = history.values.filter(pl.col("timestamp") > sold.max())["total_value"].head(1).to_list()
    return _since(history, sold.max(), float(*worth or [1]))


def since_change(
    history: BotHistory, configured: list[Configured], start: datetime | None, lot_size: float
) -> tuple[BotHistory, datetime | None]:
    """What the configuration judged that was in force at the history's end, with that configuration, and the
    last candle that another one judged (None: there was no other).

    The replay begins at the first candle after the change at which the bot is flat and no order waits.
    lot_size: what is worth less than two lots is nothing. BadInput when `start` is before the change, or it
    never was flat since.
    """
    last = history.last_judged
    chosen = [one for one in configured if one.after_candle is None or one.after_candle < last][-1]
    history = replace(history, row=msgspec.structs.replace(history.row, config=chosen.document))
    if chosen.after_candle is None:
        return history, None
    changed = iso(chosen.after_candle)
    if start is not None and start <= chosen.after_candle:
        raise BadInput(
            "--from",
            f"the configuration of {history.row.name} changed after {changed}: give a later --from, or "
            f"--to {changed} to compare what was before",
        )
    bought = history.orders.filter(pl.col("oco").is_null() & (pl.col("side") == "buy"))
    dust = 2 * lot_size * float(history.fills["price"].max() or 1)  # type: ignore[arg-type]
    for row in history.values.filter(pl.col("timestamp") > chosen.after_candle).iter_rows(named=True):
        if row["crypto_balance"] < dust and not _waits(bought, history.fills, row["timestamp"]):
            return _since(history, row["timestamp"], row["total_value"]), chosen.after_candle
    raise BadInput(
        "bot",
        f"the configuration of {history.row.name} changed after {changed}, and it holds since then what the "
        f"former one bought: compare again when that is sold, or --to {changed} what was before",
    )


def _waits(bought: pl.DataFrame, fills: pl.DataFrame, at: datetime) -> bool:
    """Whether the newest buy decided up to that candle's close is still to be filled after it."""
    newest = bought.filter(pl.col("timestamp") <= at).tail(1)
    if newest.is_empty() or newest["status"][0] not in _GIVEN:
        return False
    since = pl.col("timestamp").is_between(newest["timestamp"][0], at, closed="left")
    return fills.filter(since & (pl.col("side") == "buy")).is_empty()


def _since(history: BotHistory, at: Any, worth: float) -> BotHistory:
    """What came after that time, of an account that had nothing but so much cash then. BadInput where fees
    follow what was traded before."""
    later = pl.col("timestamp") > at
    tiers = (history.row.config.get("execution") or {}).get("fee_tiers")
    if tiers and not between(history.fills, at - timedelta(days=TIER_DAYS + 1), at).is_empty():
        raise BadInput(
            "execution.fee_tiers",
            f"a replay of {history.row.name} begins after {iso(at)}, and its fees follow what was traded in"
            f" the {TIER_DAYS} days before: compare what was before the change or sale, by an earlier --to",
        )
    config = history.row.config | {"virtual_balance": worth}
    return replace(
        history,
        row=msgspec.structs.replace(history.row, config=config),
        signals=history.signals.filter(later),
        orders=history.orders.filter(later),
        fills=history.fills.filter(later),
        values=history.values.filter(later),
        is_cut=True,
    )


def due(history: BotHistory, candles: pl.DataFrame) -> pl.DataFrame:
    """The candles that the bot had to judge: those from its first signal to the last that it judged, but for
    those it slept through.

    When it slept is known since bots note where they begin; before that every candle without a signal, and
    without one of the holds that `tcp data prune` dropped, counts as slept through.
    """
    times, starts = history.signals["timestamp"], history.starts
    own = between(candles, times[0], history.last_judged)
    for begun, after in starts.iter_rows():
        if after is not None:
            own = own.filter(~((pl.col("timestamp") > after) & (pl.col("timestamp") < begun)))
    noted = starts["timestamp"].min() or history.last_judged
    judged = (
        pl.col("timestamp").is_in(times.implode())
        | (pl.col("timestamp") <= _pruned_until(history))
        | (pl.col("timestamp") > noted)
    )
    return own.filter(judged)


def _pruned_until(history: BotHistory) -> Any:
    """The oldest hold that `tcp data prune` could have dropped and did not, or the last judged candle if none
    is left: a candle before it without a signal had a hold, as pruning goes from the oldest on."""
    holds = history.signals.filter((pl.col("signal_type") == "hold") & ~pl.col("is_kept"))["timestamp"]
    return holds.min() or history.last_judged


def with_pruned(history: BotHistory, own: pl.DataFrame) -> pl.DataFrame:
    """The signals for those candles, with the holds that were pruned, of which nothing else is known."""
    said = among(history.signals, own)
    known = said["timestamp"].implode()
    dropped = own.filter((pl.col("timestamp") <= _pruned_until(history)) & ~pl.col("timestamp").is_in(known))
    pruned = [(time, "hold", None, None, None, False) for time in dropped["timestamp"]]
    if not pruned:
        return said
    rows = sorted([*said.rows(), *pruned], key=lambda row: row[0])
    return pl.DataFrame(rows, schema=said.schema, orient="row")


def begins(
    history: BotHistory, times: pl.Series, orders: pl.DataFrame, timeframe: Timeframe
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The candles at which the bot began: the first, and each that it noted as such or, before it noted any,
    each after a hole. One that led to an order is none of them."""
    noted = history.starts["timestamp"]
    late = times.diff().fill_null(timedelta(0)).dt.total_milliseconds() != timeframe.ms
    unnoted = late & (times < noted.min()) if noted.len() else late
    begun = times.is_in(noted.implode()) | unnoted | (times == times[0])
    found: np.ndarray[Any, np.dtype[np.bool_]] = (
        begun & ~times.is_in(orders["timestamp"].implode())
    ).to_numpy(writable=True)
    return found


def held_up(orders: pl.DataFrame) -> pl.DataFrame:
    """Orders that were not given or were withdrawn for a reason that no candle has."""
    reason = pl.col("reason").fill_null("")
    own_rules = pl.any_horizontal(reason.str.starts_with(text) for text in _OWN_RULES)
    taken = (pl.col("status") == "cancelled") & ~own_rules
    vetoed = (pl.col("status") == "rejected") & (
        pl.any_horizontal(reason.str.starts_with(text) for text in OF_NO_CANDLE)
    )
    return orders.filter(taken | vetoed)


def remembered(history: BotHistory, orders: pl.DataFrame) -> pl.DataFrame:
    """Of a history that is cut, the orders that limits held up which remember what came before: a replay
    knows of less, never of more, but for the value that the first day began with."""
    if not history.is_cut:
        return orders.clear()
    past = pl.col("reason").str.contains(OF_THE_PAST) | (
        pl.col("timestamp") == history.signals["timestamp"][0]
    )
    return orders.filter((pl.col("status") == "rejected") & past)
