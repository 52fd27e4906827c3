"""What is wrong with a running stack, in a few small queries."""

import msgspec
from sqlalchemy import Engine, text

from pipelines.warehouse.controls import kill_switch_is_on, switched_off_bots

_BOTS = text("SELECT name, last_error FROM bots WHERE status = 'error' AND deleted_at IS NULL ORDER BY name")
_GAPS = text("SELECT count(*) FROM data_gaps WHERE state IN ('open', 'refilling')")
_ERRORS = text("""
    SELECT count(*) AS number, (array_agg(component || ': ' || message ORDER BY id DESC))[1] AS last
    FROM system_events WHERE level = 'error' AND timestamp > now() - interval '1 day'
""")
_DIFFERENCES = text("SELECT count(*) FROM candle_differences WHERE resolved_at IS NULL")


class Conditions(msgspec.Struct, frozen=True):
    """errors: events of the last 24 hours; switched_off: bots whose own kill switch is on."""

    bots_given_up: dict[str, str]
    open_gaps: int
    open_differences: int
    errors: int
    last_error: str | None
    kill_switch: bool
    switched_off: list[str]


def conditions(engine: Engine) -> Conditions:
    """Ask all of it."""
    with engine.connect() as connection:
        given_up = {row.name: row.last_error or "no reason stored" for row in connection.execute(_BOTS)}
        gaps = int(connection.scalar(_GAPS) or 0)
        differences = int(connection.scalar(_DIFFERENCES) or 0)
        errors = connection.execute(_ERRORS).one()
    return Conditions(
        given_up,
        gaps,
        differences,
        int(errors.number),
        errors.last,
        kill_switch_is_on(engine),
        switched_off_bots(engine),
    )
