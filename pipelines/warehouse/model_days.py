"""Which days the models of bots have to be built for: those with rows that the last build did not see."""

from datetime import date

from sqlalchemy import Engine, text

_TODAY = text("SELECT (now() AT TIME ZONE 'UTC')::date")
_NEVER = "NULL::timestamptz"
_BUILT = text("SELECT to_regclass(:name) IS NOT NULL")

# A bot appends: whatever is newer than what was built is new, and nothing else is. Each side is one step of
# the index a bot. Label 00:00 belongs to the day before; what comes after it is of the day it begins.
_UNSEEN = """
    SELECT coalesce(seen.at, first.at - interval '1 microsecond') AT TIME ZONE 'UTC' AS from_at,
           (last.at - interval '1 microsecond') AT TIME ZONE 'UTC' AS to_at
    FROM bots AS b
    CROSS JOIN LATERAL (SELECT min(timestamp) AS at FROM {source} WHERE bot_id = b.id) AS first
    CROSS JOIN LATERAL (SELECT max(timestamp) AS at FROM {source} WHERE bot_id = b.id) AS last
    CROSS JOIN LATERAL (SELECT {seen} AS at) AS seen
    WHERE last.at IS NOT NULL AND last.at IS DISTINCT FROM seen.at
"""
_SOURCES = (
    ("bot_performance", "intermediate.int_equity_curve", "snapshot_at"),
    ("bot_performance", "intermediate.int_equity_stretches", "last_at"),
    ("signals", "marts.bot_signals_daily", "last_judged_at"),
)


def unbuilt_days(engine: Engine, everything: bool = False) -> tuple[date, date]:
    """The first and the last UTC day with snapshots or signals that are not in their models yet; the server's
    day when all is built. A model that is not there yet needs every day, and `everything` counts none as
    built."""
    found: list[tuple[date, date]] = []
    with engine.connect() as connection:
        for source, model, model_time in _SOURCES:
            built = not everything and connection.scalar(_BUILT, {"name": model})
            seen = f"(SELECT max({model_time}) FROM {model} WHERE bot_id = b.id)" if built else _NEVER
            query = text(_UNSEEN.format(source=source, seen=seen))
            found += [(row.from_at.date(), row.to_at.date()) for row in connection.execute(query)]
        today: date = connection.scalar(_TODAY)
    return min((first for first, _ in found), default=today), max((last for _, last in found), default=today)
