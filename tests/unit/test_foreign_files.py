"""Candle files in the shapes of others: recorded ones of Binance, Coinbase and LEAN, and wrong ones."""

import gzip
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from cli.times import parse_offset
from core.errors import BadInput
from pipelines.backtest.files import read_candle_file

HOUR_MS = 3_600_000
COINBASE = {"start": "1463544000", "low": "455.3", "high": "456.81", "open": "456.16", "close": "456.02"}


def zipped(path: Path, text: str, name: str = "20161007_btcusd_minute_trade.csv") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, text)
    return path


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "timeframe", "labels", "rows", "first"),
    [
        ("BTCUSDT_1m.csv.gz", "1m", "close", 41_761, datetime(2024, 11, 30, 23, 1, tzinfo=UTC)),
        ("BTCUSDT_15m.csv.gz", "15m", "close", 34_945, datetime(2023, 12, 31, 23, 15, tzinfo=UTC)),
        ("btcusdt_1m.csv", "1m", "open", 3_000, datetime(2026, 4, 19, 13, 57, tzinfo=UTC)),
        ("ethusdt_1m.csv", "1m", "open", 3_000, datetime(2026, 4, 19, 14, 55, tzinfo=UTC)),
        (
            "Coinbase-BTC-USD-PT4H-20160518_20251028.json.gz",
            "4h",
            "close",
            20_695,
            datetime(2016, 5, 18, 8, tzinfo=UTC),
        ),
        (
            "coinbase_second_vs_minute/crypto_coinbase_minute_btcusd_20161007_trade.zip",
            "1m",
            "close",
            None,
            datetime(2016, 10, 7, 0, 1, tzinfo=UTC),
        ),
    ],
)
def test_every_recorded_file_is_read(shared_data, name, timeframe, labels, rows, first):
    """Whole, at the right time: JSON and zips know by themselves that they label by the open."""
    frame, report = read_candle_file(shared_data / "candles" / name, labels, timeframe)
    assert frame["timestamp"][0] == first
    assert rows is None or report.rows == frame.height == rows


@pytest.mark.real_data
@pytest.mark.parametrize("day", ["20161007", "20161008", "20161009"])
def test_seconds_make_the_minutes_of_the_same_day(shared_data, day):
    """Candles aggregated out of recorded 1s bars equal the recorded minutes, absent ones included."""
    folder = shared_data / "candles" / "coinbase_second_vs_minute"
    seconds, minutes = (
        folder / f"crypto_coinbase_{kind}_btcusd_{day}_trade.zip" for kind in ("second", "minute")
    )
    made, _ = read_candle_file(seconds, timeframe="1m", aggregate=True)
    assert made.equals(read_candle_file(minutes, timeframe="1m")[0])


def test_an_offset_moves_times_that_name_no_zone(tmp_path):
    """08:00 at +08:00 is midnight UTC; times with a zone of their own refuse another."""
    path = tmp_path / "candles.csv"
    header = "timestamp,open,high,low,close,volume\n"
    path.write_text(header + "2026-01-02 08:00,10,12,9,11,1\n2026-01-03 08:00,10,12,9,11,1\n")
    frame, _ = read_candle_file(path, "close", "1d", offset_ms=8 * HOUR_MS)
    assert frame["timestamp"].to_list() == [datetime(2026, 1, day, tzinfo=UTC) for day in (2, 3)]
    path.write_text(path.read_text().replace(" 08:00", "T00:00Z"))
    with pytest.raises(BadInput, match="--offset"):
        read_candle_file(path, "close", "1d", offset_ms=8 * HOUR_MS)


@pytest.mark.parametrize("labels", ["close", "open"])
def test_longer_candles_are_made_whatever_the_labels(tmp_path, labels):
    """Ten minutes make two of 5m: first, highest, lowest, last, sum."""
    path = tmp_path / "candles.csv"
    first = 1 if labels == "close" else 0
    rows = [
        f"2026-01-01T00:{first + n:02}:00Z,{10 + n},{20 + n},{9 - n * 0.1},{11 + n},0.1" for n in range(10)
    ]
    path.write_text("timestamp,open,high,low,close,volume\n" + "\n".join(rows))
    frame, _ = read_candle_file(path, labels, "5m", aggregate=True)
    assert frame.rows() == [
        (datetime(2026, 1, 1, 0, 5, tzinfo=UTC), 10.0, 24.0, 8.6, 15.0, 0.5),
        (datetime(2026, 1, 1, 0, 10, tzinfo=UTC), 15.0, 29.0, 8.1, 20.0, 0.5),
    ]


def test_rows_that_make_no_longer_candle_are_refused(tmp_path):
    """Out of order, of a longer timeframe, with an impossible number: named."""
    path = tmp_path / "candles.csv"
    header = "timestamp,open,high,low,close,volume\n"
    late = "2026-01-01T00:01:00Z,10,12,9,11,1\n"
    path.write_text(header + "2026-01-01T00:02:00Z,10,12,9,11,1\n" + late)
    with pytest.raises(BadInput, match="line 3: its time is not after"):
        read_candle_file(path, "open", "5m", aggregate=True)
    path.write_text(header + late + "2026-01-01T01:01:00Z,10,12,9,11,1\n")
    with pytest.raises(BadInput, match="5m is no multiple of the 3600 s"):
        read_candle_file(path, "open", "5m", aggregate=True)
    path.write_text(header + late + "2026-01-01T00:02:00Z,10,8,9,11,1\n")
    with pytest.raises(BadInput, match="line 3: high is below low"):
        read_candle_file(path, "open", "5m", aggregate=True)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("{", "is not JSON"),
        ('{"candles": 3}', "is not a list of candles"),
        ('{"a": [], "b": []}', "is not a list of candles"),
        ("[1, 2]", "is not a list of candles"),
        ("[]", "no column open"),
        (json.dumps({"candles": [COINBASE]}), "no column volume"),
        (json.dumps([{**COINBASE, "volume": "1", "start": "soon"}]), "timestamp"),
    ],
)
def test_json_that_is_no_candles_is_named(tmp_path, document, problem):
    """The file and what it should be."""
    path = tmp_path / "candles.json"
    path.write_text(document)
    with pytest.raises(BadInput, match=f"candles.json.*{problem}"):
        read_candle_file(path, timeframe="4h")


def test_what_is_damaged_is_named(tmp_path):
    """A zip or gzip cut short, two tables in a zip, a zip without header and day."""
    whole = gzip.compress(json.dumps([COINBASE] * 100).encode())
    (tmp_path / "cut.json.gz").write_bytes(whole[:-20])
    archive = zipped(tmp_path / "cut.zip", "0,1,1,1,1,1\n" * 500).read_bytes()
    (tmp_path / "cut.zip").write_bytes(archive[:-30])
    for name in ("cut.json.gz", "cut.zip"):
        with pytest.raises(BadInput, match="is damaged"):
            read_candle_file(tmp_path / name, timeframe="4h")
    two = zipped(tmp_path / "two.zip", "0,1,1,1,1,1")
    with zipfile.ZipFile(two, "a") as archive_file:
        archive_file.writestr("other.csv", "0,1,1,1,1,1")
    with pytest.raises(BadInput, match="2 CSV files"):
        read_candle_file(two, timeframe="1m")
    with pytest.raises(BadInput, match="neither a header nor LEAN's columns"):
        read_candle_file(zipped(tmp_path / "none.zip", "0,1,1,1,1,1", "btc.csv"), timeframe="1m")
    with pytest.raises(BadInput, match="is not a day"):
        read_candle_file(zipped(tmp_path / "day.zip", "0,1,1,1,1,1", "20161399_btc.csv"), timeframe="1m")


def test_a_zip_with_a_header_is_a_csv(tmp_path):
    """As exchanges pack their dumps; open_time labels by the open."""
    path = zipped(
        tmp_path / "c.zip", "open_time,open,high,low,close,volume\n1767225600000,10,12,9,11,1\n", "c.csv"
    )
    frame, _ = read_candle_file(path, "close", "1m")
    assert frame.rows() == [(datetime(2026, 1, 1, 0, 1, tzinfo=UTC), 10.0, 12.0, 9.0, 11.0, 1.0)]
    assert frame.schema["timestamp"] == pl.Datetime("us", "UTC")


@pytest.mark.parametrize(("text", "ms"), [("+08:00", 28_800_000), ("-0530", -19_800_000), ("Z", 0)])
def test_offsets_are_read(text, ms):
    """As people write them."""
    assert parse_offset(text, "--offset") == ms


@pytest.mark.parametrize("text", ["8", "UTC+8", "+25:00", "", "+08:00:99"])
def test_what_is_no_offset_is_named(text):
    """With the option and an example."""
    with pytest.raises(BadInput, match=r"--offset: .*such as \+08:00"):
        parse_offset(text, "--offset")
