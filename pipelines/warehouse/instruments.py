"""Instruments in Postgres: the exchange's rules for prices and sizes."""

from collections.abc import Sequence

from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.postgresql import insert

from core.instruments import Instrument
from pipelines.warehouse.sql import EXCHANGE
from pipelines.warehouse.tables import instruments

_RULES = ("base", "quote", "tick_size", "lot_size", "min_size", "state")


def upsert_instruments(engine: Engine, rows: Sequence[Instrument]) -> None:
    """Store the rules in force; the older ones of the same symbol are replaced."""
    if not rows:
        return
    values = [
        {"exchange": EXCHANGE, "symbol": row.symbol, **{name: getattr(row, name) for name in _RULES}}
        for row in rows
    ]
    statement = insert(instruments).values(values)
    update = {name: statement.excluded[name] for name in _RULES} | {"updated_at": func.now()}
    with engine.begin() as connection:
        connection.execute(
            statement.on_conflict_do_update(index_elements=["exchange", "symbol"], set_=update)
        )


def read_instruments(engine: Engine) -> dict[str, Instrument]:
    """All stored instruments by symbol."""
    with engine.connect() as connection:
        rows = connection.execute(select(instruments).where(instruments.c.exchange == EXCHANGE)).all()
    return {
        row.symbol: Instrument(
            symbol=row.symbol,
            base=row.base,
            quote=row.quote,
            tick_size=row.tick_size.normalize(),
            lot_size=row.lot_size.normalize(),
            min_size=row.min_size.normalize(),
            state=row.state,
        )
        for row in rows
    }
