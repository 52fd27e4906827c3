"""History of the exchange into Postgres, a day and a symbol a partition.

The bodies import what they call: polars, aiohttp and the database driver stay out of the load of definitions.
"""

from typing import Any, Literal

import dagster as dg
from pydantic import Field

from config.settings import settings
from core.timeframes import Timeframe
from orchestration.days import Stretch, stretches
from orchestration.defs.market_data.checks import (
    CONTINUOUS,
    NO_LONG_SILENCE,
    RECONCILED,
    WHOLE_DAYS,
    continuity,
    no_long_silence,
    reconciliation,
    whole_days,
)
from orchestration.defs.market_data.partitions import DAY_BY_SYMBOL, days_and_symbols
from orchestration.failures import OUTAGE_RETRIES, mistakes_fail_at_once
from orchestration.pictures import curve
from orchestration.progress import told
from orchestration.resources import page_url, warehouse_url

PICTURES = 6
"""Of a run with more stretches only the first ones are drawn."""


class CandleBackfillConfig(dg.Config):
    """What to fetch; the days and symbols are the partitions."""

    timeframe: str = Field("1m", description="1m, 5m, 15m, 1h, 4h or 1d")


@dg.asset(
    partitions_def=DAY_BY_SYMBOL,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[CONTINUOUS, WHOLE_DAYS, NO_LONG_SILENCE],
    group_name="market_data",
    kinds={"python", "postgres"},
    pool="exchange",
    retry_policy=OUTAGE_RETRIES,
)
def candle_backfill(context: dg.AssetExecutionContext, config: CandleBackfillConfig) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Candles of the exchange's history into market_data; what is stored already is not fetched again."""
    with mistakes_fail_at_once():
        timeframe = Timeframe.parse(config.timeframe)
        database_url = warehouse_url()
        fetched = [
            _fetch(context, "candles", stretch, timeframe) for stretch in stretches(days_and_symbols(context))
        ]
    ends = [(stretch, end_ms) for stretch, end_ms, *_ in fetched]
    return dg.MaterializeResult(
        metadata={
            **_totals(fetched),
            "timeframe": timeframe.value,
            **_closes(database_url, timeframe, ends),
        },
        check_results=[
            continuity(database_url, timeframe, ends),
            whole_days(database_url, timeframe, ends),
            no_long_silence(database_url, ends),
        ],
    )


@dg.asset(
    partitions_def=DAY_BY_SYMBOL,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[RECONCILED],
    group_name="market_data",
    kinds={"python", "postgres"},
    pool="exchange",
    retry_policy=OUTAGE_RETRIES,
)
def trade_backfill(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Trades of the exchange's last three months into raw_trades, page by page (a busy day takes minutes)."""
    with mistakes_fail_at_once():
        database_url = warehouse_url()
        fetched = [
            _fetch(context, "trades", stretch, None) for stretch in stretches(days_and_symbols(context))
        ]
    ends = [(stretch, end_ms) for stretch, end_ms, *_ in fetched]
    return dg.MaterializeResult(metadata=_totals(fetched), check_results=[reconciliation(database_url, ends)])


def _fetch(
    context: dg.AssetExecutionContext,
    kind: Literal["candles", "trades"],
    stretch: Stretch,
    timeframe: Timeframe | None,
) -> tuple[Stretch, int, int, int]:
    """One stretch: itself, where it ended (ms), rows written, rows the exchange lacks. Logs its progress."""
    from pipelines.backfill.run import run_backfill
    from pipelines.warehouse.sql import to_datetime

    report = run_backfill(
        settings(),
        kind,
        stretch.symbol,
        timeframe,
        stretch.start_ms,
        stretch.end_ms,
        on_progress=told(context, stretch.symbol),
    )
    what = f"{stretch.symbol} {stretch.first} to {stretch.last}"
    context.log.info(f"{what}: {report.rows} rows written")
    if report.begin_ms is not None:
        context.log.warning(
            f"{what}: the exchange keeps no trades from before {to_datetime(report.begin_ms)}"
        )
    return stretch, report.end_ms, report.rows, report.missing


def _totals(fetched: list[tuple[Stretch, int, int, int]]) -> dict[str, dg.MetadataValue[Any]]:
    return {
        "dagster/row_count": dg.MetadataValue.int(sum(rows for _, _, rows, _ in fetched)),
        "missing_at_the_exchange": dg.MetadataValue.int(sum(missing for *_, missing in fetched)),
        "page": dg.MetadataValue.url(page_url(settings(), "/data")),
        "symbol_days": dg.MetadataValue.int(sum(stretch.days for stretch, *_ in fetched)),
    }


def _closes(
    database_url: str, timeframe: Timeframe, fetched: list[tuple[Stretch, int]]
) -> dict[str, dg.MetadataValue[Any]]:
    """A picture of the market of each stretch, up to where its backfill ended (ms)."""
    from pipelines.warehouse.candles import read_candles
    from pipelines.warehouse.database import engine

    pictures = {}
    for stretch, end_ms in fetched[:PICTURES]:
        start_ms = stretch.start_ms + timeframe.ms
        candles = read_candles(engine(database_url), stretch.symbol, timeframe.value, start_ms, end_ms)
        if candles.height:
            pictures[f"{stretch.symbol} from {stretch.first}"] = curve(candles["close"].to_list(), "closes")
    return pictures
