"""When each bot began anew, so that time it slept through is told from signals that are missing."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, empty: what was before it is not known."""
    op.create_table(
        "bot_starts",
        sa.Column("bot_id", sa.Integer(), sa.ForeignKey("bots.id"), nullable=False),
        sa.Column(
            "timestamp",
            sa.TIMESTAMP(timezone=True),
            nullable=False,
            comment="the candle it began at, from which no order followed",
        ),
        sa.Column(
            "after_candle",
            sa.TIMESTAMP(timezone=True),
            comment="the last one judged before, what lies between was slept through",
        ),
        sa.PrimaryKeyConstraint("bot_id", "timestamp"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("bot_starts")
