"""The report of a backtest: what it earned, how far that can be believed, and on what assumptions."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from pipelines.backtest.result import BacktestResult
from pipelines.reports.calendar import monthly
from pipelines.reports.charts import Line, fall, lines
from pipelines.reports.page import caveats, folded, page, paragraph, section, table, tiles
from pipelines.reports.wording import PACE, between, shown, titled
from pipelines.validation.caveats import caveats as said_of

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MOST_TRADES = 2_000
Document = dict[str, Any]


def backtest_report(result: BacktestResult) -> str:
    """The whole page."""
    document = result.to_document()
    title = f"{document['strategy']} on {document['symbol']} {document['timeframe']}"
    return page(title, [*heading(title, document), *body(result, document)])


def heading(title: str, document: Document) -> Iterator[str]:
    """Title, stretch, parameters, and what must be said first."""
    from html import escape

    yield f"<h1>{escape(title)}</h1>"
    yield paragraph(f"{document['from']} to {document['to']}, {document['candles']:,} candles")
    given = ", ".join(f"{name} {value}" for name, value in document["params"].items())
    yield paragraph(given or "no parameters")
    yield caveats(said_of(document))


def body(result: BacktestResult, document: Document, parts: Sequence[int] = ()) -> Iterator[str]:
    """Everything under the heading. parts: see `charts.lines`."""
    validation = document.get("validation") or {}
    yield summary(document["metrics"], validation)
    yield section("Equity", equity_chart(result.equity, document["initial_cash"], parts))
    yield section("Months", months(result.equity, document["initial_cash"]))
    yield section("Metrics", metrics(document["metrics"], validation))
    yield from believed(validation)
    yield section("Trades", trades(result.trades))
    yield section("Assumptions", assumptions(document, validation))


def summary(values: Document, validation: Document) -> str:
    """The numbers one looks for first, with their intervals."""
    names = ("total_return", "buy_and_hold_return", "sharpe", "max_drawdown", "win_rate", "trades")
    return tiles(
        (
            titled(name),
            shown(name, values.get(name)),
            between(name, validation, none=""),
        )
        for name in names
    )


def equity_chart(equity: pl.DataFrame, cash: float, parts: Sequence[int] = ()) -> str:
    """Equity beside the market bought with the same cash, and the drawdown under it."""
    times = equity["timestamp"].dt.epoch("ms").to_numpy()
    value, close = equity["equity"].to_numpy(), equity["close"].to_numpy()
    drawn = [Line("Buy and hold", close / close[0] * cash, "two"), Line("Equity", value, "one")]
    depth = value / np.maximum(np.maximum.accumulate(value), cash) - 1
    return lines("Equity", times, drawn, parts=parts) + fall("Drawdown", times, depth)


def months(equity: pl.DataFrame, cash: float) -> str:
    """Returns by month and year."""
    rows = [
        [str(year), *("" if r is None else f"{r:+.1%}" for r in of), f"{whole:+.1%}"]
        for year, of, whole in monthly(equity, cash)
    ]
    return table(("", *MONTHS, "Year"), rows, frozenset(range(1, 14)))


def metrics(values: Document, validation: Document) -> str:
    """Every metric, with its interval where there is one."""
    intervals = validation.get("intervals", {})
    rows = [
        [titled(n), shown(n, v), between(n, validation) if n in intervals else ""] for n, v in values.items()
    ]
    return table(("", "Value", "95 % interval" if intervals else ""), rows)


def believed(validation: Document) -> Iterator[str]:
    """What the validation found; nothing where there was none."""
    if not validation:
        return
    sharpe, timing, order = (validation[name] for name in ("sharpe", "timing", "trade_order"))
    rows = [
        ["Sharpe ratio of these returns", shown("sharpe", sharpe["value"])],
        ["Probability that the true one is above 0", shown("probabilistic", sharpe["probabilistic"])],
        ["The same after all variants tried", shown("deflated", sharpe["deflated"])],
        ["Variants tried", "not known" if sharpe["trials"] is None else f"{sharpe['trials']:,}"],
        ["What luck alone finds in so many", shown("sharpe", sharpe["expected_maximum"])],
        ["Days on record", f"{sharpe['track_record_days']:,.1f}"],
        ["Days needed to be 95 % sure", shown("days", sharpe["minimum_track_record_days"])],
    ]
    if timing:
        rows.append(["Timing no better than chance: p", f"{timing['p_value']:.3f}"])
    yield section("Skill or luck", table(("", ""), rows))
    if order:
        yield section("Had the trades come in another order", _order(order))
    if validation.get("costs"):
        yield section("Had trading cost more, or nothing", _costs(validation["costs"]))
    details = [
        [titled(name), shown(name, value)]
        for part in ("returns", "market", "trades")
        for name, value in validation["details"][part].items()
    ]
    yield section(
        "Details", folded("Shape of the returns, market, trades one by one", table(("", ""), details))
    )


def trades(frame: pl.DataFrame) -> str:
    """The round trips, the newest where there are too many."""
    if not frame.height:
        return paragraph("None.")
    rows = [
        [
            f"{row['entry_time']:%Y-%m-%d %H:%M}",
            f"{row['entry_price']:,.8g}",
            f"{row['exit_time']:%Y-%m-%d %H:%M}",
            f"{row['exit_price']:,.8g}",
            f"{row['quantity']:,.6g}",
            f"{row['fees']:,.2f}",
            f"{row['pnl']:+,.2f}",
            row["exit_reason"],
        ]
        for row in frame.tail(MOST_TRADES).iter_rows(named=True)
    ]
    header = ("Entry", "Price", "Exit", "Price", "Quantity", "Fees", "Result", "Why")
    shown_of = f"{frame.height:,} trades" + (
        f", the newest {MOST_TRADES:,}" if frame.height > MOST_TRADES else ""
    )
    return folded(shown_of, table(header, rows, frozenset((6,))))


def assumptions(document: Document, validation: Document) -> str:
    """How the numbers came about."""
    filled = "the next candle's open" if document["fill"] == "open" else "the close that gave the signal"
    ending = "valued at the last close, without a fee"
    warmed = f"{document['warmup_candles']:,} candles before the first"
    if "walk_forward" in document:
        ending = "sold at the last close of each test, costs included"
        warmed = "the candles before each test"
    rows = [
        ["Start", f"{document['initial_cash']:,.2f} of quote currency"],
        ["Fills", f"at {filled}"],
        ["Fee", f"{document['fee']:.4%} of each fill, a buy's paid in what is {document['fee_currency']}"],
        ["Slippage", f"{document['slippage']:.4%}"],
        ["Exits and sizes", _set(document["risk"]) or "all in on a buy, out on a sell"],
        ["Orders", _set(document.get("execution")) or "market orders, filled whole"],
        ["Warm-up", warmed],
        ["Data", ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in document["data"].items())],
        ["Sharpe, Sortino, volatility", "daily equity, 365 days, no risk-free rate"],
        ["Open position at the end", ending],
    ]
    if validation:
        returns = validation["returns"]
        rows.append(
            [
                "Intervals",
                f"{validation['confidence']:.0%}, stationary bootstrap of {returns['observations']:,} "
                f"{PACE[returns['period']]} returns in blocks of {returns['block_length']:.1f}, "
                f"{validation['resamples']:,} resamples",
            ]
        )
    return table(("", ""), rows)


def _set(block: Document | None) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in (block or {}).items())


def _order(order: Document) -> str:
    header = ("", *(f"{int(q[1:])} %" for q in order["drawdown"]))
    rows = [
        ["Deepest drawdown, the same trades shuffled", *(f"{v:+.1%}" for v in order["drawdown"].values())],
        ["Total return, trades drawn with repeats", *(f"{v:+.1%}" for v in order["total_return"].values())],
    ]
    ends = (
        f"{order['loss']:.1%} of the drawn paths lose money, {order['ruin']:.1%} lose {order['ruin_at']:.0%}."
    )
    return table(header, rows) + paragraph(ends)


def _costs(costs: Sequence[Document]) -> str:
    rows = [
        [f"{row['multiple']:g} times: fee {row['fee']:.3%}, slippage {row['slippage']:.3%}"]
        + [shown(name, row[name]) for name in ("total_return", "sharpe", "max_drawdown", "fees")]
        for row in costs
    ]
    return table(("Costs", "Total return", "Sharpe", "Max drawdown", "Fees"), rows, frozenset((1,)))
