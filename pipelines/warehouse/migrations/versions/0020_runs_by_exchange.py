"""Runs say whose candles they walked; a purged walk-forward's window has both stretches it was trained on."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

SECOND = {
    "train_2_start": "of the second stretch of a purged walk, after its test",
    "train_2_end": None,
}


def upgrade() -> None:
    """Add the columns; a sweep has kept its exchange among its parameters."""
    whose = "whose candles; none is the one in force, as of runs before 0020"
    op.add_column("strategy_runs", sa.Column("exchange", sa.Text, comment=whose))
    for name, comment in SECOND.items():
        op.add_column("walk_forward_windows", sa.Column(name, sa.TIMESTAMP(timezone=True), comment=comment))
    last = "close of the last, before the test of a purged walk"
    op.alter_column("walk_forward_windows", "train_end", comment=last, existing_comment="close of the last")
    op.execute("UPDATE strategy_runs SET exchange = parameters ->> 'exchange' WHERE kind = 'sweep'")


def downgrade() -> None:
    """Drop them."""
    for name in SECOND:
        op.drop_column("walk_forward_windows", name)
    op.drop_column("strategy_runs", "exchange")
