"""Every configuration that a bot ever had, and bots that were deleted."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; what each bot has now is its version 1."""
    op.add_column("bots", sa.Column("config_version", sa.Integer, nullable=False, server_default="1"))
    op.add_column(
        "bots",
        sa.Column(
            "deleted_at",
            sa.DateTime(timezone=True),
            comment="set: the bot is gone from lists, its history stays",
        ),
    )
    op.create_table(
        "bot_configs",
        sa.Column("bot_id", sa.Integer, sa.ForeignKey("bots.id"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("origin", sa.Text, nullable=False, comment="file, cli or api"),
        sa.Column("document", JSONB, nullable=False, comment="complete: strategy inline, defaults filled in"),
        sa.Column(
            "applied_at",
            sa.DateTime(timezone=True),
            comment="when a process of the bot first took it over; null: not yet",
        ),
        sa.Column(
            "after_candle",
            sa.DateTime(timezone=True),
            comment="last candle judged before that; null: none",
        ),
    )
    op.execute(
        "INSERT INTO bot_configs (bot_id, version, created_at, origin, document)"
        " SELECT id, 1, created_at, 'file', config FROM bots"
    )


def downgrade() -> None:
    """Drop both; deleted bots come back stopped, as their status says."""
    op.drop_table("bot_configs")
    op.drop_column("bots", "deleted_at")
    op.drop_column("bots", "config_version")
