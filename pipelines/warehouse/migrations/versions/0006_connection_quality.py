"""How good each connection to the exchange was, a row a minute."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "connection_quality",
        sa.Column(
            "minute",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="its begin, wall clock of the daemon",
        ),
        sa.Column("connection", sa.Text(), nullable=False, comment="trades 1, trades 2 …"),
        sa.Column("url", sa.Text(), nullable=False, comment="where it was connected to at the minute's end"),
        sa.Column(
            "latency_p50_ms",
            sa.Double(),
            comment="from the exchange's time of a trade to its arrival",
        ),
        sa.Column("latency_p99_ms", sa.Double()),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.Column("trades", sa.BigInteger(), nullable=False),
        sa.Column("repeated", sa.BigInteger(), nullable=False, comment="trades it had brought before"),
        sa.Column("lost_ids", sa.BigInteger(), nullable=False, comment="trade ids it did not bring"),
        sa.Column("unknown_frames", sa.BigInteger(), nullable=False),
        sa.Column("reconnects", sa.Integer(), nullable=False),
        sa.Column("silences", sa.Integer(), nullable=False),
        sa.Column("clock_offset_ms", sa.BigInteger(), comment="the exchange's clock minus this machine's"),
        sa.PrimaryKeyConstraint("minute", "connection"),
    )


def downgrade() -> None:
    """Drop it, with what is in it."""
    op.drop_table("connection_quality")
