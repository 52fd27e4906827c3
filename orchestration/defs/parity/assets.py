"""Does every bot do what a backtest says?"""

import json

import dagster as dg
from pydantic import Field

from config.settings import settings
from orchestration.automation import FRESH_EVERY_NIGHT
from orchestration.defs.parity.checks import EQUAL, equality
from orchestration.resources import page_url, warehouse_url

DAY_MS = 86_400_000


class ParityConfig(dg.Config):
    """Over which time to compare."""

    days: int = Field(
        1,
        ge=1,
        le=3_650,
        description="Days before the newest candle that a bot judged, by the exchange's clock",
    )


@dg.asset(
    deps=[dg.AssetKey(["public", name]) for name in ("market_data", "signals", "trades", "bot_performance")],
    check_specs=[EQUAL],
    group_name="parity",
    freshness_policy=FRESH_EVERY_NIGHT,
    kinds={"python", "postgres"},
)
def bot_parity(context: dg.AssetExecutionContext, config: ParityConfig) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Each bot's stored life, replayed by the backtest engine over the stored candles and laid beside it."""
    from pipelines.backtest.all_parity import check_bots
    from pipelines.warehouse.bot_history import last_judged_ms
    from pipelines.warehouse.database import engine

    url = warehouse_url()
    newest_ms = last_judged_ms(engine(url))
    compared = [] if newest_ms is None else check_bots(url, newest_ms - config.days * DAY_MS, newest_ms)
    rows = [one.row() for one in compared]
    for row in rows:
        context.log.info(f"{row['bot']}: {row['result']}")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(rows),
            "differing": sum(one.differs for one in compared),
            "not_compared": sum(one.report is None for one in compared),
            "page": dg.MetadataValue.url(page_url(settings(), "/bots")),
            "bots": dg.MetadataValue.json(json.loads(json.dumps(rows))),
        },
        check_results=[equality(compared)],
    )
