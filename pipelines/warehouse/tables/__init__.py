"""Every table of schema `public`, once. Migrations build them; readers and writers import them.

Prices, sizes and money are NUMERIC(38, 18); times are timestamptz, UTC. `bot_id` is `bots.id`;
the name that people and URLs use is `bots.name`. Ids of signals, orders and trades are text made of
(bot name, candle close in ms, n), so that a retry after a crash writes the same row and never a second one.
"""

from pipelines.warehouse.tables.bots import (
    bot_configs,
    bot_crashes,
    bot_performance,
    bot_readings,
    bot_starts,
    bots,
    orders,
    positions,
    signals,
    trades,
)
from pipelines.warehouse.tables.columns import MONEY, metadata
from pipelines.warehouse.tables.exchange_orders import exchange_balances, exchange_fills, exchange_orders
from pipelines.warehouse.tables.market import (
    candle_differences,
    data_gaps,
    instruments,
    market_data,
    raw_trades,
    reconciliations,
    trade_marks,
)
from pipelines.warehouse.tables.operations import (
    connection_quality,
    controls,
    heartbeats,
    lake_files,
    model_builds,
    system_events,
)
from pipelines.warehouse.tables.runs import (
    backtest_equity,
    backtest_trades,
    strategy_runs,
    strategy_signals,
    sweep_results,
    walk_forward_windows,
)

__all__ = [
    "MONEY",
    "backtest_equity",
    "backtest_trades",
    "bot_configs",
    "bot_crashes",
    "bot_performance",
    "bot_readings",
    "bot_starts",
    "bots",
    "candle_differences",
    "connection_quality",
    "controls",
    "data_gaps",
    "exchange_balances",
    "exchange_fills",
    "exchange_orders",
    "heartbeats",
    "instruments",
    "lake_files",
    "market_data",
    "metadata",
    "model_builds",
    "orders",
    "positions",
    "raw_trades",
    "reconciliations",
    "signals",
    "strategy_runs",
    "strategy_signals",
    "sweep_results",
    "system_events",
    "trade_marks",
    "trades",
    "walk_forward_windows",
]
