"""The last trade of each minute, for symbols whose raw trades are not kept."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "trade_marks",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column(
            "timestamp", sa.DateTime(timezone=True), nullable=False, comment="close time of the minute"
        ),
        sa.Column("trade_id", sa.BigInteger(), nullable=False, comment="the last of the minute"),
        sa.Column("traded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("exchange", "symbol", "timestamp"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("trade_marks")
