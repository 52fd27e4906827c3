"""What the tables have in common: their metadata, money, moments."""

from sqlalchemy import Column, DateTime, MetaData, Numeric, func

metadata = MetaData()
MONEY = Numeric(38, 18)


def moment(name: str, **options: object) -> Column[object]:
    """Column of a moment: timestamptz, UTC."""
    return Column(name, DateTime(timezone=True), **options)  # type: ignore[arg-type]


def created() -> Column[object]:
    """Column of the moment the row was written."""
    return moment("created_at", nullable=False, server_default=func.now())
