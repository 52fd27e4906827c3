"""What each host's file said of a bot when it was read last, so that a takeover brings back nothing old."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, empty: every file counts until it was read once."""
    op.create_table(
        "bot_readings",
        sa.Column("bot_id", sa.Integer(), sa.ForeignKey("bots.id"), nullable=False),
        sa.Column("home", sa.Text(), nullable=False, comment="whose file: TCP_HOME/identity"),
        sa.Column("document", JSONB(), nullable=False, comment="what it said, strategy inline"),
        sa.Column("read_at", sa.TIMESTAMP(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("bot_id", "home"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("bot_readings")
