"""Which days the models of bots have to be built for, those with rows that no build saw, and which can be."""

from datetime import date, timedelta

from sqlalchemy import Engine, text

_TODAY = text("SELECT (now() AT TIME ZONE 'UTC')::date")
_NEVER = "NULL::timestamptz"
_BUILT = text("SELECT to_regclass(:name) IS NOT NULL")

# A bot appends: a day is built when its model has come to the day's newest row. Each day is looked at for
# itself, because a build may fail in a day and go on with the next. Label 00:00 belongs to the day before.
# What follows an unseen day was built without it, peaks without its highs for instance: it is built again, up
# to the bot's newest row. Retention leaves days with fewer rows than were built of them, never with newer
# ones. A day costs a step of an index on each side.
_UNSEEN = """
    SELECT min(day.at)::date AS first, max(life.to_at)::date AS last
    FROM bots AS b
    CROSS JOIN LATERAL (
        SELECT (min(timestamp) - interval '1 microsecond') AT TIME ZONE 'UTC' AS from_at,
               (max(timestamp) - interval '1 microsecond') AT TIME ZONE 'UTC' AS to_at
        FROM {source} WHERE bot_id = b.id
    ) AS life
    CROSS JOIN LATERAL
        generate_series(date_trunc('day', life.from_at), life.to_at, interval '1 day') AS day (at)
    CROSS JOIN LATERAL (
        SELECT day.at AT TIME ZONE 'UTC' AS after, (day.at + interval '1 day') AT TIME ZONE 'UTC' AS until
    ) AS bounds
    CROSS JOIN LATERAL (
        SELECT max(timestamp) AS at FROM {source}
        WHERE bot_id = b.id AND timestamp > bounds.after AND timestamp <= bounds.until
    ) AS newest
    WHERE newest.at > coalesce({seen}, '-infinity')
"""
_SEEN = """(
    SELECT max({time}) FROM {model}
    WHERE bot_id = b.id AND day = day.at::date AND {time} > bounds.after AND {time} <= bounds.until
)"""
# A day of which the model was made of more rows than are stored now. Bots that are gone have no days.
_THINNED = """
    SELECT max(kept.day) FROM (
        SELECT bot_id, day, {rows} AS rows FROM {model} JOIN bots AS b ON b.id = bot_id GROUP BY bot_id, day
    ) AS kept CROSS JOIN LATERAL (
        SELECT count(*) AS rows FROM {source} WHERE bot_id = kept.bot_id
           AND timestamp > kept.day::timestamp AT TIME ZONE 'UTC'
           AND timestamp <= (kept.day + 1)::timestamp AT TIME ZONE 'UTC'
    ) AS stored WHERE stored.rows < kept.rows
"""
_HAS_COLUMNS = text("""
    SELECT count(*) = 3 FROM information_schema.columns
    WHERE table_schema || '.' || table_name = :name AND column_name IN ('bot_id', 'day', :counted)
""")
_DETAILED = (
    ("bot_performance", "intermediate.int_equity_curve", "total_value", "count(*)"),
    ("signals", "marts.bot_signals_daily", "judgements", "sum(judgements)"),
)
_SOURCES = (
    ("bot_performance", "intermediate.int_equity_curve", "snapshot_at"),
    ("bot_performance", "intermediate.int_equity_stretches", "last_at"),
    ("signals", "marts.bot_signals_daily", "last_judged_at"),
)


def unbuilt_days(engine: Engine, everything: bool = False) -> tuple[date, date]:
    """The first UTC day with snapshots or signals that are not in their models yet, and the newest day of the
    bots it is of; the server's day when all is built. A model that is not there yet needs every day, and
    `everything` counts none as built."""
    found: list[tuple[date, date]] = []
    with engine.connect() as connection:
        for source, model, model_time in _SOURCES:
            built = not everything and connection.scalar(_BUILT, {"name": model})
            seen = _SEEN.format(model=model, time=model_time) if built else _NEVER
            row = connection.execute(text(_UNSEEN.format(source=source, seen=seen))).one()
            found += [(row.first, row.last)] if row.first is not None else []
        today: date = connection.scalar(_TODAY)
    return min((first for first, _ in found), default=today), max((last for _, last in found), default=today)


def first_whole_day(engine: Engine) -> date | None:
    """The UTC day after the last one of which retention removed snapshots or signals that a model was built
    of; None when there is none. Built anew, models would lose what those days were."""
    thinned: list[date] = []
    with engine.connect() as connection:
        for source, model, counted, rows in _DETAILED:
            if connection.scalar(_HAS_COLUMNS, {"name": model, "counted": counted}):
                query = _THINNED.format(source=source, model=model, rows=rows)
                last = connection.scalar(text(query))
                thinned += [last] if last is not None else []
    return max(thinned) + timedelta(days=1) if thinned else None
