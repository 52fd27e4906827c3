"""Returns by calendar month."""

import polars as pl


def monthly(equity: pl.DataFrame, cash: float) -> list[tuple[int, list[float | None], float]]:
    """(year, return of each month or None, return of the year), oldest first; months are UTC, and what closes
    at midnight belongs to the month before. equity: timestamp, equity."""
    month = pl.col("timestamp").dt.offset_by("-1us").dt.truncate("1mo").alias("month")
    ends = equity.group_by(month, maintain_order=True).agg(pl.col("equity").last()).sort("month")
    before = ends["equity"].shift(1, fill_value=cash)
    years: dict[int, list[float | None]] = {}
    values: dict[int, float] = {}
    for at, value, base in zip(ends["month"], ends["equity"], before, strict=True):
        months = years.setdefault(at.year, [None] * 12)
        months[at.month - 1] = value / base - 1 if base else 0.0
        values[at.year] = values.get(at.year, 1.0) * (1 + (months[at.month - 1] or 0.0))
    return [(year, months, values[year] - 1) for year, months in years.items()]
