"""Which files of the lake hold a whole day of trades, as the exchange itself recorded it."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of the files there are nobody knows."""
    op.add_column(
        "lake_files",
        sa.Column(
            "whole",
            sa.Boolean,
            nullable=False,
            server_default="false",
            comment="the exchange's own record of the day is in it",
        ),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_column("lake_files", "whole")
