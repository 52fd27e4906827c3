"""Candle files in the shapes of others: JSON of Coinbase's API, zips of LEAN."""

import gzip
import io
import re
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from core.errors import BadInput

SUFFIXES = (".json", ".json.gz", ".zip")
NUMBERS = ("open", "high", "low", "close", "volume")
OPEN_TIME = "open_time"

_LEAN_DAY = re.compile(r"(?<!\d)(\d{8})(?!\d)")


def read_foreign(path: Path) -> pl.DataFrame:
    """The table of a .json, .json.gz or .zip file, all text, with `open_time` in ms or columns of its own.

    JSON: a list of candles, or an object whose only list it is; `start` is the open in seconds (Coinbase).
    zip: one CSV; without a header it is LEAN's: ms since midnight of the day in its name, open, high, low,
    close, volume. BadInput for anything else.
    """
    try:
        return _zipped(path) if path.suffix == ".zip" else _json(path)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, UnicodeDecodeError) as error:
        raise BadInput(str(path), f"is damaged: {error}") from None


def _json(path: Path) -> pl.DataFrame:
    raw = path.read_bytes()
    try:
        document = msgspec.json.decode(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    except msgspec.DecodeError as error:
        raise BadInput(str(path), f"is not JSON: {error}") from None
    if isinstance(document, dict):
        lists = [value for value in document.values() if isinstance(value, list)]
        document = lists[0] if len(lists) == 1 else None
    if not isinstance(document, list) or not all(isinstance(row, dict) for row in document):
        raise BadInput(str(path), "is not a list of candles, nor an object with one such list")
    names = dict.fromkeys(name for row in document for name in row)
    frame = pl.DataFrame(
        {name: [_text(row.get(name)) for row in document] for name in names},
        schema=dict.fromkeys(names, pl.String),
    )
    if "start" in frame.columns and "timestamp" not in frame.columns:
        seconds = pl.col("start").str.strip_chars().cast(pl.Int64, strict=False)
        return frame.with_columns((seconds * 1000).cast(pl.String).alias(OPEN_TIME)).drop("start")
    return frame


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _zipped(path: Path) -> pl.DataFrame:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
        if len(names) != 1:
            raise BadInput(str(path), f"{len(names)} CSV files in the zip, 1 expected")
        text = archive.read(names[0])
    first = text.partition(b"\n")[0]
    if any(letter.isalpha() for letter in first.decode()):
        return pl.read_csv(io.BytesIO(text), infer_schema_length=0)
    day = _LEAN_DAY.search(names[0]) or _LEAN_DAY.search(path.name)
    if day is None or len(first.split(b",")) != 1 + len(NUMBERS):
        raise BadInput(str(path), f"{names[0]} has neither a header nor LEAN's columns and a day in its name")
    try:
        midnight = datetime.strptime(day[1], "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        raise BadInput(str(path), f"{day[1]} in {names[0]} is not a day") from None
    frame = pl.read_csv(
        io.BytesIO(text), has_header=False, new_columns=[OPEN_TIME, *NUMBERS], infer_schema_length=0
    )
    offset = int(midnight.timestamp() * 1000)
    since = pl.col(OPEN_TIME).str.strip_chars().cast(pl.Int64, strict=False)
    return frame.with_columns((since + offset).cast(pl.String))
