"""How far runs can be believed, the market beside their equity, and the windows of walk-forwards."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table."""
    op.alter_column("strategy_runs", "kind", comment="backtest, sweep or walk_forward")
    op.add_column(
        "strategy_runs",
        sa.Column(
            "validation",
            postgresql.JSONB(),
            nullable=True,
            comment="how far a backtest or a walk-forward can be believed",
        ),
    )
    op.add_column(
        "backtest_equity",
        sa.Column("close", sa.Double(), nullable=True, comment="the market's, at the same time"),
    )
    op.create_table(
        "walk_forward_windows",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column(
            "train_start",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="open of the first candle trained on",
        ),
        sa.Column("train_end", sa.DateTime(timezone=True), nullable=False, comment="close of the last"),
        sa.Column("test_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("test_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("parameters", postgresql.JSONB(), nullable=False, comment="the best of the training"),
        sa.Column("train_metrics", postgresql.JSONB(), nullable=False),
        sa.Column("test_metrics", postgresql.JSONB(), nullable=False),
        sa.Column(
            "test_rank",
            sa.Double(),
            nullable=True,
            comment="share of all combinations that did worse in the test",
        ),
        sa.ForeignKeyConstraint(["run_id"], ["strategy_runs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "n"),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("walk_forward_windows")
    op.drop_column("backtest_equity", "close")
    op.drop_column("strategy_runs", "validation")
    op.alter_column("strategy_runs", "kind", comment="backtest or sweep")
