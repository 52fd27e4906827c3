"""Where TimescaleDB is, it keeps market_data and raw_trades of a new database.

A database that holds anything stays as it is: rewriting its rows would keep readers and writers away for as
long as that takes.
"""

from alembic import op
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# Only a server that preloads the extension knows its settings.
_PRELOADED = text("""
    SELECT current_setting('timescaledb.max_background_workers', true) IS NOT NULL
       AND EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb')
""")
_NEW = text("""
    SELECT NOT EXISTS (SELECT 1 FROM raw_trades) AND NOT EXISTS (SELECT 1 FROM market_data)
       AND EXISTS (SELECT 1 FROM pg_partitioned_table WHERE partrelid = CAST('raw_trades' AS regclass))
""")
_REFUSED = ("42501", "2BP01")
"""The user may not create the extension; something, a view perhaps, is made of the table."""
# A partitioned table cannot become a hypertable: it is made again. Of its unique key the time must be a part.
_STEPS = (
    "CREATE EXTENSION IF NOT EXISTS timescaledb",
    "ALTER TABLE raw_trades RENAME TO raw_trades_native",
    "CREATE TABLE raw_trades (LIKE raw_trades_native INCLUDING DEFAULTS INCLUDING COMMENTS)",
    "DROP TABLE raw_trades_native",
    "ALTER TABLE raw_trades ADD PRIMARY KEY (exchange, symbol, trade_id, timestamp)",
    "CREATE INDEX raw_trades_timestamp_brin ON raw_trades USING brin (timestamp)",
    """SELECT create_hypertable('raw_trades', 'timestamp', chunk_time_interval => interval '1 day',
                                create_default_indexes => false)""",
    """SELECT create_hypertable('market_data', 'timestamp', chunk_time_interval => interval '30 days',
                                create_default_indexes => false)""",
)


def upgrade() -> None:
    """Make the two tables hypertables, all or nothing."""
    connection = op.get_bind()
    if not (connection.scalar(_PRELOADED) and connection.scalar(_NEW)):
        return
    try:
        with connection.begin_nested():
            _convert(connection)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) not in _REFUSED:
            raise


def downgrade() -> None:
    """A hypertable stays one: what came before works on it too."""


def _convert(connection: Connection) -> None:
    for statement in _STEPS:
        connection.execute(text(statement))
