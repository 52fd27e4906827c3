"""Orders that wait are kept whole, and fills that were found after a time down are marked."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_MONEY = sa.Numeric(38, 18)


def upgrade() -> None:
    """Add the columns. Without the index each look for working orders reads all that a bot ever gave."""
    op.add_column(
        "orders", sa.Column("trigger_price", _MONEY, comment="of a limit its price; what sets it off")
    )
    op.add_column("orders", sa.Column("limit_price", _MONEY, comment="of a stop_limit, once it is set off"))
    op.add_column("orders", sa.Column("expires_at", sa.DateTime(timezone=True), comment="null: never"))
    op.add_column("orders", sa.Column("oco", sa.Text, comment="orders with the same name cancel each other"))
    op.add_column("orders", sa.Column("state", JSONB, comment="all of it while it can still be filled"))
    op.add_column(
        "trades",
        sa.Column(
            "recovered",
            sa.Boolean,
            nullable=False,
            server_default="false",
            comment="found by replaying what was missed while the bot was down",
        ),
    )
    op.add_column(
        "positions", sa.Column("matching", JSONB, comment="what waiting orders need to know of past prices")
    )
    op.create_index(
        "orders_working",
        "orders",
        ["bot_id"],
        postgresql_where=sa.text("status IN ('open', 'partially_filled')"),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_index("orders_working", table_name="orders")
    op.drop_column("positions", "matching")
    op.drop_column("trades", "recovered")
    for name in ("state", "oco", "expires_at", "limit_price", "trigger_price"):
        op.drop_column("orders", name)
