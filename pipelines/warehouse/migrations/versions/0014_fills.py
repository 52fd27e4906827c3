"""Fills are counted as they are stored, not when they are shown; differing candles are found by time.

The comments of some columns follow the states that there are by now.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# Here and not in the code that stores fills, so that no way of storing or deleting one can miss it.
_COUNT = """
    CREATE FUNCTION count_fills() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE positions AS p
        SET fills = p.fills + CASE TG_OP WHEN 'INSERT' THEN changed.fills ELSE -changed.fills END
        FROM (SELECT bot_id, count(*) AS fills FROM changed_trades GROUP BY bot_id) AS changed
        WHERE p.bot_id = changed.bot_id;
        RETURN NULL;
    END $$
"""

_COMMENTS = (
    (
        "orders",
        "status",
        "open, filled, cancelled or rejected",
        "open, partially_filled, filled, cancelled, expired or rejected",
    ),
    (
        "orders",
        "reason",
        "why it was rejected or cancelled",
        "why it was rejected or cancelled, or what a sale without a signal follows",
    ),
    ("strategy_runs", "status", "running, done or failed", "running, done, failed or interrupted"),
)


def upgrade() -> None:
    """Add the column and count what there is; keep it by trigger. Add the index and the comments."""
    op.add_column(
        "positions",
        sa.Column(
            "fills", sa.BigInteger, nullable=False, server_default="0", comment="rows of trades, by trigger"
        ),
    )
    op.execute(
        "UPDATE positions SET fills = (SELECT count(*) FROM trades t WHERE t.bot_id = positions.bot_id)"
    )
    op.execute(_COUNT)
    for event, rows in (("INSERT", "NEW"), ("DELETE", "OLD")):
        op.execute(
            f"CREATE TRIGGER count_fills_{event.lower()} AFTER {event} ON trades "
            f"REFERENCING {rows} TABLE AS changed_trades FOR EACH STATEMENT EXECUTE FUNCTION count_fills()"
        )
    op.create_index(
        "candle_differences_timestamp", "candle_differences", ["exchange", "timestamp", "symbol", "timeframe"]
    )
    for table, column, old, new in _COMMENTS:
        op.alter_column(table, column, comment=new, existing_comment=old)


def downgrade() -> None:
    """Drop them, and put the comments back."""
    for table, column, old, new in _COMMENTS:
        op.alter_column(table, column, comment=old, existing_comment=new)
    op.drop_index("candle_differences_timestamp", "candle_differences")
    for event in ("insert", "delete"):
        op.execute(f"DROP TRIGGER count_fills_{event} ON trades")
    op.execute("DROP FUNCTION count_fills")
    op.drop_column("positions", "fills")
