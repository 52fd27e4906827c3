"""Backtests, sweeps and walk-forward runs, and what came out of them."""

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from pipelines.warehouse.tables.columns import MONEY, created, metadata, moment

STATES = "running, cancelling, cancelled, done, failed or interrupted"

strategy_runs = Table(
    "strategy_runs",
    metadata,
    Column("id", Text, primary_key=True, comment="the test_id of URLs"),
    Column("kind", Text, nullable=False, comment="backtest, sweep or walk_forward"),
    Column("strategy_name", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("timeframe", Text, nullable=False),
    Column("exchange", Text, comment="whose candles; none is the one in force, as of runs before 0020"),
    Column("parameters", JSONB, nullable=False, comment="parameters of a backtest; the grid of a sweep"),
    moment("start_time"),
    moment("end_time"),
    Column("status", Text, nullable=False, comment=STATES),
    Column("candles", BigInteger),
    Column("initial_cash", MONEY),
    Column("final_value", Double),
    Column("fee", Double),
    Column("slippage", Double),
    Column("metrics", JSONB),
    Column("validation", JSONB, comment="how far a backtest or a walk-forward can be believed"),
    Column("error", Text),
    Column("note", Text, comment="a person's words about the run"),
    created(),
    moment("finished_at"),
    Index("strategy_runs_created", "created_at"),
)

strategy_signals = Table(
    "strategy_signals",
    metadata,
    Column("run_id", ForeignKey("strategy_runs.id", ondelete="CASCADE"), primary_key=True),
    moment("timestamp", primary_key=True),
    Column("signal_type", Text, nullable=False),
    Column("price", Double, nullable=False),
)

backtest_trades = Table(
    "backtest_trades",
    metadata,
    Column("run_id", ForeignKey("strategy_runs.id", ondelete="CASCADE"), primary_key=True),
    Column("n", Integer, primary_key=True),
    moment("entry_time", nullable=False),
    Column("entry_price", Double, nullable=False),
    moment("exit_time"),
    Column("exit_price", Double),
    Column("quantity", Double, nullable=False),
    Column("fees", Double, nullable=False),
    Column("pnl", Double),
    Column("exit_reason", Text),
)

backtest_equity = Table(
    "backtest_equity",
    metadata,
    Column("run_id", ForeignKey("strategy_runs.id", ondelete="CASCADE"), primary_key=True),
    moment("timestamp", primary_key=True),
    Column("equity", Double, nullable=False),
    Column("close", Double, comment="the market's, at the same time"),
)

sweep_results = Table(
    "sweep_results",
    metadata,
    Column("sweep_id", ForeignKey("strategy_runs.id", ondelete="CASCADE"), primary_key=True),
    Column("n", BigInteger, primary_key=True),
    Column("symbol", Text, nullable=False),
    Column("timeframe", Text, nullable=False),
    Column("parameters", JSONB, nullable=False),
    Column("metrics", JSONB, nullable=False),
)

walk_forward_windows = Table(
    "walk_forward_windows",
    metadata,
    Column("run_id", ForeignKey("strategy_runs.id", ondelete="CASCADE"), primary_key=True),
    Column("n", Integer, primary_key=True),
    moment("train_start", nullable=False, comment="open of the first candle trained on"),
    moment("train_end", nullable=False, comment="close of the last, before the test of a purged walk"),
    moment("train_2_start", comment="of the second stretch of a purged walk, after its test"),
    moment("train_2_end"),
    moment("test_start", nullable=False),
    moment("test_end", nullable=False),
    Column("parameters", JSONB, nullable=False, comment="the best of the training"),
    Column("train_metrics", JSONB, nullable=False),
    Column("test_metrics", JSONB, nullable=False),
    Column("test_rank", Double, comment="share of all combinations that did worse in the test"),
)
