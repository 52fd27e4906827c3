"""A stretch of time that a query keeps to."""

from datetime import datetime

from sqlalchemy import ColumnElement

Span = tuple[datetime | None, datetime | None]
"""First and last time, both included; None is no limit."""
ALL_TIME: Span = (None, None)


def within(column: ColumnElement[datetime], span: Span) -> list[ColumnElement[bool]]:
    """The conditions that keep `column` inside."""
    first, last = span
    return [*([] if first is None else [column >= first]), *([] if last is None else [column <= last])]
