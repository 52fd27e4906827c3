"""One number, two definitions: what dbt says of bots and backtests against `core.metrics`."""

import dagster as dg

from orchestration.automation import EVERY_NIGHT
from orchestration.resources import warehouse_url


@dg.asset_check(
    asset=dg.AssetKey(["marts", "bot_risk"]),
    additional_deps=[
        dg.AssetKey(["marts", name])
        for name in (
            "backtest_summary",
            "backtest_versus_live",
            "bot_exposure_daily",
            "bot_leaderboard",
            "bot_trade_statistics",
            "portfolio_daily",
            "strategy_leaderboard",
            "sweep_summary",
            "walk_forward_summary",
        )
    ],
    automation_condition=EVERY_NIGHT,
    pool="dbt",
)
def dbt_and_python_agree() -> dg.AssetCheckResult:
    """Profit, return, win rate, drawdown, Sharpe, exposure and the rest of every bot, of its days, of the
    portfolio and of the leaderboards, calculated anew in Python from the stored snapshots and fills, and what
    the newest backtests, walk-forwards and sweeps said of themselves: equal to 1e-9."""
    from pipelines.validation.two_definitions import compare_definitions
    from pipelines.warehouse.database import engine

    compared = compare_definitions(engine(warehouse_url()))
    rows = [
        dg.TableRecord(
            {"of": found.of, "metric": found.metric, "python": str(found.python), "dbt": str(found.dbt)}
        )
        for found in compared.differences[:50]
    ]
    columns = [dg.TableColumn(name, "string") for name in ("of", "metric", "python", "dbt")]
    return dg.AssetCheckResult(
        passed=not compared.differences,
        metadata={
            "bots": compared.bots,
            "runs": compared.runs,
            "metrics": compared.metrics,
            "differing": len(compared.differences),
            "differences": dg.MetadataValue.table(rows, dg.TableSchema(columns)),
        },
    )
