"""Bulk files of trades as OKX's CDN has them: one zip a pair and UTC+8 day, two days after it began."""

import datetime
import io
import re
import zipfile
from functools import lru_cache

import numpy as np

from pipelines.exchanges.sim.clock import VirtualClock
from pipelines.exchanges.sim.days import DAY_MS, DayTrades
from pipelines.exchanges.sim.history import History
from pipelines.exchanges.sim.options import BulkLayout
from pipelines.exchanges.sim.specs import SymbolSpec, decimal_text

CDN = "/cdn/okex/traderecords/trades/daily/"
AVAILABLE_AFTER_DAYS = 2
_UTC8_MS = 8 * 3_600_000
_NAME = re.compile(r"(\d{8})/([A-Z0-9]+-[A-Z0-9]+)-trades-(\d{4}-\d{2}-\d{2})\.zip", re.ASCII)
_HEADERS = {
    "old": "trade_id/撮合id,side/交易方向,size/数量,price/价格,created_time/成交时间".encode("gbk"),
    "current": b"instrument_name,trade_id,side,price,size,created_time",
    "newest": b"instrument_name,trade_id,side,price,size,created_time,source",
}
_CACHED_FILES = 4


class BulkFiles:
    """The CDN's trade files. unsorted: rows in no order, as some of OKX's own files have them."""

    def __init__(self, history: History, clock: VirtualClock, layout: BulkLayout, unsorted: bool) -> None:
        self._history = history
        self._clock = clock
        self._layout = layout
        self._unsorted = unsorted
        self._zip = lru_cache(_CACHED_FILES)(self._build)

    def path(self, symbol: str, day: int) -> str:
        """Where the file of a day (days since 1970, UTC+8) is."""
        date = datetime.date.fromordinal(day + datetime.date(1970, 1, 1).toordinal())
        return f"{CDN}{date:%Y%m%d}/{symbol}-trades-{date.isoformat()}.zip"

    def exists(self, symbol: str, day: int) -> bool:
        """Whether the file of a day (days since 1970, UTC+8) can be had already."""
        if symbol not in self._history.specs:
            return False
        today = (self._clock.now_ms() + _UTC8_MS) // DAY_MS
        first = (self._history.source.first_ms(symbol) + _UTC8_MS) // DAY_MS
        return first <= day <= today - AVAILABLE_AFTER_DAYS

    def read(self, path: str) -> bytes | None:
        """The zip at a path of the CDN; None when there is none, or not yet. Takes a while: use a thread."""
        match = _NAME.fullmatch(path.removeprefix(CDN))
        if match is None or match[1] != match[3].replace("-", ""):
            return None
        try:
            day = (datetime.date.fromisoformat(match[3]) - datetime.date(1970, 1, 1)).days
        except ValueError:
            return None
        return self._zip(match[2], day) if self.exists(match[2], day) else None

    def _build(self, symbol: str, day: int) -> bytes:
        start = day * DAY_MS - _UTC8_MS
        rows = []
        for utc_day in (day - 1, day):
            trades = self._history.day(symbol, utc_day)
            part = trades.part(trades.until(start - 1), trades.until(start + DAY_MS - 1))
            rows += _rows(self._history.specs[symbol], part, self._layout)
        if self._unsorted:
            order = np.random.Generator(np.random.PCG64(day)).permutation(len(rows))
            rows = [rows[place] for place in order.tolist()]
        text = b"\n".join([_HEADERS[self._layout], *(row.encode() for row in rows), b""])
        name = self.path(symbol, day).rpartition("/")[2].replace(".zip", ".csv")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            # a fixed time, so that the same day is the same file
            info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            archive.writestr(info, text, zipfile.ZIP_DEFLATED, compresslevel=1)
        return packed.getvalue()


def size_text(lots: int, decimals: int) -> str:
    """A size as the files write it: below 0.0001 with an exponent, such as 1.912e-05."""
    digits = str(lots)
    exponent = len(digits) - 1 - decimals
    if lots <= 0 or exponent >= -4:
        return decimal_text(lots, decimals)
    digits = digits.rstrip("0")
    fraction = f".{digits[1:]}" if digits[1:] else ""
    return f"{digits[0]}{fraction}e-{-exponent:02d}"


def _rows(spec: SymbolSpec, trades: DayTrades, layout: BulkLayout) -> list[str]:
    rows = []
    tail = ",0" if layout == "newest" else ""
    for trade_id, ts, ticks, lots, buy in zip(
        trades.ids.tolist(),
        trades.ts.tolist(),
        trades.price.tolist(),
        trades.size.tolist(),
        trades.buy.tolist(),
        strict=True,
    ):
        side, price = "buy" if buy else "sell", spec.price_text(ticks)
        size = size_text(lots, spec.lot_decimals)
        if layout == "old":
            rows.append(f"{trade_id},{side},{size},{price},{ts}")
        else:
            rows.append(f"{spec.symbol},{trade_id},{side},{price},{size},{ts}{tail}")
    return rows
