"""Candles from outside are checked before a number is made of them: refused by name, or repaired and told."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from core.errors import BadInput
from core.timeframes import Timeframe

PRICES = ("open", "high", "low", "close")
LEAST_PRICE, MOST = 1e-18, 1e18
"""What the database's NUMERIC(38, 18) keeps; a smaller price would become zero in it."""


@dataclass(frozen=True)
class DataReport:
    """What was found and mended. None of it changes a price.

    duplicates: rows that repeated another one exactly, dropped · unsorted: rows that came before their time,
    sorted in · missing: candles absent inside the stretch, left absent · gaps: runs of them ·
    labels_moved_ms: added to each time (Binance labels a candle 1 ms before its end)
    """

    rows: int
    duplicates: int = 0
    unsorted: int = 0
    missing: int = 0
    gaps: int = 0
    labels_moved_ms: int = 0

    def to_document(self) -> dict[str, int]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Origin:
    """Where rows came from, for messages: the first row is number `first` of what `unit` counts."""

    name: str
    unit: str = "row"
    first: int = 1

    def error(self, row: int, message: str) -> BadInput:
        """The message with file and row."""
        return BadInput(self.name, f"{self.unit} {row + self.first}: {message}")


def checked(
    candles: pl.DataFrame, timeframe: Timeframe, origin: Origin, moved_ms: int = 0
) -> tuple[pl.DataFrame, DataReport]:
    """The candles in order and without repeats, and what was mended.

    BadInput names the first row with a missing or infinite number, a price that is not positive, a negative
    volume, an open or close outside low … high, a time off the timeframe's grid, or two different candles
    for one time.
    """
    refuse_values(candles, origin)
    if _unbroken(candles["timestamp"], timeframe):
        return candles, DataReport(candles.height, labels_moved_ms=moved_ms)
    _refuse_times(candles, timeframe, origin)
    numbered, unsorted, duplicates = candles, 0, 0
    steps = np.diff(candles["timestamp"].to_physical().to_numpy())
    if steps.size and steps.min() <= 0:
        unsorted, numbered = int((steps < 0).sum()), candles.with_row_index("row")
        numbered = numbered.sort("timestamp", maintain_order=True)
        duplicates = int((np.diff(numbered["timestamp"].to_physical().to_numpy()) == 0).sum())
        if duplicates:
            numbered = _without_repeats(numbered, origin)
        numbered = numbered.drop("row")
    missing, gaps = holes(numbered["timestamp"], timeframe)
    if gaps > 1 and gaps == numbered.height - 1:  # no two neighbours: a longer timeframe's candles
        step = numbered["timestamp"].diff().drop_nulls().min()
        raise BadInput("timeframe", f"{origin.name} has candles {step!s} apart, not {timeframe}")
    return numbered, DataReport(candles.height, duplicates, unsorted, missing, gaps, moved_ms)


def _unbroken(times: pl.Series, timeframe: Timeframe) -> bool:
    """Whether each candle follows the one before, on the timeframe's grid, as most do."""
    if times.null_count() or not times.len():
        return False
    closed, length = times.dt.epoch("us").to_numpy(), timeframe.ms * 1000
    return bool(closed[0] % length == 0 and (closed[1:] - closed[:-1] == length).all())


def holes(times: pl.Series, timeframe: Timeframe) -> tuple[int, int]:
    """(candles missing inside the stretch, runs of them); the times are sorted."""
    absent = np.diff(times.dt.epoch("ms").to_numpy()) // timeframe.ms - 1
    return int(absent.sum()), int(np.count_nonzero(absent > 0))


def refuse_values(candles: pl.DataFrame, origin: Origin) -> None:
    """BadInput for the first row with a number that no candle has."""
    if _fine(candles):
        return
    named = (*PRICES, "volume")
    low, high = pl.col("low"), pl.col("high")
    problems = [
        *((~pl.col(name).is_finite().fill_null(False), f"{name} is not a number") for name in named),
        *((pl.col(name) <= 0, f"{name} is not above zero") for name in PRICES),
        *((pl.col(name) < LEAST_PRICE, f"{name} is below {LEAST_PRICE:g}") for name in PRICES),
        *((pl.col(name) > MOST, f"{name} is above {MOST:g}") for name in named),
        (pl.col("volume") < 0, "volume is below zero"),
        (high < low, "high is below low"),
        ((pl.col("open") < low) | (pl.col("open") > high), "open is outside low … high"),
        ((pl.col("close") < low) | (pl.col("close") > high), "close is outside low … high"),
    ]
    wrong = candles.select(flag.arg_true().first().alias(str(n)) for n, (flag, _) in enumerate(problems)).row(
        0
    )
    found = [(row, n) for n, row in enumerate(wrong) if row is not None]
    if found:
        row, n = min(found)
        values = candles.row(row, named=True)
        shown = ", ".join(f"{name} {values[name]}" for name in named)
        raise origin.error(row, f"{problems[n][1]} ({shown})")


def _fine(candles: pl.DataFrame) -> bool:
    """Whether no row has a wrong value, all at once; NaN, which a missing one is too, fails every
    comparison. Which row is wrong, and how, takes longer to say."""
    open_, high, low, close, volume = (candles[name].to_numpy() for name in (*PRICES, "volume"))
    inside = (low <= open_) & (open_ <= high) & (low <= close) & (close <= high)
    usual = (low >= LEAST_PRICE) & (high <= MOST) & (volume >= 0) & (volume <= MOST)
    return bool((inside & usual).all())


def _refuse_times(candles: pl.DataFrame, timeframe: Timeframe, origin: Origin) -> None:
    times = candles["timestamp"]
    if times.null_count():
        raise origin.error(int(times.is_null().arg_true()[0]), "timestamp is missing")
    off = np.flatnonzero(times.dt.epoch("us").to_numpy() % (timeframe.ms * 1000))
    if off.size:
        row = int(off[0])
        raise origin.error(
            row,
            f"{times[row].isoformat()} is not the boundary of a {timeframe} candle; check the timeframe and "
            "whether times are those of the open or of the close",
        )


def _without_repeats(candles: pl.DataFrame, origin: Origin) -> pl.DataFrame:
    columns = [name for name in candles.columns if name != "row"]
    once = candles.unique(subset=columns, keep="first", maintain_order=True)
    twice = once.filter(pl.col("timestamp").is_duplicated())
    if twice.height:
        time = twice["timestamp"][0].isoformat()
        raise origin.error(int(twice["row"][1]), f"another candle than before for {time}")
    return once


def origin_of(path: Path) -> Origin:
    """Rows of a Parquet file count from 1; the first candle of a CSV file is on line 2."""
    return Origin(str(path)) if path.suffix == ".parquet" else Origin(str(path), "line", 2)
