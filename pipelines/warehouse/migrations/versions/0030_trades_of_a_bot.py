"""What a bot's trades came to between two times is summed in the index alone: in the table, where all bots'
lie between each other, each of them is on a page of its own."""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

NAME, TABLE, KEY = "trades_bot_timestamp", "trades", ["bot_id", "timestamp"]


def upgrade() -> None:
    """The index of a bot's trades has what is summed of them, too."""
    _replace(["side", "pnl", "fees"])


def downgrade() -> None:
    """Back to the times alone."""
    _replace([])


def _replace(included: list[str]) -> None:
    """The old one goes when the new one is there: trades can be read until then."""
    op.create_index(f"{NAME}_new", TABLE, KEY, postgresql_include=included)
    op.drop_index(NAME, TABLE)
    op.execute(f"ALTER INDEX {NAME}_new RENAME TO {NAME}")
