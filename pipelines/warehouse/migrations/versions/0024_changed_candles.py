"""When each candle was written again, so that models count its day again, and indexes on what is new."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, empty: what changed before is not known. Reading the table once, for the indexes."""
    op.add_column(
        "market_data",
        sa.Column(
            "changed_at", sa.TIMESTAMP(timezone=True), comment="when it was written again; null: never"
        ),
    )
    for name in ("created", "changed"):
        op.create_index(f"market_data_{name}_brin", "market_data", [f"{name}_at"], postgresql_using="brin")


def downgrade() -> None:
    """Drop them."""
    for name in ("created", "changed"):
        op.drop_index(f"market_data_{name}_brin", "market_data")
    op.drop_column("market_data", "changed_at")
