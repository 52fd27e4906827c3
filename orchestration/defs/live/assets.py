"""The tables the daemon writes, as external assets: what lies between the exchange and the models."""

from datetime import timedelta

import dagster as dg

from config.settings import settings
from orchestration.defs.performance.project import source_tables
from orchestration.freshness import kept_fresh

WRITTEN_BY: dict[str, list[str | list[str]]] = {
    "market_data": ["candle_backfill"],
    "raw_trades": ["trade_backfill"],
    "signals": [["public", "market_data"], ["public", "bots"]],
    "trades": [["public", "signals"]],
    "bot_performance": [["public", "trades"]],
    "strategy_runs": ["backtest", "sweeps"],
}
"""What each table grows from, besides the exchange."""

TABLES = tuple(name for _, name, _ in source_tables())

live_tables = [
    dg.AssetSpec(
        key=key,
        deps=[dg.AssetKey(upstream) for upstream in WRITTEN_BY.get(name, [])],
        description=description,
        group_name="live",
        kinds={"postgres"},
        freshness_policy=dg.FreshnessPolicy.time_window(
            fail_window=timedelta(days=1), warn_window=timedelta(minutes=30)
        )
        if name in kept_fresh(settings())
        else None,
    )
    for key, name, description in source_tables()
]
