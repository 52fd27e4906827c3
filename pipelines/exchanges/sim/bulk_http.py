"""The bulk files over HTTP: the CDN's paths, and the endpoint that lists them."""

import asyncio
from collections.abc import Mapping

import msgspec
from aiohttp import web

from pipelines.exchanges.sim.bulk import CDN, BulkFiles
from pipelines.exchanges.sim.days import DAY_MS
from pipelines.exchanges.sim.exchange import Refused
from pipelines.exchanges.sim.rest import error_body

LISTING = "/api/v5/public/market-data-history"
_UTC8_MS = 8 * 3_600_000
_MODULES = ("1", "2", "3", "4", "5", "6", "11")
_MOST_DAYS = 20
_MOST_PAIRS = 10
_MISSING = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchKey</Code></Error>'


def serves(method: str, path: str) -> bool:
    """Whether a request is for a bulk file or for the list of them."""
    return method == "GET" and (path == LISTING or path.startswith(CDN))


async def respond(files: BulkFiles, symbols: list[str], now_ms: int, request: web.Request) -> web.Response:
    """The answer to such a request. symbols: of the exchange; now_ms: virtual time"""
    if request.path == LISTING:
        try:
            base = f"{request.scheme}://{request.host}"
            body, status = _listing(files, symbols, request.query, base, now_ms), 200
        except Refused as refused:
            body, status = error_body(refused), refused.status
        return web.Response(body=body, status=status, content_type="application/json")
    packed = await asyncio.to_thread(files.read, request.path)
    if packed is None:
        return web.Response(body=_MISSING, status=404, content_type="application/xml")
    return web.Response(body=packed, content_type="application/zip")


def _listing(files: BulkFiles, symbols: list[str], query: Mapping[str, str], base: str, now_ms: int) -> bytes:
    """Links to the files of up to 20 days, newest first; only daily trades of spot pairs have any."""
    module, kind = query.get("module", ""), query.get("dateAggrType", "")
    if module not in _MODULES:
        raise Refused("51000", "Parameter module error", 400)
    if kind not in ("daily", "monthly"):
        raise Refused("51000", "Parameter dateAggrType error", 400)
    first, last = (_day(query, name) for name in ("begin", "end"))
    if kind == "daily" and not 0 <= last - first < _MOST_DAYS:
        raise Refused("51000", "Parameter begin or end error", 400)
    details = []
    if module == "1" and kind == "daily" and query.get("instType") == "SPOT":
        for symbol in _pairs(query, symbols):
            days = [day for day in range(last, first - 1, -1) if files.exists(symbol, day)]
            if days:
                details.append(_group(files, symbol, days, base))
    row = {"dateAggrType": kind, "details": details, "totalSizeMB": "", "ts": str(now_ms)}
    return msgspec.json.encode({"code": "0", "msg": "", "data": [row]})


def _group(files: BulkFiles, symbol: str, days: list[int], base: str) -> dict[str, object]:
    links = [
        {
            "dateTs": str(day * DAY_MS - _UTC8_MS),
            "filename": files.path(symbol, day).rpartition("/")[2],
            "sizeMB": "",  # not known before the file is made
            "url": base + files.path(symbol, day),
        }
        for day in days
    ]
    return {
        "dateRangeEnd": links[0]["dateTs"],
        "dateRangeStart": links[-1]["dateTs"],
        "groupDetails": links,
        "groupSizeMB": "",
        "instFamily": "",
        "instId": symbol,
        "instType": "SPOT",
    }


def _pairs(query: Mapping[str, str], symbols: list[str]) -> list[str]:
    wanted = [name for name in query.get("instIdList", "").split(",") if name]
    if not wanted:
        raise Refused("50014", "Parameter instIdList can not be empty.", 400)
    if len(wanted) > _MOST_PAIRS:
        raise Refused("51000", "Parameter instIdList error", 400)
    return symbols if wanted == ["ANY"] else wanted


def _day(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise Refused("51000", f"Parameter {name} error", 400)
    return (int(text) + _UTC8_MS) // DAY_MS
