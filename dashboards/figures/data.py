"""Figures of the data's health: which days are whole, and how good the connections were. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from dashboards.figures.price import unit_label, zone_label
from dashboards.figures.style import axis, layout, painted
from dashboards.theme import SERIES, Scheme

MINUTES_A_DAY = 1440
LATEST_MINUTES = 5
QUALITY_MINUTES = 60
"""Of the connections, in view."""
NOTHING, PART, WHOLE, ARCHIVED = range(4)
WORDS = ("no candles", "some candles", "all candles", "all candles, trades archived")


def coverage_figure(
    stored: Sequence[Mapping[str, Any]],
    archived: Sequence[Mapping[str, Any]],
    now: datetime,
    scheme: Scheme,
) -> dict[str, Any]:
    """A square a symbol and day. stored: queries.data.coverage; archived: queries.data.archived; now:
    exchange time; its day is whole when nothing but its last minutes is missing."""
    today, so_far = now.date(), max(1, now.hour * 60 + now.minute - LATEST_MINUTES)
    trades = {(row["symbol"], row["day"]): row["rows"] for row in archived if row["dataset"] == "raw_trades"}
    counts = {(row["symbol"], row["day"]): row for row in stored}
    symbols = sorted({row["symbol"] for row in stored}, reverse=True)
    days = sorted({row["day"] for row in stored})
    levels, texts = [], []
    for symbol in symbols:
        line = [
            _square(counts[symbol, day], trades.get((symbol, day)), so_far if day == today else MINUTES_A_DAY)
            for day in days
        ]
        levels.append([level for level, _ in line])
        texts.append([text for _, text in line])
    steps = ("raised", "warning", "accent", "up")
    scale = [[place / 4, token] for n, token in enumerate(steps) for place in (n, n + 1)]
    squares = {
        "type": "heatmap",
        "x": [f"{day:%Y-%m-%d}" for day in days],
        "y": symbols,
        "z": levels,
        "text": texts,
        "zmin": -0.5,
        "zmax": 3.5,
        "xgap": 2,
        "ygap": 3,
        "showscale": False,
        "hovertemplate": "%{text}<extra></extra>",
    }
    shape = layout(scheme) | {
        "margin": {"l": 82, "r": 12, "t": 6, "b": 34},
        "hovermode": "closest",
        "dragmode": False,
        "showlegend": False,
        "xaxis": axis(
            scheme, type="date", tickformat="%b %d", showgrid=False, showspikes=False, fixedrange=True
        ),
        "yaxis": axis(scheme, type="category", showgrid=False, showspikes=False, fixedrange=True),
    }
    return {"data": [painted(squares, scheme, colorscale=scale)], "layout": shape}


def _square(row: Mapping[str, Any], trades: int | None, expected: int) -> tuple[int, str]:
    """(level, words on hover) of one symbol and day."""
    candles = row["candles"]
    whole = candles >= expected
    level = NOTHING if not candles else PART if not whole else ARCHIVED if trades else WHOLE
    said = f"of {MINUTES_A_DAY:,} candles" if expected == MINUTES_A_DAY else "candles so far"
    text = f"<b>{row['symbol']}</b> {row['day']:%Y-%m-%d}<br>{candles:,} {said}"
    if row["provisional"]:
        text += f"<br>{row['provisional']:,} provisional"
    text += f"<br>{trades:,} trades archived" if trades else "<br>trades not archived"
    return level, text


def quality_figure(rows: Sequence[Mapping[str, Any]], scheme: Scheme) -> dict[str, Any]:
    """rows: connection_quality, newest first. Latency of each connection by minute: the median as a line, the
    99th percentile dotted; minutes with lost ids, cuts or silences are marked."""
    by_name: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in reversed(rows):
        by_name[row["connection"]].append(row)
    traces: list[dict[str, Any]] = []
    for number, (name, minutes) in enumerate(sorted(by_name.items())):
        colour = SERIES[number % len(SERIES)]
        times = [_ms(row["minute"]) for row in minutes]
        for column, words, dash in (("latency_p50_ms", "", "solid"), ("latency_p99_ms", " p99", "dot")):
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": name + words,
                    "x": times,
                    "y": [row[column] for row in minutes],
                    "line": {"color": colour, "width": 1.5, "dash": dash},
                    "hovertemplate": f"{name}{words} %{{y:,.0f}} ms<extra></extra>",
                }
            )
        bad = [row for row in minutes if row["lost_ids"] or row["reconnects"] or row["silences"]]
        if bad:
            traces.append(_troubles(name, bad, scheme))
    newest = max((row["minute"] for row in rows), default=None)
    view = newest and [_ms(newest - timedelta(minutes=QUALITY_MINUTES)), _ms(newest)]
    shape = layout(scheme) | {
        "dragmode": False,
        "xaxis": axis(scheme, type="date", hoverformat="%H:%M UTC", range=view),
        "yaxis": axis(scheme, side="right", rangemode="tozero", nticks=5),
        "annotations": [unit_label("ms", "y"), zone_label()],
    }
    return {"data": traces, "layout": shape}


def _troubles(name: str, rows: Sequence[Mapping[str, Any]], scheme: Scheme) -> dict[str, Any]:
    marks = {
        "type": "scatter",
        "mode": "markers",
        "name": f"{name} trouble",
        "showlegend": False,
        "x": [_ms(row["minute"]) for row in rows],
        "y": [row["latency_p99_ms"] or 0 for row in rows],
        "marker": {"symbol": "x", "size": 8},
        "text": [
            f"{row['lost_ids']:,} ids lost, {row['reconnects']} cuts, {row['silences']} silences"
            for row in rows
        ],
        "hovertemplate": f"{name}: %{{text}}<extra></extra>",
    }
    return painted(marks, scheme, marker_color="down")


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def first_day(today: date, weeks: int = 6) -> date:
    """Where the calendar begins."""
    return today - timedelta(weeks=weeks)
