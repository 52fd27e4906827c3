"""Bots with all they write, backtests and sweeps, as first released."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = (
    "bots",
    "strategy_runs",
    "backtest_equity",
    "backtest_trades",
    "bot_crashes",
    "bot_performance",
    "positions",
    "signals",
    "strategy_signals",
    "sweep_results",
    "orders",
    "trades",
)


def upgrade() -> None:
    """Create the tables."""
    _create_bots()
    _create_strategy_runs()
    _create_backtest_equity()
    _create_backtest_trades()
    _create_bot_crashes()
    _create_bot_performance()
    _create_positions()
    _create_signals()
    _create_strategy_signals()
    _create_sweep_results()
    _create_orders()
    _create_trades()


def downgrade() -> None:
    """Drop them, with what is in them."""
    for name in reversed(TABLES):
        op.drop_table(name)


def _create_bots() -> None:
    op.create_table(
        "bots",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="bot_id of its config file"),
        sa.Column("strategy_name", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Text(),
            nullable=False,
            comment="desired: active, paused, stopped; error after too many crashes",
        ),
        sa.Column(
            "state",
            sa.Text(),
            server_default="stopped",
            nullable=False,
            comment="actual: starting, running, paused, stopped, crashed, error",
        ),
        sa.Column("config_file", sa.Text(), nullable=True),
        sa.Column("config", postgresql.JSONB(), nullable=False),
        sa.Column(
            "virtual_balance",
            sa.Numeric(precision=38, scale=18),
            nullable=False,
            comment="starting cash, quote currency",
        ),
        sa.Column(
            "current_balance",
            sa.Numeric(precision=38, scale=18),
            nullable=False,
            comment="total value, quote currency",
        ),
        sa.Column("last_heartbeat", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("restarts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )


def _create_strategy_runs() -> None:
    op.create_table(
        "strategy_runs",
        sa.Column("id", sa.Text(), nullable=False, comment="the test_id of URLs"),
        sa.Column("kind", sa.Text(), nullable=False, comment="backtest or sweep"),
        sa.Column("strategy_name", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.Text(), nullable=False),
        sa.Column(
            "parameters",
            postgresql.JSONB(),
            nullable=False,
            comment="parameters of a backtest; the grid of a sweep",
        ),
        sa.Column("start_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.Text(), nullable=False, comment="running, done or failed"),
        sa.Column("candles", sa.BigInteger(), nullable=True),
        sa.Column("initial_cash", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("final_value", sa.Double(), nullable=True),
        sa.Column("fee", sa.Double(), nullable=True),
        sa.Column("slippage", sa.Double(), nullable=True),
        sa.Column("metrics", postgresql.JSONB(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("strategy_runs_created", "strategy_runs", ["created_at"], unique=False)


def _create_backtest_equity() -> None:
    op.create_table(
        "backtest_equity",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("equity", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["strategy_runs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "timestamp"),
    )


def _create_backtest_trades() -> None:
    op.create_table(
        "backtest_trades",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("entry_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entry_price", sa.Double(), nullable=False),
        sa.Column("exit_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("exit_price", sa.Double(), nullable=True),
        sa.Column("quantity", sa.Double(), nullable=False),
        sa.Column("fees", sa.Double(), nullable=False),
        sa.Column("pnl", sa.Double(), nullable=True),
        sa.Column("exit_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["strategy_runs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "n"),
    )


def _create_bot_crashes() -> None:
    op.create_table(
        "bot_crashes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("bot_id", sa.Integer(), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("stack_trace", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["bot_id"],
            ["bots.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_bot_crashes_bot_id"), "bot_crashes", ["bot_id"], unique=False)


def _create_bot_performance() -> None:
    op.create_table(
        "bot_performance",
        sa.Column("bot_id", sa.Integer(), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("total_value", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("cash_balance", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column(
            "crypto_balance",
            sa.Numeric(precision=38, scale=18),
            nullable=False,
            comment="value of the coins held, quote currency",
        ),
        sa.Column("total_trades", sa.Integer(), nullable=False, comment="closed round trips"),
        sa.Column("winning_trades", sa.Integer(), nullable=False),
        sa.Column("total_fees", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.ForeignKeyConstraint(
            ["bot_id"],
            ["bots.id"],
        ),
        sa.PrimaryKeyConstraint("bot_id", "timestamp"),
    )


def _create_positions() -> None:
    op.create_table(
        "positions",
        sa.Column("bot_id", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("cash", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column(
            "quantity", sa.Numeric(precision=38, scale=18), nullable=False, comment="base currency held"
        ),
        sa.Column(
            "cost",
            sa.Numeric(precision=38, scale=18),
            nullable=False,
            comment="quote currency paid for what is held, fees included",
        ),
        sa.Column("realised_pnl", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("fees", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("total_trades", sa.Integer(), server_default="0", nullable=False),
        sa.Column("winning_trades", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "last_candle",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="close of the last candle that was judged",
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["bot_id"],
            ["bots.id"],
        ),
        sa.PrimaryKeyConstraint("bot_id"),
    )


def _create_signals() -> None:
    op.create_table(
        "signals",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("bot_id", sa.Integer(), nullable=False),
        sa.Column(
            "timestamp",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="close of the candle that was judged",
        ),
        sa.Column("signal_type", sa.Text(), nullable=False, comment="buy, sell or hold"),
        sa.Column("price", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("indicators", postgresql.JSONB(), nullable=False),
        sa.Column("latency_ms", sa.Double(), nullable=True, comment="candle published to signal committed"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["bot_id"],
            ["bots.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("bot_id", "timestamp"),
    )


def _create_strategy_signals() -> None:
    op.create_table(
        "strategy_signals",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("signal_type", sa.Text(), nullable=False),
        sa.Column("price", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["strategy_runs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "timestamp"),
    )


def _create_sweep_results() -> None:
    op.create_table(
        "sweep_results",
        sa.Column("sweep_id", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.Text(), nullable=False),
        sa.Column("parameters", postgresql.JSONB(), nullable=False),
        sa.Column("metrics", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(["sweep_id"], ["strategy_runs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sweep_id", "n"),
    )


def _create_orders() -> None:
    op.create_table(
        "orders",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("bot_id", sa.Integer(), nullable=False),
        sa.Column("signal_id", sa.Text(), nullable=True),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False, comment="decision time"),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("order_type", sa.Text(), nullable=False),
        sa.Column("price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("quantity", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("filled_quantity", sa.Numeric(precision=38, scale=18), server_default="0", nullable=False),
        sa.Column("status", sa.Text(), nullable=False, comment="open, filled, cancelled or rejected"),
        sa.Column("reason", sa.Text(), nullable=True, comment="why it was rejected or cancelled"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["bot_id"],
            ["bots.id"],
        ),
        sa.ForeignKeyConstraint(
            ["signal_id"],
            ["signals.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("orders_bot_timestamp", "orders", ["bot_id", "timestamp"], unique=False)


def _create_trades() -> None:
    op.create_table(
        "trades",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("bot_id", sa.Integer(), nullable=False),
        sa.Column("signal_id", sa.Text(), nullable=True),
        sa.Column("order_id", sa.Text(), nullable=True),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False, comment="time of the fill"),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("price", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column(
            "quantity",
            sa.Numeric(precision=38, scale=18),
            nullable=False,
            comment="base currency, before the fee",
        ),
        sa.Column(
            "fees",
            sa.Numeric(precision=38, scale=18),
            nullable=False,
            comment="in quote currency, at the fill price",
        ),
        sa.Column(
            "pnl",
            sa.Numeric(precision=38, scale=18),
            nullable=True,
            comment="realised by this fill, quote currency, all fees deducted; null for a buy",
        ),
        sa.Column(
            "balance_after",
            sa.Numeric(precision=38, scale=18),
            nullable=False,
            comment="cash after the fill, quote currency",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["bot_id"],
            ["bots.id"],
        ),
        sa.ForeignKeyConstraint(
            ["order_id"],
            ["orders.id"],
        ),
        sa.ForeignKeyConstraint(
            ["signal_id"],
            ["signals.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("trades_bot_timestamp", "trades", ["bot_id", "timestamp"], unique=False)
