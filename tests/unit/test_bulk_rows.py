"""OKX's bulk files of trades: every layout is read by its names, and what is wrong is named."""

import zipfile
from decimal import Decimal
from pathlib import Path

import pytest

from pipelines.exchanges.okx.bulk_rows import SCHEMA, DamagedFile, columns_of, read_bulk_file

DAY_START_MS = 1_748_707_200_000  # 2025-06-01 at UTC+8, 2025-05-31 16:00 UTC
OLD = "trade_id/撮合id,side/交易方向,size/数量,price/价格,created_time/成交时间"
CURRENT = "instrument_name,trade_id,side,price,size,created_time"
NEWEST = CURRENT + ",source"
ROWS = [
    (747_835_547, DAY_START_MS + 531, Decimal("104554.2"), Decimal("0.00001912"), "buy"),
    (747_835_548, DAY_START_MS + 531, Decimal("104554.1"), Decimal("1.5"), "sell"),
    (747_835_549, DAY_START_MS + 86_399_999, Decimal("104600"), Decimal("0.02"), "sell"),
]


def packed(folder: Path, text: bytes, name: str = "BTC-USDT-trades-2025-06-01") -> Path:
    path = folder / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.csv", text)
    return path


def lines(header: str) -> list[str]:
    """The rows in the layout of a header, sizes as the files write them."""
    made = []
    for trade_id, at_ms, price, size, side in ROWS:
        values = {
            "trade_id": str(trade_id),
            "side": side,
            "price": str(price),
            "size": "1.912e-05" if size == Decimal("0.00001912") else str(size),
            "created_time": str(at_ms),
            "instrument_name": "BTC-USDT",
            "source": "0",
        }
        made.append(",".join(values[name.split("/")[0]] for name in header.split(",")))
    return made


def read(path: Path) -> list[tuple[object, ...]]:
    table = read_bulk_file(path, "BTC-USDT", DAY_START_MS)
    assert table.schema.equals(SCHEMA)
    return [tuple(row.values()) for row in table.to_pylist()]


@pytest.mark.parametrize("encoding", ["gbk", "utf-8", "utf-8-sig"])
@pytest.mark.parametrize("header", [OLD, CURRENT, NEWEST])
def test_every_layout_holds_the_same_trades(tmp_path, header, encoding):
    """Size before price or after, Chinese words in GBK or UTF-8, an exponent, unsorted rows: exact values,
    sorted by id."""
    text = "\n".join([header, *reversed(lines(header)), ""]).encode(encoding)
    assert read(packed(tmp_path, text)) == ROWS


def test_line_ends_and_capitals_do_not_matter(tmp_path):
    """CRLF, quoted and spaced names, BUY for buy, and no newline at the end."""
    header = '"Instrument Name", "Trade Id",Side,Price,Size,"Created Time"'
    text = "\r\n".join([header, *(line.replace("buy", "BUY") for line in lines(CURRENT))]).encode()
    assert read(packed(tmp_path, text)) == ROWS


def test_words_in_chinese_alone_are_known():
    """A header without an English word, as bytes of GBK."""
    header = "撮合id,交易方向,数量,价格,成交时间".encode("gbk")
    assert columns_of(header) == ["trade_id", "side", "size", "price", "timestamp_ms"]


def test_a_day_without_trades_is_empty(tmp_path):
    """A header alone is a file of no rows."""
    assert read(packed(tmp_path, CURRENT.encode() + b"\n")) == []


def test_a_row_that_comes_twice_counts_once(tmp_path):
    """The same id with the same values is one trade; with other values the file is damaged."""
    twice = [*lines(CURRENT), lines(CURRENT)[0]]
    assert read(packed(tmp_path, "\n".join([CURRENT, *twice]).encode())) == ROWS
    twice[-1] = twice[-1].replace("104554.2", "104554.3")
    with pytest.raises(DamagedFile, match="id 747835547 stands for different trades"):
        read(packed(tmp_path, "\n".join([CURRENT, *twice]).encode()))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("instrument_name,", "", "CSV parse error"),
        ("trade_id", "number", "no column for trade_id"),
        (",price,", ",price,price,", "no column for price"),
        ("BTC-USDT", "ETH-USDT", "trades of ETH-USDT"),
        (",buy,", ",bid,", "a side is neither buy nor sell"),
        ("104554.2", "-1", "not above zero"),
        ("104554.2", "", "conversion error|missing"),
        ("104554.2", "n/a", "a value is missing"),
        (",1.5,", ",0,", "not above zero"),
        (str(DAY_START_MS + 531), str((DAY_START_MS + 531) // 1000), "a trade is of another day"),
    ],
)
def test_rows_that_cannot_be_are_named(tmp_path, old, new, problem):
    """The file is damaged, the text says why; nothing of it is taken."""
    text = "\n".join([CURRENT, *lines(CURRENT)]).replace(old, new).encode()
    with pytest.raises(DamagedFile, match=f"(?i)^BTC-USDT-trades-2025-06-01.zip: .*({problem})"):
        read(packed(tmp_path, text))


def test_a_header_that_is_missing_is_not_guessed(tmp_path):
    """Columns are never taken by their places."""
    with pytest.raises(DamagedFile, match="no column for trade_id"):
        read(packed(tmp_path, "\n".join(lines(CURRENT)).encode()))


def test_what_is_no_whole_zip_is_damaged(tmp_path):
    """Cut short, a byte changed, no zip at all, no CSV inside."""
    text = "\n".join([CURRENT, *lines(CURRENT) * 200]).encode()
    whole = packed(tmp_path, text).read_bytes()
    place = len(whole) // 2
    for damaged in (
        whole[:-40],
        whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :],
        b"<html>",
        b"",
    ):
        path = tmp_path / "file.zip"
        path.write_bytes(damaged)
        with pytest.raises(DamagedFile, match="not a whole zip"):
            read(path)
    with zipfile.ZipFile(tmp_path / "none.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(DamagedFile, match="0 CSV files"):
        read(tmp_path / "none.zip")
