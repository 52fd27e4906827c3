"""Frames of any columns, for people and for programs."""

import math
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

SHOWN_ROWS = 100


def frame_document(frame: "pl.DataFrame") -> dict[str, Any]:
    """All rows, for JSON: exact numbers as text, times ISO 8601, and null for what is no finite number."""
    rows = [[_in_json(value) for value in row] for row in frame.iter_rows()]
    return {"columns": frame.columns, "rows": rows}


def frame_text(frame: "pl.DataFrame") -> str:
    """The first hundred rows in columns, and how many there are."""
    shown = [[_text(value) for value in row] for row in frame.head(SHOWN_ROWS).iter_rows()]
    widths = [max(len(cell) for cell in column) for column in zip(frame.columns, *shown, strict=True)]
    right = [dtype.is_numeric() for dtype in frame.dtypes]
    lines = [
        "  ".join(
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in (frame.columns, *shown)
    ]
    rows = f"{frame.height:,} rows" if frame.height != 1 else "1 row"
    more = f", the first {SHOWN_ROWS} shown" if frame.height > SHOWN_ROWS else ""
    return "\n".join([*lines, f"({rows}{more})"])


def _in_json(value: object) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else _plain(value)


def _plain(value: object) -> Any:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _text(value: object) -> str:
    plain = _plain(value)
    return "" if plain is None else str(plain)
