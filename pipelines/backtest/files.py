"""Candle files: CSV (also .gz) and Parquet, read into a checked candle frame."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import polars as pl

from core.errors import BadInput
from core.timeframes import Timeframe
from pipelines.backtest.checks import DataReport, checked, origin_of
from pipelines.backtest.foreign import SUFFIXES, read_foreign
from pipelines.backtest.longer import longer_candles

Labels = Literal["open", "close"]
NUMBERS = ("open", "high", "low", "close", "volume")
CLOSE_TIME_NAMES = ("close_datetime", "close_time")
OPEN_TIME_NAMES = ("open_datetime", "open_time")
ZONE = r"([zZ]|[+-]\d\d:?\d\d)\s*$"
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)


def load_candles(
    path: str | Path, timestamps: Labels = "close", timeframe: str | None = None
) -> pl.DataFrame:
    """A file of candles as a candle frame, checked; see `read_candle_file`."""
    return read_candle_file(path, timestamps, timeframe)[0]


def read_candle_file(
    path: str | Path,
    timestamps: Labels = "close",
    timeframe: str | None = None,
    offset_ms: int = 0,
    aggregate: bool = False,
    latest: datetime | None = None,
) -> tuple[pl.DataFrame, DataReport]:
    """A file with columns timestamp, open, high, low, close, volume, and what had to be mended in it.

    timestamp: ISO 8601 (UTC where it names no zone) or epoch ms; of the close, or of the open with
    timestamps="open". A column close_datetime, close_time, open_datetime or open_time stands in for it.
    timeframe: None takes the shortest distance. offset_ms: how far times that name no zone are ahead of UTC.
    aggregate: the file has shorter candles, of which those of `timeframe` are made. latest: candles that end
    later are refused. BadInput names file, line and problem.
    """
    path = Path(path)
    frame = _read(path)
    named, labels = _time_column(frame, path, timestamps)
    if offset_ms and _names_a_zone(frame[named]):
        raise BadInput("--offset", f"the times of {path} name their own: leave it out")
    times = read_times(frame[named], path) - timedelta(milliseconds=offset_ms)
    frame = frame.select(times.alias("timestamp"), *NUMBERS)
    if frame.is_empty():
        raise BadInput(str(path), "no candles in it")
    if aggregate:
        frame, labels = _aggregated(frame, labels, timeframe, path), "open"
    length = Timeframe.parse(timeframe) if timeframe else timeframe_of(frame["timestamp"], path)
    moved_ms = length.ms if labels == "open" else _early_labels(frame["timestamp"])
    shifted = frame.with_columns(pl.col("timestamp") + pl.lit(timedelta(milliseconds=moved_ms)))
    if latest is not None:
        _refuse_unfinished(shifted["timestamp"], latest, path, aggregate)
    return checked(shifted, length, origin_of(path), moved_ms)


def read_table(path: Path) -> pl.DataFrame:
    """A CSV (all text) or Parquet file as it is; BadInput when it is neither."""
    if not path.is_file():
        raise BadInput(str(path), "is a folder, not a file" if path.is_dir() else "no such file")
    try:
        if path.name.endswith(SUFFIXES):
            return read_foreign(path)
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        return _without_blank_end(pl.read_csv(path, infer_schema_length=0)).rename(str.strip)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(str(path), f"cannot be read as CSV or Parquet: {reason}") from None


def _read(path: Path) -> pl.DataFrame:
    frame = read_table(path)
    missing = [name for name in NUMBERS if name not in frame.columns]
    if missing:
        raise BadInput(str(path), f"no column {', '.join(missing)}; it has {', '.join(frame.columns)}")
    return frame.with_columns(_numbers(frame[name], path) for name in NUMBERS)


def _numbers(raw: pl.Series, path: Path) -> pl.Series:
    # Text that is no number becomes null here and is refused with its line by the checks.
    if raw.dtype == pl.String:
        return raw.str.strip_chars().cast(pl.Float64, strict=False)
    if raw.dtype.is_numeric() or raw.dtype == pl.Null:
        return raw.cast(pl.Float64)
    raise BadInput(str(path), f"{raw.name} is {raw.dtype}: numbers are needed")


def _without_blank_end(frame: pl.DataFrame) -> pl.DataFrame:
    # Only at the end: inside, a blank line is a row that is refused, and line numbers stay right.
    filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series().arg_true()
    return frame.head(int(filled[-1]) + 1 if filled.len() else 0)


def _time_column(frame: pl.DataFrame, path: Path, timestamps: Labels) -> tuple[str, Labels]:
    if "timestamp" in frame.columns:
        return "timestamp", timestamps
    named: dict[str, Labels] = {
        **dict.fromkeys(CLOSE_TIME_NAMES, "close"),
        **dict.fromkeys(OPEN_TIME_NAMES, "open"),
    }
    for name, labels in named.items():
        if name in frame.columns:
            return name, labels
    raise BadInput(str(path), f"no column timestamp; it has {', '.join(frame.columns)}")


def _aggregated(frame: pl.DataFrame, labels: Labels, timeframe: str | None, path: Path) -> pl.DataFrame:
    if timeframe is None:
        raise BadInput("--timeframe", "name that of the candles to be made")
    if labels == "close":
        steps = frame["timestamp"].diff().dt.total_milliseconds()
        step = steps.filter(steps > 0).min() or 0
        shift = timedelta(milliseconds=int(step) - _early_labels(frame["timestamp"]))  # type: ignore[arg-type]
        frame = frame.with_columns(pl.col("timestamp") - shift)
    return longer_candles(frame, Timeframe.parse(timeframe), path)


def _refuse_unfinished(times: pl.Series, latest: datetime, path: Path, aggregated: bool) -> None:
    late = (times > latest).arg_true()
    if not late.len():
        return
    row = int(late[0])
    problem = f"ends at {times[row]:%Y-%m-%dT%H:%M:%SZ}, and it is {latest:%Y-%m-%dT%H:%M:%SZ}"
    if aggregated:
        raise BadInput(str(path), f"the last candle {problem}: leave out the rows of what is not over")
    remedy = "leave out what is not over; where all times are wrong, see --timestamps and --offset"
    raise origin_of(path).error(row, f"the candle {problem}: {remedy}")


def _names_a_zone(raw: pl.Series) -> bool:
    if raw.dtype == pl.String:
        return bool(raw.head(1).str.contains(ZONE).any())
    return isinstance(raw.dtype, pl.Datetime) and raw.dtype.time_zone is not None


def read_times(raw: pl.Series, path: Path) -> pl.Series:
    """Times as people write them, as UTC; BadInput names file and row of one that is none."""
    if raw.dtype == pl.String:
        digits = raw.str.contains(r"^\s*-?\d+(\.0*)?\s*$")
        parsed = _digits(raw, digits, path) if digits.any() else _iso(raw, path)
    elif raw.dtype.is_numeric():
        parsed = _epoch(raw)
    elif isinstance(raw.dtype, pl.Datetime):
        zoned = raw if raw.dtype.time_zone else raw.dt.replace_time_zone("UTC")
        parsed = zoned.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    else:
        raise BadInput(str(path), f"timestamp is {raw.dtype}: ISO 8601 or epoch ms is needed")
    out = (parsed < EARLIEST) | (parsed >= LATEST)
    if out.any():
        row = int(out.arg_true()[0])
        shown = str(raw.slice(row, 1).cast(pl.String).item())[:40]
        raise origin_of(path).error(
            row, f"timestamp {shown} is outside {EARLIEST.year} … {LATEST.year - 1}; numbers are epoch ms"
        )
    return parsed


def _digits(raw: pl.Series, digits: pl.Series, path: Path) -> pl.Series:
    other = (~digits).arg_true()  # a blank one is null, not False, and is refused by the checks
    if other.len():
        raise _unreadable(raw, int(other[0]), path)
    return _epoch(raw.str.strip_chars().cast(pl.Float64))


def _epoch(milliseconds: pl.Series) -> pl.Series:
    # Times far outside would overflow the conversion; they are refused by the caller anyway. A float holds
    # every millisecond of the years that are not.
    bounded = milliseconds.cast(pl.Float64).fill_nan(None).clip(-1e14, 1e14)
    return (bounded.cast(pl.Int64) * 1000).cast(pl.Datetime("us", "UTC"))


def _iso(raw: pl.Series, path: Path) -> pl.Series:
    try:
        zoned = _names_a_zone(raw)
        text = raw if zoned else raw + "Z"
        return text.str.to_datetime(time_unit="us", time_zone="UTC", strict=True)
    except pl.exceptions.PolarsError:
        parsed = [_one_time(text) for text in raw]
    if None in parsed:
        raise _unreadable(raw, parsed.index(None), path)
    return pl.Series("timestamp", parsed, dtype=pl.Datetime("us", "UTC"))


def _unreadable(raw: pl.Series, row: int, path: Path) -> BadInput:
    return origin_of(path).error(row, f"timestamp {raw[row]!r} is neither ISO 8601 nor epoch ms")


def _one_time(text: str | None) -> datetime | None:
    try:
        time = datetime.fromisoformat((text or "").strip())
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def timeframe_of(times: pl.Series, path: Path) -> Timeframe:
    """The timeframe whose length is the shortest distance between those times; BadInput if none is."""
    steps = times.sort().diff().dt.total_milliseconds()
    shortest = steps.filter(steps > 0).min()
    for timeframe in Timeframe:
        if timeframe.ms == shortest:
            return timeframe
    raise BadInput(str(path), f"its candles are no known timeframe apart ({', '.join(Timeframe)}): name one")


def _early_labels(times: pl.Series) -> int:
    # Binance's close time is the last millisecond inside the candle.
    return 1 if (times.dt.epoch("ms") % 1000 == 999).all() else 0
