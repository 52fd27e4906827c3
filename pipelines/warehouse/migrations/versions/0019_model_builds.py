"""By which definition the tables of incremental dbt models were built."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, empty: what was built so far is built anew once."""
    op.create_table(
        "model_builds",
        sa.Column("relation", sa.Text(), nullable=False, comment="schema.table"),
        sa.Column("fingerprint", sa.Text(), nullable=False, comment="hash of all that its rows are made by"),
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("relation"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("model_builds")
