"""Holes that are not filled and differences that are not settled are found without reading all that ever
were; both also by when they were found."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

PARTIAL = (
    ("data_gaps_unfilled", "data_gaps", "state <> 'refilled'"),
    ("candle_differences_open", "candle_differences", "resolved_at IS NULL"),
)
FOUND = (
    ("data_gaps_detected", "data_gaps", ["detected_at", "symbol", "first_id"]),
    ("candle_differences_detected", "candle_differences", ["detected_at"]),
)


def upgrade() -> None:
    """Add the indexes."""
    for name, table, condition in PARTIAL:
        op.create_index(name, table, ["exchange", "symbol"], postgresql_where=sa.text(condition))
    for name, table, columns in FOUND:
        op.create_index(name, table, columns)


def downgrade() -> None:
    """Drop them."""
    for name, table, _ in (*PARTIAL, *FOUND):
        op.drop_index(name, table)
