"""The data's health as a page shows it: from stored rows to cards and lines of tables. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from dash import html

from core.timeframes import Timeframe
from dashboards.components import Card, moment
from dashboards.formatting import DASH
from dashboards.formatting import size as size_words
from dashboards.rows import epoch_ms

EXPLANATIONS = {
    "missing_trades": "trades were missing",
    "known_gap": "a known hole",
    "missing_candle": "candle was missing",
    "stale": "ours was old",
    "exchange_revision": "exchange revised it",
    "exchange_row": "exchange's row is off",
    "unexplained": "unexplained",
}
RESOLUTIONS = {
    "completed": "completed",
    "taken_over": "taken over",
    "ours_stands": "ours stands",
    "equal_again": "equal again",
}
HOUR_COUNTS = ("lost_ids", "reconnects", "silences")


def cards(
    feed: Mapping[str, Any],
    trouble: Mapping[str, int],
    finality: Sequence[Mapping[str, Any]],
    quality: Sequence[Mapping[str, Any]],
    lake: Sequence[Mapping[str, Any]],
) -> list[Card]:
    """Is anything wrong? In six numbers. feed: its document; the rest: rows of the queries."""
    candles = sum(row["candles"] for row in finality)
    provisional = sum(row["provisional"] for row in finality)
    troubles = {name: sum(row[name] for row in quality) for name in HOUR_COUNTS}
    held = sum(float(row["bytes"]) for row in lake)
    said = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in troubles.items())
    return [
        _lag(feed),
        (
            "Open holes",
            f"{trouble['open']:,}",
            "warn-text" if trouble["open"] else "",
            f"Holes in the trades that are being refilled; {trouble['unfillable']:,} others nobody can fill",
        ),
        (
            "Candles not final",
            f"{provisional:,}",
            "warn-text" if provisional else "",
            f"Of {candles:,} 1m candles of today (UTC): trades of them are missing",
        ),
        (
            "Differences",
            f"{trouble['differences']:,}",
            "warn-text" if trouble["differences"] else "",
            "Candles that are not the exchange's own and not settled yet",
        ),
        (
            "Connection trouble",
            f"{sum(troubles.values()):,}",
            "warn-text" if sum(troubles.values()) else "",
            f"Of the last hour: {said}",
        ),
        ("Data lake", size_words(held), "", f"{sum(row['files'] for row in lake):,} files"),
    ]


def _lag(feed: Mapping[str, Any]) -> Card:
    """What the exchange's trades need to come here, by the connection that is worst; the way on is short."""
    ways = [
        f"{words} {feed[name]:,.0f} ms"
        for name, words in (
            ("latency_p99_ms", "99 of 100 trades within"),
            ("lag_ms", "a candle from the daemon to this page's server"),
        )
        if feed[name] is not None
    ]
    hint = "; ".join(["From a trade to its arrival, at the median of the worst live connection", *ways])
    latency = feed["latency_ms"]
    return "Feed lag", DASH if latency is None else f"{latency:,.0f} ms", "", hint


def gap_rows(gaps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Lines of the ledger of holes."""
    return [
        {
            "id": f"{gap['symbol']}:{gap['first_id']}:{gap['last_id']}",
            "symbol": gap["symbol"],
            "state": gap["state"],
            "ids": gap["last_id"] - gap["first_id"] + 1,
            "found_ms": epoch_ms(gap["detected_at"]),
            "found_by": gap["detected_by"],
            "closed_ms": epoch_ms(gap["closed_at"]),
            "note": gap["note"] or "",
        }
        for gap in gaps
    ]


def difference_rows(differences: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Lines of the candles that differed from the exchange's."""
    return [
        {
            "id": f"{row['symbol']}:{row['timeframe']}:{epoch_ms(row['timestamp'])}",
            "symbol": row["symbol"],
            "timeframe": row["timeframe"],
            "candle_ms": epoch_ms(row["timestamp"]),
            "explanation": EXPLANATIONS.get(row["explanation"], row["explanation"]),
            "detail": row["detail"],
            "our_volume": None if row["our_volume"] is None else float(row["our_volume"]),
            "their_volume": None if row["their_volume"] is None else float(row["their_volume"]),
            "resolution": "open"
            if row["resolved_at"] is None
            else RESOLUTIONS.get(row["resolution"], row["resolution"]),
        }
        for row in differences
    ]


def series_rows(series: Sequence[Mapping[str, Any]], exchange_now: datetime) -> list[dict[str, Any]]:
    """Lines of the stored series; `late`: candles that should have closed since the last one."""
    now_ms = epoch_ms(exchange_now) or 0
    rows = []
    for one in series:
        frame, last = Timeframe(one["timeframe"]), epoch_ms(one["last_candle"]) or 0
        rows.append(
            {
                "id": f"{one['symbol']}:{frame}",
                "symbol": one["symbol"],
                "timeframe": frame.value,
                "first_ms": epoch_ms(one["first_candle"]),
                "last_ms": last,
                "late": max(0, (now_ms - last) // frame.ms),
                "length": frame.ms,
            }
        )
    return sorted(rows, key=lambda row: (row["symbol"], row["length"]))


def finality_table(
    finality: Sequence[Mapping[str, Any]], reconciled: Sequence[Mapping[str, Any]]
) -> html.Table:
    """Of each symbol: its 1m candles of the day, and how far they were compared with the exchange's."""
    compared = {row["symbol"]: row for row in reconciled if row["kind"] == "recent"}
    names = ("Symbol", "Candles", "Provisional", "Revised", "Without trades", "Compared to")
    body = []
    for row in finality:
        own = compared.get(row["symbol"])
        numbers = [row[name] for name in ("candles", "provisional", "revised", "synthetic")]
        cells = [html.Td(f"{count:,}", className="numeric right") for count in numbers]
        through = moment(epoch_ms(own["through"]) if own else None, "not yet")
        body.append(
            html.Tr([html.Th(row["symbol"], scope="row"), *cells, html.Td(through, className="right")])
        )
    head = html.Tr(
        [html.Th(name, scope="col", className="right" if number else "") for number, name in enumerate(names)]
    )
    return html.Table([html.Thead(head), html.Tbody(body)], className="plain even")
