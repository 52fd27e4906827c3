"""What risk limits are measured against is kept with the account, and changes of it by others are counted."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; a null is filled from the snapshots when the bot starts."""
    op.add_column(
        "positions",
        sa.Column(
            "risk",
            JSONB,
            comment="what the risk limits are measured against; null before the first candle",
        ),
    )
    op.add_column(
        "positions",
        sa.Column(
            "revision",
            sa.Integer,
            nullable=False,
            server_default="0",
            comment="changes of the account that its process did not make: a reset of the risk gate, a sale",
        ),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_column("positions", "revision")
    op.drop_column("positions", "risk")
