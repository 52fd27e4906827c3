"""The kill switch: while it is on, every order of every bot is vetoed, sells included."""

from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.postgresql import insert

from pipelines.warehouse.tables import controls

KILL_SWITCH = "kill_switch"
PORTFOLIO_LIMITS = "portfolio_limits"


def kill_switch_of(bot_id: int) -> str:
    """Name of the switch of one bot (bots.id)."""
    return f"{KILL_SWITCH}:{bot_id}"


def set_kill_switch(engine: Engine, on: bool, reason: str = "") -> None:
    """Turn the switch for all bots on or off."""
    row = insert(controls).values(name=KILL_SWITCH, value={"on": on, "reason": reason})
    update = {"value": row.excluded.value, "updated_at": func.now()}
    with engine.begin() as connection:
        connection.execute(row.on_conflict_do_update(index_elements=["name"], set_=update))


def kill_switch_is_on(engine: Engine) -> bool:
    """Whether trading is stopped for all bots."""
    with engine.connect() as connection:
        value = connection.execute(select(controls.c.value).where(controls.c.name == KILL_SWITCH)).scalar()
    return bool(value and value.get("on"))
