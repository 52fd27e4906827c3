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
    "orders": [["public", "signals"]],
    "trades": [["public", "orders"]],
    "bot_configs": [["public", "bots"]],
    "bot_crashes": [["public", "bots"]],
    "bot_performance": [["public", "trades"]],
    "positions": [["public", "trades"]],
    "data_gaps": ["trade_backfill"],
    "candle_differences": [["public", "market_data"]],
    "strategy_runs": ["backtest", "sweeps", "walk_forward"],
    "backtest_equity": ["backtest", "walk_forward"],
    "backtest_trades": ["backtest", "walk_forward"],
    "sweep_results": ["sweeps"],
    "walk_forward_windows": ["walk_forward"],
    "lake_files": ["raw_trade_archive", "bulk_trades"],
}
"""What each table grows from, besides the exchange."""

REPORTED = (
    "bots",
    "bot_performance",
    "trades",
    "signals",
    "market_data",
    "raw_trades",
    "data_gaps",
    "candle_differences",
)
"""Tables of the daemon that the models read: the heartbeat sensor reports their growth. Those of runs are
reported by `finished_runs`."""

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
