"""A fill from the order book is stored with the level it took; an exchange keeps trailing stops."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_KINDS = "market, limit, stop, take_profit or oco"


def upgrade() -> None:
    """Add the columns."""
    op.add_column(
        "trades",
        sa.Column("book", JSONB, comment="the level of the order book that filled it; null: trades did"),
    )
    op.add_column(
        "exchange_orders",
        sa.Column(
            "trail",
            sa.Numeric(38, 18),
            comment="of a trailing stop: distance from the highest price, a fraction",
        ),
    )
    op.alter_column(
        "exchange_orders",
        "kind",
        comment="market, limit, stop, take_profit, oco or trailing_stop",
        existing_comment=_KINDS,
    )


def downgrade() -> None:
    """Drop them."""
    op.alter_column(
        "exchange_orders",
        "kind",
        comment=_KINDS,
        existing_comment="market, limit, stop, take_profit, oco or trailing_stop",
    )
    op.drop_column("exchange_orders", "trail")
    op.drop_column("trades", "book")
