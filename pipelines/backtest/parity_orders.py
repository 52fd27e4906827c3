"""The part of parity that is about bots with an `execution` block: their options as a backtest's, and fills
in parts as one."""

from datetime import datetime, timedelta

import polars as pl

from config.execution import ExecutionFile
from core.errors import BadInput
from pipelines.backtest.account import EXIT
from pipelines.backtest.execution import Execution
from pipelines.backtest.guarded import Walked

_ORDERS = ("market", "limit", "stop")


def execution_of(block: ExecutionFile) -> Execution:
    """A bot's block as the options of a backtest. BadInput for what a backtest does not know."""
    if block.book:
        raise BadInput(
            "execution.book",
            "parity is not known for fills from the order book, which no candle or trade tells of:"
            " `trades.book` has the levels they took",
        )
    if block.order not in _ORDERS:
        raise BadInput(
            "execution.order",
            f"parity is not known for {block.order}: a backtest has {', '.join(_ORDERS)} entries only",
        )
    shared = {"order", "offset", "expires", "maker_fee", "fee_tiers", "volume_share", "spread", "impact"}
    return Execution.model_validate(block.model_dump(include=shared))


def summed(fills: pl.DataFrame) -> pl.DataFrame:
    """Fills in a row on one side as one: amounts summed, prices weighted; of a buy the first time, of a sale
    the last."""
    rows = fills.with_columns(run=pl.col("side").rle_id(), value=pl.col("price") * pl.col("quantity"))
    return (
        rows.group_by("run", maintain_order=True)
        .agg(
            pl.when(pl.col("side").first() == "buy")
            .then(pl.col("timestamp").first())
            .otherwise(pl.col("timestamp").last())
            .alias("timestamp"),
            pl.col("side").first(),
            pl.col("order_type").last(),
            (pl.col("value").sum() / pl.col("quantity").sum()).alias("price"),
            pl.col("quantity").sum(),
            pl.col("fees").sum(),
            pl.col("pnl").sum(),
        )
        .select(fills.columns)
    )


def fills_of(walked: Walked, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """The engine's round trips as one buy and one sale each, oldest first."""
    rows, times = [], walked.times
    assert times is not None
    for n, (trip, (price, left, coins, paid, pnl, traded)) in enumerate(
        zip(walked.trips, walked.values, strict=True)
    ):
        closed = trip[EXIT] >= 0
        gross = (traded - (left * coins if closed else 0.0)) / price
        charged = (gross - coins) * price
        rows.append((times["entry_time"][n], "buy", price, gross, charged, None))
        if closed:
            rows.append((times["exit_time"][n], "sell", left, coins, paid - charged, pnl))
    return pl.DataFrame(rows, schema=schema, orient="row")


def outside(path: pl.DataFrame | None, times: pl.Series, length: timedelta) -> pl.DataFrame | None:
    """The path without the bars of the candles that close at these times."""
    if path is None or times.is_empty():
        return path
    closes = pl.DataFrame({"closes": times.sort()})
    found = path.sort("begins").join_asof(closes, left_on="begins", right_on="closes", strategy="forward")
    inside = (pl.col("closes") - length <= pl.col("begins")) & (pl.col("begins") < pl.col("closes"))
    return found.filter(~inside.fill_null(False)).drop("closes")


def seen(fills: pl.DataFrame, last: datetime) -> pl.DataFrame:
    """Without fills of the candle that begins at `last`, which the replay has not seen."""
    early = (pl.col("timestamp") > last) | (
        (pl.col("timestamp") == last) & ~pl.col("order_type").is_in(["take_profit", "trailing_stop", "stop"])
    )
    return fills.filter(~early)
