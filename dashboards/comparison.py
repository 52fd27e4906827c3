"""Strategies and bots side by side: one record each, their numbers, and whether the differences are luck.

In a worker thread. The statistics are those of `tcp compare` (pipelines.validation.compare).
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Literal

import polars as pl
from dash import html
from sqlalchemy import Engine

from core.errors import BadInput
from core.timeframes import Timeframe
from dashboards.chart_room import chart
from dashboards.components import downloads, empty, panel
from dashboards.figures.comparison import curves_figure, differences_figure
from dashboards.formatting import DASH, Number, cents, measure, money, percent
from dashboards.formatting import strategy as strategy_words
from dashboards.queries import bots as bot_queries
from dashboards.queries import comparisons as queries
from dashboards.queries import runs as run_queries
from dashboards.stretches import LEAST, Compared, Stretch, common, curve_metrics, measured, overlap, within
from dashboards.theme import Scheme
from pipelines.reports.comparison import SIGNIFICANT
from pipelines.reports.wording import titled
from pipelines.validation.compare import DIFFERENCE, Record, compare

BOT = "bot:"
MOST = 6
SHOWN = (
    "total_return",
    "cagr",
    "sharpe",
    "sortino",
    "volatility",
    "max_drawdown",
    "win_rate",
    "profit_factor",
    "closed_trades",
    "fees",
)
Against = Literal["first", "buy_and_hold"]
"""What differences are measured against: the first of the chosen ones, or the market of it."""
LOWER = frozenset(("volatility", "fees"))


def options(engine: Engine) -> list[dict[str, Any]]:
    """What can be chosen: bots, then runs, newest first, for a select with groups."""
    bots = [
        {
            "value": f"{BOT}{bot['name']}",
            "label": f"{bot['name']} · {strategy_words(bot['strategy_name'])} {bot['symbol']}",
        }
        for bot in queries.bot_names(engine)
    ]
    runs = [
        {
            "value": run["id"],
            "label": f"{strategy_words(run['strategy_name'])} {run['symbol']} {run['timeframe']} · "
            f"{measure('total_return', (run['metrics'] or {}).get('total_return'))} · "
            f"{run['created_at']:%m-%d %H:%M}",
        }
        for run in queries.candidates(engine)
    ]
    return [{"group": "Bots", "items": bots}, {"group": "Runs", "items": runs}]


def read(engine: Engine, chosen: Sequence[str]) -> list[Compared]:
    """The records of runs (by id) and bots (`bot:NAME`): a bot's of the time that all have, so that its
    values lie as close together as they may, else of its whole life. BadInput for one that is gone or has no
    value."""
    names = chosen[:MOST]
    runs = {name: _run(engine, name) for name in names if not name.startswith(BOT)}
    bots = {name: _living(engine, name.removeprefix(BOT)) for name in names if name.startswith(BOT)}
    lives = {name: run.life for name, run in runs.items()} | {name: life for name, (_, life) in bots.items()}

    def over(stretch: Stretch | None) -> list[Compared]:
        return [runs[name] if name in runs else _bot(engine, *bots[name], stretch) for name in names]

    shared = over(overlap(list(lives.values()))) if bots else over(None)
    return shared if common(shared) else over(None)


def _run(engine: Engine, run_id: str) -> Compared:
    row = run_queries.run(engine, run_id)
    if row is None or row["kind"] == "sweep":
        raise BadInput("run", f"there is no run {run_id!r} with an equity curve")
    document = {
        "id": run_id,
        "strategy": row["strategy_name"],
        "symbol": row["symbol"],
        "timeframe": row["timeframe"],
        "params": row["parameters"],
        "from": row["start_time"].isoformat(),
        "to": row["end_time"].isoformat(),
        "initial_cash": float(row["initial_cash"]),
        "fee": row["fee"],
        "metrics": row["metrics"] or {},
    }
    name = strategy_words(row["strategy_name"])
    about = f"{row['symbol']} · {row['timeframe']} · run {run_id}"
    curve = queries.run_curve(engine, run_id)
    trips = partial(queries.run_trips, engine, run_id)
    if curve.height < LEAST:
        raise BadInput("run", f"{run_id} kept no equity curve")
    life = curve["timestamp"][0], curve["timestamp"][-1]
    return Compared(Record(document, curve), name, about, document["metrics"], trips, life)


def _living(engine: Engine, name: str) -> tuple[dict[str, Any], Stretch]:
    """A bot's row, and its first and last snapshot."""
    bot = bot_queries.bot(engine, name)
    if bot is None:
        raise BadInput("bot", f"there is no bot {name!r}")
    life = queries.bot_life(engine, bot["id"])
    if life is None or life[0] == life[1]:
        raise BadInput("bot", f"{name} has no snapshots yet: it gets one at every candle it judges")
    return bot, life


def _bot(engine: Engine, bot: dict[str, Any], life: Stretch, stretch: Stretch | None) -> Compared:
    """Of the stretch, or where fewer than two snapshots are in that, or none is given, of its life."""
    frame, (since, until) = Timeframe(bot["timeframe"]), stretch or life
    step = queries.step_of(frame, since, until)
    curve = queries.bot_curve(engine, bot, since, until, step)
    if curve.height < LEAST:
        return _bot(engine, bot, life, None)
    first, last = curve["timestamp"][0], curve["timestamp"][-1]
    # A curve that does not reach back to the bot's beginning starts at its own first value.
    start = float(bot["virtual_balance"]) if first == life[0] else float(curve["equity"][0])
    trips = partial(queries.closed_trips, engine, bot["id"])
    document = {
        "id": f"{BOT}{bot['name']}",
        "strategy": bot["strategy_name"],
        "symbol": bot["symbol"],
        "timeframe": frame.value,
        "params": (bot["config"] or {}).get("parameters", {}),
        "from": (first - timedelta(milliseconds=frame.ms)).isoformat(),
        "to": last.isoformat(),
        "initial_cash": start,
        "fee": float((bot["config"] or {}).get("fee", 0)),
        "metrics": curve_metrics(curve, start, frame, trips(first, last)),
    }
    about = f"{bot['symbol']} · {frame} · live · values every {step}"
    return Compared(Record(document, curve), bot["name"], about, document["metrics"], trips, life)


def differences(engine: Engine, chosen: Sequence[str], against: Against) -> list[dict[str, Any]]:
    """What "Is the difference luck?" tells of each but the benchmark: its advantage a year (a fraction) with
    its interval and p-values, and of what it was computed; nothing without a common stretch."""
    found = compare([column.record for column in read(engine, chosen)], against)
    of = {name: found[name] for name in ("benchmark", "period", "observations", "confidence")}
    return [
        {"of": row["id"], **{name: row[name] for name in DIFFERENCE}, "verdict": verdict(row), **of}
        for row in found["differences"]
    ]


def comparison_view(engine: Engine, chosen: Sequence[str], benchmark: str, scheme: Scheme) -> Any:
    """Everything about the chosen ones, top to bottom; at least one."""
    columns = read(engine, chosen)
    stretch = common(columns)
    against: Against = "buy_and_hold" if benchmark == "buy_and_hold" else "first"
    found = compare([column.record for column in columns], against)
    names = {column.record.id: column.name for column in columns} | {"buy_and_hold": "Buy and hold"}
    notes = [html.Li(note) for note in found["notes"]]
    return html.Div(
        [
            html.Ul(notes, className="notes", hidden=not notes),
            panel(
                chart("compare-curves", curves_figure(_curves(columns, stretch), scheme), "300px"),
                title="Growth over the common time" if stretch else "Growth, each over its own time",
            ),
            html.Div(
                [
                    _side_by_side(columns, stretch),
                    panel(
                        _significance(found, names, scheme),
                        title="Is the difference luck?",
                        tools=downloads(
                            "/api/compare/differences",
                            of=[column.record.id for column in columns],
                            against=against,
                        ),
                    ),
                ],
                className="twins",
            ),
        ],
        className="run-result",
    )


def _side_by_side(columns: Sequence[Compared], stretch: Stretch | None) -> html.Section:
    """stretch: the time that all have; said where one of them has more."""
    is_cut = stretch is not None and any(column.life != stretch for column in columns)
    told = _told(stretch) if stretch and is_cut else ""
    hint = "All are measured over the time that each of them has"
    return panel(
        metrics_table(measured(columns, stretch), is_fair=stretch is not None),
        title="Side by side",
        tools=[
            html.Span(told, className="muted small", title=hint),
            downloads("/api/compare", of=[column.record.id for column in columns]),
        ],
        className="scroll",
        tabIndex=0,
    )


def _curves(columns: Sequence[Compared], stretch: Stretch | None) -> list[tuple[str, pl.DataFrame]]:
    """Of each, timestamp and growth in percent, over the stretch of time that all have, else all it has."""
    shown = []
    for column in columns:
        part = within(column.curve, stretch) if stretch else column.curve
        growth = (pl.col("equity") / part["equity"][0] - 1) * 100
        shown.append((column.name, part.select("timestamp", growth.alias("growth"))))
    return shown


def metrics_table(columns: Sequence[Compared], is_fair: bool = True) -> html.Table:
    """A line a metric, a column each; the best of a line is strong. is_fair: all are of the same time; else
    none is the best, and each says of which it is."""
    head = [html.Th(_head(column, is_fair), scope="col") for column in columns]
    body = []
    for name in SHOWN:
        values = [column.metrics.get(name) for column in columns]
        texts = [_shown(name, value, column) for value, column in zip(values, columns, strict=True)]
        comparable = is_fair and (name != "fees" or len({column.quote for column in columns}) == 1)
        best = _shown(name, _best(name, values), columns[0]) if comparable and len(set(texts)) > 1 else None
        cells = [
            html.Td(text, className="numeric right" + (" strong" if text == best != DASH else ""))
            for text in texts
        ]
        body.append(html.Tr([html.Th(titled(name), scope="row"), *cells]))
    return html.Table(
        [html.Thead(html.Tr([html.Th("", scope="col"), *head])), html.Tbody(body)],
        className="plain even compared",
    )


def _shown(name: str, value: Number | None, column: Compared) -> str:
    """A metric of a column; fees with the decimals of its currency, and with that."""
    if name != "fees" or value is None:
        return measure(name, value)
    return f"{money(value, cents(column.quote))} {column.quote}"


def _head(column: Compared, is_fair: bool) -> list[html.Span]:
    lines = (column.about,) if is_fair else (column.about, _told(column.stretch))
    return [html.Span(column.name), *(html.Span(line, className="muted small") for line in lines)]


def _best(name: str, values: Sequence[Any]) -> Any:
    known = [value for value in values if value is not None]
    return (min if name in LOWER else max)(known) if len(known) > 1 and name != "closed_trades" else None


def _told(stretch: Stretch) -> str:
    """`Nov 18 02:00 to Nov 21 14:00 UTC`, with the years where they differ."""
    begin, end = stretch
    form = "%b %d %H:%M" if begin.year == end.year else "%Y-%m-%d"
    return f"{begin:{form}} to {end:{form}} UTC"


def verdict(row: dict[str, Any]) -> str:
    """One word for a difference: better, worse, or no difference that is more than luck."""
    if row["p_corrected"] is None:
        return "never differs"
    if row["p_corrected"] > SIGNIFICANT:
        return "could be luck"
    return "better" if row["difference"] > 0 else "worse"


def _significance(found: dict[str, Any], names: dict[str, str], scheme: Scheme) -> Any:
    if not found["differences"]:
        text = "Choose runs or bots that cover a common stretch of at least ten periods."
        return empty("Nothing can be said of significance", text)
    against = names[found["benchmark"]]
    lines = []
    for row in found["differences"]:
        numbers = [percent(row[name], 1) for name in ("difference", "low", "high")]
        p = DASH if row["p_corrected"] is None else f"{row['p_corrected']:.3f}"
        lines.append(
            html.Tr(
                [
                    html.Th(names[row["id"]], scope="row"),
                    html.Td(numbers[0], className="numeric right"),
                    html.Td(f"{numbers[1]} … {numbers[2]}", className="numeric right"),
                    html.Td(p, className="numeric right"),
                    html.Td(verdict(row), className="right"),
                ]
            )
        )
    sure = percent(found["confidence"], 0, False)
    heads = (f"Against {against}", "A year", f"{sure} interval", "p", "Verdict")
    head = [html.Th(text, scope="col", className="right" if n else "") for n, text in enumerate(heads)]
    said = f"{found['observations']:,} common {found['period']} returns, stationary bootstrap, p corrected"
    best = found["superior"]
    if best is not None:
        said += (
            f"; the best of them beats {against} with p = {best['p_value']:.3f} (superior predictive ability)"
        )
    return html.Div(
        [
            html.Div(
                html.Table([html.Thead(html.Tr(head)), html.Tbody(lines)], className="plain even"),
                className="scroll",
                tabIndex=0,
            ),
            chart("compare-differences", differences_figure(found["differences"], names, scheme), "180px"),
            html.P(said + ".", className="muted small padded"),
        ]
    )


def newest(engine: Engine) -> list[str]:
    """What is compared when nothing is chosen: the first bot and the newest run on its market."""
    bots = queries.bot_names(engine)
    runs = queries.candidates(engine, 50)
    chosen = [f"{BOT}{bots[0]['name']}"] if bots else []
    same = [run["id"] for run in runs if not bots or run["symbol"] == bots[0]["symbol"]]
    return chosen + same[: 1 if bots else 2]
