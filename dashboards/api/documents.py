"""How rows become answers: exact JSON numbers, ISO times, pages by cursor, CSV or Parquet of the same.

Money keeps all its digits: a price is the JSON number 61828.02, not a float and not text; trailing zeros of
the database's 18 decimals are dropped.
"""

import base64
import binascii
import io
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from typing import Annotated, Any, Literal

import msgspec
import polars as pl
from fastapi import Depends, Query, Response

from core.errors import BadInput
from core.timeframes import EARLIEST, LATEST

Format = Literal["json", "csv", "parquet"]
MAX_LIMIT = 5000
_WIDE = Context(prec=76)
"""A product of two stored amounts has more than the usual 28 digits."""
_UNFIT = re.compile(r"[^\w.-]", re.ASCII)
"""What a header cannot say of a file's name."""
_encoder = msgspec.json.Encoder(decimal_format="number")


def exact(value: Any) -> Any:
    """A value as JSON shows it: plain decimals, UTC times; inside lists and objects too."""
    if isinstance(value, Decimal):
        plain = value.normalize(_WIDE)
        return plain.quantize(Decimal(1), context=_WIDE) if int(plain.as_tuple().exponent) > 0 else plain
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [exact(item) for item in value]
    return value


def answer(document: Any, status: int = 200) -> Response:
    """JSON with exact numbers."""
    return Response(_encoder.encode(exact(document)), status, media_type="application/json")


def plain(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as a client reads them from `answer`: numbers, texts, lists and objects alone."""
    found: list[dict[str, Any]] = msgspec.json.decode(_encoder.encode(exact(rows)))
    return found


def table(
    rows: Sequence[dict[str, Any]], output: Format, name: str, cursor: str | None = None, **more: Any
) -> Response:
    """A page of rows, `{"items": […], "next": cursor or null}` and what else is given, or a file."""
    if output == "json":
        return answer({**more, "items": list(rows), "next": cursor})
    headers = {"Content-Disposition": f'attachment; filename="{_UNFIT.sub("_", name)}.{output}"'}
    if cursor is not None:
        headers["X-Next-Cursor"] = cursor
    frame = pl.DataFrame([_flat(row) for row in rows], infer_schema_length=None)
    if output == "csv":
        return Response(frame.write_csv(), media_type="text/csv; charset=utf-8", headers=headers)
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return Response(buffer.getvalue(), media_type="application/vnd.apache.parquet", headers=headers)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row for a file: decimals as text with all digits, nested values as JSON text, times in ISO 8601."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        plain = exact(value)
        if isinstance(plain, Decimal):
            flat[name] = f"{plain:f}"
        elif isinstance(plain, dict | list):
            flat[name] = _encoder.encode(plain).decode()
        elif isinstance(plain, datetime):
            flat[name] = plain.isoformat().replace("+00:00", "Z")
        elif isinstance(plain, date):
            flat[name] = plain.isoformat()
        else:
            flat[name] = plain
    return flat


def cursor_of(row: dict[str, Any], *names: str) -> str:
    """A position after this row, opaque to clients."""
    packed = msgspec.json.encode([row[name] for name in names])
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def _zoned(kind: type) -> Any:
    """The kind of a cursor's value: a time has its zone, or it would not be comparable with a row's."""
    return Annotated[datetime, msgspec.Meta(tz=True)] if kind is datetime else kind


def read_cursor(cursor: str | None, *kinds: type) -> tuple[Any, ...] | None:
    """The values inside a cursor of the expected kinds (datetime, str, int); BadInput when it is not ours."""
    if cursor is None:
        return None
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        values = msgspec.json.decode(packed, type=tuple[tuple(map(_zoned, kinds))])  # type: ignore[misc]
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise BadInput("cursor", "must be the `next` of an earlier answer") from None
    return tuple(utc(value, "cursor") if isinstance(value, datetime) else value for value in values)


def next_cursor(rows: Sequence[dict[str, Any]], limit: int, *names: str) -> str | None:
    """The cursor behind the last row, or None when the page was not full."""
    return cursor_of(rows[-1], *names) if rows and len(rows) == limit else None


def paged(
    rows: Sequence[dict[str, Any]],
    limit: int,
    cursor: str | None,
    newest_first: bool = False,
    **keys: type,
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of rows that were read whole, in the order of their `keys` (column=kind), and the cursor of the
    next one. A row that has gone meanwhile leaves the pages behind it as they are."""

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in keys)

    ordered = sorted(rows, key=place, reverse=newest_first)
    after = read_cursor(cursor, *keys.values())
    if after is not None:
        ordered = [row for row in ordered if (place(row) < after if newest_first else place(row) > after)]
    page = ordered[:limit]
    return page, cursor_of(page[-1], *keys) if len(ordered) > limit else None


def utc(moment: datetime | None, field: str) -> datetime | None:
    """A time as given by a client; one without zone is UTC. BadInput names the field of one in the first days
    of the year 1 or the last of 9999, which other zones do not have."""
    if moment is None:
        return None
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not EARLIEST <= zoned <= LATEST:
        raise BadInput(field, f"must be from {EARLIEST.date()} to {LATEST.date()}")
    return zoned.astimezone(UTC)


def is_within(moment: datetime, between: tuple[datetime | None, datetime | None]) -> bool:
    """Whether a time is inside, both ends included."""
    first, last = between
    return (first is None or moment >= first) and (last is None or moment <= last)


def _between(
    first: Annotated[datetime | None, Query(alias="from", description="First time, included")] = None,
    last: Annotated[datetime | None, Query(alias="to", description="Last time, included")] = None,
) -> tuple[datetime | None, datetime | None]:
    return utc(first, "from"), utc(last, "to")


Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows of a page")]
Cursor = Annotated[str | None, Query(description="`next` of the page before; of a file X-Next-Cursor")]
Output = Annotated[Format, Query(alias="format", description="json, csv or parquet")]
Between = Annotated[tuple[datetime | None, datetime | None], Depends(_between)]
"""The parameters that every list takes: `limit`, `cursor`, `format`, `from` and `to`."""
