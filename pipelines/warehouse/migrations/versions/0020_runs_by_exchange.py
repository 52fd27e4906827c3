"""Runs say whose candles they walked; a purged walk-forward's window has both stretches it was trained on."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

SECOND = ("train_2_start", "train_2_end")


def upgrade() -> None:
    """Add the columns; a sweep has kept its exchange among its parameters."""
    op.add_column("strategy_runs", sa.Column("exchange", sa.Text))
    for name in SECOND:
        op.add_column("walk_forward_windows", sa.Column(name, sa.TIMESTAMP(timezone=True)))
    op.execute("UPDATE strategy_runs SET exchange = parameters ->> 'exchange' WHERE kind = 'sweep'")


def downgrade() -> None:
    """Drop them."""
    for name in SECOND:
        op.drop_column("walk_forward_windows", name)
    op.drop_column("strategy_runs", "exchange")
