"""Whoever ran a backtest keeps what was learned from it beside its numbers."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("strategy_runs", sa.Column("note", sa.Text, comment="a person's words about the run"))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("strategy_runs", "note")
