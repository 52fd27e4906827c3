"""Switches for people: the kill switch of all bots and of each. While one is on, every order is vetoed, sells
included. `kill_switch.switch` also withdraws what waits and sells what is held."""

from sqlalchemy import Connection, Engine, func, select, update
from sqlalchemy.dialects.postgresql import insert

from pipelines.warehouse.tables import bots, controls, positions

KILL_SWITCH = "kill_switch"
PORTFOLIO_LIMITS = "portfolio_limits"


def kill_switch_of(bot_id: int) -> str:
    """Name of the switch of one bot (bots.id)."""
    return f"{KILL_SWITCH}:{bot_id}"


def lock_positions(connection: Connection, bot_id: int | None) -> None:
    """Lock the account of a bot, or of all (None), as everybody does before anything else of a bot. All of
    them in the order of their ids, so that two who do it wait for each other and never for ever."""
    statement = select(positions.c.bot_id).order_by(positions.c.bot_id).with_for_update()
    if bot_id is not None:
        statement = statement.where(positions.c.bot_id == bot_id)
    connection.execute(statement)


def set_kill_switch(
    engine: Engine, on: bool, reason: str = "", bot_id: int | None = None, flatten: bool = False
) -> None:
    """Turn the switch of a bot, or of all, on or off; bots that decide right now read their rows again.

    flatten: kept with it, for whoever trades elsewhere than here
    """
    name = KILL_SWITCH if bot_id is None else kill_switch_of(bot_id)
    row = insert(controls).values(name=name, value={"on": on, "reason": reason, "flatten": flatten})
    changes = {"value": row.excluded.value, "updated_at": func.now()}
    touched = update(positions).values(revision=positions.c.revision + 1)
    with engine.begin() as connection:
        lock_positions(connection, bot_id)
        connection.execute(row.on_conflict_do_update(index_elements=["name"], set_=changes))
        connection.execute(touched if bot_id is None else touched.where(positions.c.bot_id == bot_id))


def kill_switch_is_on(engine: Engine, bot_id: int | None = None) -> bool:
    """Whether trading is stopped for all bots, or by the switch of one."""
    name = KILL_SWITCH if bot_id is None else kill_switch_of(bot_id)
    with engine.connect() as connection:
        value = connection.execute(select(controls.c.value).where(controls.c.name == name)).scalar()
    return bool(value and value.get("on"))


def switched_off_bots(engine: Engine) -> list[str]:
    """Names of the bots whose own switch is on."""
    statement = select(bots.c.id, bots.c.name).order_by(bots.c.name)
    on = select(controls.c.name).where(controls.c.value["on"].as_boolean())
    with engine.connect() as connection:
        switched: set[str] = set(connection.execute(on).scalars())
        return [row.name for row in connection.execute(statement) if kill_switch_of(row.id) in switched]
