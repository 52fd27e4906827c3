"""Candle files: what is read, what is mended and told, what is refused by name."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from core.errors import BadInput
from pipelines.backtest.files import load_candles, read_candle_file
from strategies.sample import sample_candles

HEADER = "timestamp,open,high,low,close,volume\n"
GOOD = [f"2026-01-01T00:0{n}:00Z,10,12,9,11,{n}" for n in range(1, 10)]


def csv(tmp_path: Path, rows: list[str], header: str = HEADER) -> Path:
    """A CSV file of those rows."""
    path = tmp_path / "candles.csv"
    path.write_text(header + "\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize(
    "stamp",
    [
        lambda n: f"2026-01-01T00:{n:02}:00Z",
        lambda n: f"2026-01-01T00:{n:02}:00",
        lambda n: f"2026-01-01 00:{n:02}:00",
        lambda n: f"2026-01-01T01:{n:02}:00+01:00",
        lambda n: f"2025-12-31T19:{n:02}:00.000-05:00",
        lambda n: str(1_767_225_600_000 + n * 60_000),
    ],
    ids=["Z", "no zone", "space", "offset", "fraction", "epoch ms"],
)
def test_times_are_read_in_any_usual_form(tmp_path: Path, stamp: Callable[[int], str]) -> None:
    """ISO 8601 with or without zone, and epoch milliseconds, all mean the same instants."""
    path = csv(tmp_path, [f"{stamp(n)},10,12,9,11,1" for n in range(1, 6)])
    times = load_candles(path)["timestamp"].to_list()
    assert times == [datetime(2026, 1, 1, 0, n, tzinfo=UTC) for n in range(1, 6)]


def test_open_times_become_close_times(tmp_path: Path) -> None:
    """With --timestamps open the label is one candle later."""
    frame = load_candles(csv(tmp_path, GOOD), "open")
    assert frame["timestamp"][0] == datetime(2026, 1, 1, 0, 2, tzinfo=UTC)


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet"])
def test_formats_agree(tmp_path: Path, suffix: str) -> None:
    """The same candles come back from CSV, compressed CSV and Parquet."""
    candles = sample_candles(300)
    path = tmp_path / f"candles.{suffix}"
    if suffix == "parquet":
        candles.write_parquet(path)
    elif suffix == "csv":
        candles.write_csv(path)
    else:
        import gzip

        path.write_bytes(gzip.compress(candles.write_csv().encode()))
    assert load_candles(path).equals(candles)


def test_what_is_mended_is_told(tmp_path: Path) -> None:
    """Rows out of order and exact repeats are put right and counted; holes are counted and left."""
    rows = [*GOOD[:4], GOOD[3], *GOOD[6:8], GOOD[5]]
    frame, report = read_candle_file(csv(tmp_path, rows))
    assert frame["timestamp"].is_sorted()
    assert frame["timestamp"].dt.minute().to_list() == [1, 2, 3, 4, 6, 7, 8]
    assert (report.rows, report.duplicates, report.unsorted) == (8, 1, 1)
    assert (report.missing, report.gaps) == (1, 1)


def test_labels_of_the_last_millisecond_are_moved(tmp_path: Path) -> None:
    """Binance's close times, 1 ms before the end, become the end, and that is told."""
    rows = [f"{1_767_225_600_000 + n * 60_000 - 1},10,12,9,11,1" for n in range(1, 6)]
    frame, report = read_candle_file(csv(tmp_path, rows))
    assert frame["timestamp"][0] == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert report.labels_moved_ms == 1


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("2026-01-01T00:04:00Z,10,12,9,nan,1", "close is not a number"),
        ("2026-01-01T00:04:00Z,10,12,9,,1", "close is not a number"),
        ("2026-01-01T00:04:00Z,abc,12,9,11,1", "open is not a number"),
        ("2026-01-01T00:04:00Z,10,inf,9,11,1", "high is not a number"),
        ("2026-01-01T00:04:00Z,10,12,0,11,1", "low is not above zero"),
        ("2026-01-01T00:04:00Z,10,12,-9,11,1", "low is not above zero"),
        ("2026-01-01T00:04:00Z,10,12,9,11,-1", "volume is below zero"),
        ("2026-01-01T00:04:00Z,10,12,1e-25,11,1", "low is below 1e-18"),
        ("2026-01-01T00:04:00Z,10,1e25,9,11,1", "high is above 1e+18"),
        ("2026-01-01T00:04:00Z,10,12,9,11,1e25", "volume is above 1e+18"),
        ("2026-01-01T00:04:00Z,10,8,9,9,1", "high is below low"),
        ("2026-01-01T00:04:00Z,13,12,9,11,1", "open is outside low … high"),
        ("2026-01-01T00:04:00Z,10,12,9,8.5,1", "close is outside low … high"),
        ("2026-01-01T00:04:30Z,10,12,9,11,1", "not the boundary of a 1m candle"),
        ("yesterday,10,12,9,11,1", "neither ISO 8601 nor epoch ms"),
        ("0001-01-01T00:00:00+05:00,10,12,9,11,1", "outside 2000 … 2099"),
        ("2026-01-01T00:03:00Z,10,12,9,10.5,1", "another candle than before for 2026-01-01T00:03"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, said: str) -> None:
    """A row that cannot be right is refused with file, line and problem; no number is made of it."""
    path = csv(tmp_path, [*GOOD[:3], row, *GOOD[4:]])
    with pytest.raises(BadInput) as caught:
        load_candles(path, timeframe="1m")
    assert caught.value.field == str(path)
    assert said in caught.value.message
    assert "line 5" in caught.value.message


@pytest.mark.parametrize(
    ("header", "rows", "said"),
    [
        ("timestamp,open,high,low,close\n", ["2026-01-01T00:01:00Z,10,12,9,11"], "no column volume"),
        ("when,open,high,low,close,volume\n", GOOD, "no column timestamp"),
        (HEADER, [], "no candles"),
        (HEADER, ["1767225660,10,12,9,11,1"], "outside 2000 … 2099; numbers are epoch ms"),
        (HEADER, ["1767225660000,10,12,9,11,1", "9" * 400 + ",10,12,9,11,1"], "line 3: timestamp 9999"),
        (HEADER, ["1767225660000,10,12,9,11,1", "soon,10,12,9,11,1"], "line 3: timestamp 'soon' is neither"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, header: str, rows: list[str], said: str) -> None:
    """A missing column, an empty file and times in seconds are each one clear line."""
    with pytest.raises(BadInput, match=said):
        load_candles(csv(tmp_path, rows, header))


def test_files_that_are_none(tmp_path: Path) -> None:
    """A file that is not there, and one that is no table, are named."""
    with pytest.raises(BadInput, match="no such file"):
        load_candles(tmp_path / "none.csv")
    with pytest.raises(BadInput, match="is a folder"):
        load_candles(tmp_path)
    other = tmp_path / "noise.parquet"
    other.write_bytes(b"not parquet at all")
    with pytest.raises(BadInput, match="cannot be read"):
        load_candles(other)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("timestamp", [1_767_225_660_000.0, float("nan")], "row 2: timestamp is missing"),
        ("timestamp", [1_767_225_660_000.0, float("inf")], "row 2: timestamp inf is outside"),
        ("timestamp", [True, True], "timestamp is Boolean"),
        ("open", [[10.0], [10.0]], "open is List"),
        ("open", [True, True], "open is Boolean"),
    ],
)
def test_parquet_columns_of_a_wrong_type_are_named(
    tmp_path: Path, column: str, values: list[Any], said: str
) -> None:
    """A Parquet column that holds no times or no numbers is refused by name."""
    path = tmp_path / "candles.parquet"
    sample_candles(2).with_columns(pl.Series(column, values)).write_parquet(path)
    with pytest.raises(BadInput) as caught:
        load_candles(path, timeframe="1m")
    assert said in str(caught.value)


def test_spaces_after_the_commas_do_no_harm(tmp_path: Path) -> None:
    """`timestamp, open, …` with spaced values is read as it is without spaces."""
    spaced = csv(tmp_path, [row.replace(",", ", ") for row in GOOD], HEADER.replace(",", ", "))
    assert load_candles(spaced)["close"].to_list() == [11.0] * 9


@pytest.mark.parametrize(("own", "said"), [("5m", "0:05:00"), ("15m", "0:15:00")])
def test_the_wrong_timeframe_is_noticed(tmp_path: Path, own: str, said: str) -> None:
    """Longer candles called 1m are refused instead of being mostly holes."""
    path = tmp_path / "longer.parquet"
    sample_candles(100, own).write_parquet(path)
    with pytest.raises(BadInput, match=f"{said} apart, not 1m"):
        load_candles(path, timeframe="1m")


@pytest.mark.real_data
def test_real_minutes_make_the_real_quarters(shared_data: Path) -> None:
    """The recorded 1m and 15m files are one market: resampled minutes equal the quarters exactly."""
    from core.timeframes import Timeframe
    from strategies.columns import resample

    minutes, report = read_candle_file(shared_data / "candles" / "BTCUSDT_1m.csv.gz")
    assert (report.rows, report.missing, report.duplicates) == (41_761, 0, 0)
    assert minutes["timestamp"][0] == datetime(2024, 11, 30, 23, 1, tzinfo=UTC)
    quarters = load_candles(shared_data / "candles" / "BTCUSDT_15m.csv.gz")
    ours = resample(minutes, Timeframe.M15, Timeframe.M1)
    both = ours.join(quarters, on="timestamp", suffix="_theirs")
    assert both.height == ours.height
    for name in ("open", "high", "low", "close"):
        assert (both[name] == both[f"{name}_theirs"]).all()
    assert ((both["volume"] - both["volume_theirs"]).abs() < 1e-6).all()
