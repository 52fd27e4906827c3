"""Events of a level are found without reading all of them."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index("system_events_level", "system_events", ["level", "id"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("system_events_level", "system_events")
