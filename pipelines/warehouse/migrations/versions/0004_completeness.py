"""Holes: who found and closed them, in known states only. Differences: in words, and how they ended."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_MONEY = sa.Numeric(precision=38, scale=18)
_NUMBERS = [
    f"{side}_{name}" for side in ("our", "their") for name in ("open", "high", "low", "close", "volume")
]
_GAP_STATES = "open, refilling, refilled or unfillable"
_EXPLANATIONS = (
    "missing_trades, known_gap, missing_candle, stale, exchange_revision, exchange_row, unexplained"
)
_KINDS = "recent, daily, weekly or longer"


def upgrade() -> None:
    """Add the columns; holes called filled are called refilled."""
    op.execute("UPDATE data_gaps SET state = 'refilled' WHERE state = 'filled'")
    op.alter_column("data_gaps", "state", comment=_GAP_STATES)
    op.add_column(
        "data_gaps",
        sa.Column(
            "detected_by",
            sa.Text(),
            nullable=False,
            server_default="feed",
            comment="feed, start or reconciliation",
        ),
    )
    op.add_column("data_gaps", _time("refilling_at", "the exchange was asked for the first time"))
    op.add_column("data_gaps", sa.Column("closed_by", sa.Text(), comment="refill, start or reconciliation"))
    op.alter_column("data_gaps", "note", comment="why it is closed")
    op.create_check_constraint(
        "data_gaps_state", "data_gaps", "state IN ('open', 'refilling', 'refilled', 'unfillable')"
    )
    for name in _NUMBERS:
        op.alter_column(
            "candle_differences", name, nullable=True, comment="null: that side had no such candle"
        )
    op.alter_column("candle_differences", "explanation", comment=_EXPLANATIONS)
    op.alter_column(
        "candle_differences",
        "resolved_at",
        comment="exchange time at which it was settled; null while it is not",
    )
    op.add_column(
        "candle_differences",
        sa.Column(
            "detail", sa.Text(), comment="a sentence for people: which side has more, which ids were missing"
        ),
    )
    op.add_column(
        "candle_differences",
        sa.Column("resolution", sa.Text(), comment="completed, taken_over, ours_stands or equal_again"),
    )
    op.alter_column("reconciliations", "kind", comment=_KINDS)
    op.alter_column("reconciliations", "through", comment="close time of the newest candle compared")
    op.alter_column("reconciliations", "compared", comment="candles compared so far")


def downgrade() -> None:
    """Drop the columns, and the differences of which one side has no candle."""
    op.drop_column("candle_differences", "resolution")
    op.drop_column("candle_differences", "detail")
    op.execute("DELETE FROM candle_differences WHERE our_open IS NULL OR their_open IS NULL")
    for name in _NUMBERS:
        op.alter_column("candle_differences", name, nullable=False)
    op.drop_constraint("data_gaps_state", "data_gaps")
    for name in ("closed_by", "refilling_at", "detected_by"):
        op.drop_column("data_gaps", name)
    op.execute("UPDATE data_gaps SET state = 'filled' WHERE state = 'refilled'")
    op.execute("UPDATE data_gaps SET state = 'open' WHERE state = 'refilling'")


def _time(name: str, comment: str) -> "sa.Column[object]":
    return sa.Column(name, sa.DateTime(timezone=True), nullable=True, comment=comment)
