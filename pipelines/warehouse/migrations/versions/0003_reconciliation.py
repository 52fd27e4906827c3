"""Where our candles differ from the exchange's own, and how far they were compared."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_MONEY = sa.Numeric(precision=38, scale=18)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "candle_differences",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.Text(), nullable=False),
        sa.Column(
            "timestamp", sa.DateTime(timezone=True), nullable=False, comment="close time of the candle"
        ),
        sa.Column(
            "explanation",
            sa.Text(),
            nullable=False,
            comment="known_gap, exchange_revision or unexplained",
        ),
        *(
            sa.Column(f"{side}_{name}", _MONEY, nullable=False)
            for side in ("our", "their")
            for name in ("open", "high", "low", "close", "volume")
        ),
        sa.Column("detected_at", sa.DateTime(timezone=True), nullable=False, comment="exchange time"),
        sa.Column(
            "resolved_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="exchange time at which both were the same again",
        ),
        sa.PrimaryKeyConstraint("exchange", "symbol", "timeframe", "timestamp"),
    )
    op.create_table(
        "reconciliations",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="recent or daily"),
        sa.Column(
            "through",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="close time of the newest minute compared",
        ),
        sa.Column("compared", sa.BigInteger(), nullable=False, comment="minutes compared so far"),
        sa.Column("differing", sa.BigInteger(), nullable=False, comment="of which differed"),
        sa.PrimaryKeyConstraint("exchange", "symbol", "kind"),
    )


def downgrade() -> None:
    """Drop them, with what is in them."""
    op.drop_table("reconciliations")
    op.drop_table("candle_differences")
