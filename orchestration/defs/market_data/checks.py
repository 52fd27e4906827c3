"""Checks of candles, evaluated in the run that wrote them."""

from collections.abc import Sequence

import dagster as dg

from core.timeframes import Timeframe
from orchestration.days import Stretch

CONTINUOUS = dg.AssetCheckSpec(
    name="candles_are_continuous",
    asset="candle_backfill",
    blocking=True,
    description="Every candle of the fetched days that the exchange has closed is stored.",
)


def continuity(
    database_url: str, timeframe: Timeframe, fetched: Sequence[tuple[Stretch, int]]
) -> dg.AssetCheckResult:
    """Holes in the stored candles of each stretch, up to where its backfill ended (ms)."""
    from pipelines.warehouse.coverage import missing_candles
    from pipelines.warehouse.database import engine

    holes = [
        (stretch.symbol, after, last)
        for stretch, end_ms in fetched
        for after, last in missing_candles(
            engine(database_url), stretch.symbol, timeframe, stretch.start_ms, end_ms
        )
    ]
    return dg.AssetCheckResult(
        check_name=CONTINUOUS.name,
        passed=not holes,
        metadata={
            "holes": len(holes),
            "missing_candles": sum((last - after) // timeframe.ms for _, after, last in holes),
            "first": [
                {"symbol": symbol, "after_ms": after, "last_ms": last} for symbol, after, last in holes[:20]
            ],
        },
    )
