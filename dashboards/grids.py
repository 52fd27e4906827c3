"""Tables: columns, and options that all of them share. Formats live in dashAgGridFunctions.js."""

from collections.abc import Collection
from typing import Any

THEME = {
    "function": "themeQuartz.withParams({backgroundColor:'var(--surface)',foregroundColor:'var(--text)',"
    "headerBackgroundColor:'var(--surface)',headerTextColor:'var(--muted)',borderColor:'var(--border)',"
    "rowHoverColor:'var(--raised)',selectedRowBackgroundColor:'var(--raised)',accentColor:'var(--accent)',"
    "valueChangeValueHighlightBackgroundColor:'var(--flash)',fontFamily:'inherit',fontSize:13,"
    "headerFontSize:12,headerFontWeight:500,spacing:5,wrapperBorder:false,wrapperBorderRadius:0,"
    "columnBorder:false,oddRowBackgroundColor:'var(--surface)'})"
}


COLUMN: dict[str, Any] = {"flex": 1, "sortable": True, "filter": True, "suppressHeaderMenuButton": True}
"""What every column is: sorted by a click on its head, narrowed by the funnel in it."""


def grid_options(nothing: str) -> dict[str, Any]:
    """Options of a table; `nothing` is said when it has no rows."""
    return {
        "theme": THEME,
        "rowHeight": 34,
        "headerHeight": 34,
        "suppressCellFocus": False,
        "animateRows": False,
        "cellFlashDuration": 300,
        "cellFadeDuration": 200,
        "localeText": {"noRowsToShow": nothing},
        "tooltipShowDelay": 300,
        "suppressColumnVirtualisation": True,
        "alwaysShowVerticalScroll": False,
    }


def number(field: str, header: str, function: str, tooltip: str | None = None, **more: Any) -> dict[str, Any]:
    """A right-aligned number column; `function` is a format of dashAgGridFunctions.js."""
    return {
        "field": field,
        "headerName": header,
        "headerTooltip": tooltip or header,
        "type": "rightAligned",
        "cellClass": "numeric ag-right-aligned-cell",
        "valueFormatter": {"function": function},
        "enableCellChangeFlash": True,
        "minWidth": 80,
        **more,
    }


def text(field: str, header: str, **more: Any) -> dict[str, Any]:
    """A left-aligned text column."""
    return {"field": field, "headerName": header, "minWidth": 80, **more}


def time(field: str, header: str, **more: Any) -> dict[str, Any]:
    """A time in the reader's zone, UTC on hover; the field is epoch ms."""
    return {
        "field": field,
        "headerName": header,
        "cellClass": "numeric",
        "minWidth": 140,
        "filter": False,  # it would ask for milliseconds; lists of the API take from and to
        "valueFormatter": {"function": "tcpMinute(params.value)"},
        "tooltipValueGetter": {"function": "tcpUtc(params.value)"},
        **more,
    }


SIGNED = {
    "up": "params.value > 0",
    "down": "params.value < 0",
}

CENTS = "params.data.cents"
_BOT_COLUMNS: list[dict[str, Any]] = [
    text(
        "bot_id",
        "Bot",
        pinned="left",
        width=92,
        minWidth=80,
        flex=0,
        cellClass="strong",
        tooltipField="bot_id",
    ),
    text("strategy", "Strategy", minWidth=118, tooltipField="strategy"),
    text("symbol", "Symbol", minWidth=98),
    text("timeframe", "TF", minWidth=46, maxWidth=60, headerTooltip="Timeframe"),
    text(
        "shown",
        "Status",
        minWidth=86,
        valueFormatter={"function": "tcpState(params.value)"},
        cellClassRules={
            f"is-{name}": f"params.value === '{name}'"
            for name in (
                "running",
                "paused",
                "stopped",
                "starting",
                "stopping",
                "pausing",
                "crashed",
                "error",
                "silent",
            )
        },
        tooltipField="error",
    ),
    number(
        "value",
        "Balance",
        f"tcpMoney(params.value, false, {CENTS})",
        "Cash and coins at the last price",
        minWidth=116,
    ),
    number(
        "pnl_today",
        "P&L today",
        f"tcpMoney(params.value, true, {CENTS})",
        "Since 00:00 UTC",
        minWidth=90,
        cellClassRules=SIGNED,
    ),
    number(
        "pnl",
        "P&L",
        f"tcpMoney(params.value, true, {CENTS})",
        "Since the start",
        minWidth=94,
        cellClassRules=SIGNED,
    ),
    number(
        "pnl_fraction",
        "P&L %",
        "tcpPercent(params.value)",
        "Of the starting cash",
        minWidth=84,
        cellClassRules=SIGNED,
    ),
    number("fills", "Trades", "tcpCount(params.value)", "Buys and sells", minWidth=66),
    number("win_rate", "Win rate", "tcpShare(params.value)", "Of closed round trips", minWidth=80),
    text(
        "signal_ms",
        "Last signal",
        minWidth=184,
        flex=1.4,
        valueFormatter={"function": "tcpSignal(params.data)"},
        tooltipValueGetter={"function": "tcpUtc(params.value)"},
        cellClassRules={
            "up": "params.data.signal_type === 'buy'",
            "down": "params.data.signal_type === 'sell'",
        },
        enableCellChangeFlash=True,
    ),
]


def bot_columns(quotes: Collection[str]) -> list[dict[str, Any]]:
    """All bots. quotes: currencies that they trade in; several stand in the rows' symbols alone."""
    if len(quotes) != 1:
        return _BOT_COLUMNS
    (quote,) = quotes
    return [
        column | {"headerName": f"Balance ({quote})"} if column["field"] == "value" else column
        for column in _BOT_COLUMNS
    ]


def trade_columns(decimals: int, cents: int) -> list[dict[str, Any]]:
    """Round trips of a backtest; decimals of a price, and of amounts of money."""
    price, fees = (f"tcpMoney(params.value, false, {places})" for places in (decimals, cents))
    made = f"tcpMoney(params.value, true, {cents})"
    return [
        number("n", "#", "tcpCount(params.value)", "Number", maxWidth=64, minWidth=48),
        time("entry_ms", "Entry", minWidth=124),
        number("entry_price", "Entry price", price, minWidth=92),
        time("exit_ms", "Exit", minWidth=124),
        number("exit_price", "Exit price", price, minWidth=92),
        number("quantity", "Quantity", "tcpQuantity(params.value)", minWidth=84),
        number("fees", "Fees", fees, minWidth=62),
        number("pnl", "P&L", made, "Fees deducted", cellClassRules=SIGNED),
        number("return", "Return", "tcpPercent(params.value)", cellClassRules=SIGNED),
        text("exit_reason", "Exit by", minWidth=74, maxWidth=110),
    ]


GAP_COLUMNS: list[dict[str, Any]] = [
    text("symbol", "Symbol", minWidth=92),
    text(
        "state",
        "State",
        minWidth=86,
        cellClassRules={
            "warn-text": "params.value === 'open' || params.value === 'refilling'",
            "down": "params.value === 'unfillable'",
        },
    ),
    number("ids", "Missing", "tcpCount(params.value)", "Ids in the hole", minWidth=76),
    time("found_ms", "Found", flex=0, width=138),
    text("found_by", "By", minWidth=70),
    time("closed_ms", "Closed", flex=0, width=138),
    text("note", "Note", flex=2, minWidth=120, tooltipField="note"),
]

DIFFERENCE_COLUMNS: list[dict[str, Any]] = [
    text("symbol", "Symbol", minWidth=92),
    text("timeframe", "TF", minWidth=46, maxWidth=64, headerTooltip="Timeframe"),
    time("candle_ms", "Candle", flex=0, width=138),
    text("explanation", "Why", flex=1.4, minWidth=116, tooltipField="detail"),
    number("our_volume", "Our volume", "tcpQuantity(params.value)", minWidth=90),
    number("their_volume", "Theirs", "tcpQuantity(params.value)", "The exchange's volume", minWidth=84),
    text(
        "resolution",
        "Settled",
        minWidth=92,
        cellClassRules={"warn-text": "params.value === 'open'"},
    ),
]

SERIES_COLUMNS: list[dict[str, Any]] = [
    text("symbol", "Symbol", minWidth=92),
    text("timeframe", "TF", minWidth=46, maxWidth=64, headerTooltip="Timeframe"),
    time("first_ms", "First candle", flex=0, width=138),
    time("last_ms", "Last candle", flex=0, width=138),
    number(
        "late",
        "Behind",
        "tcpCount(params.value)",
        "Candles that should have closed since the last stored one",
        minWidth=72,
        cellClassRules={"warn-text": "params.value > 2"},
    ),
]

RUN_COLUMNS: list[dict[str, Any]] = [
    time(
        "created_ms",
        "Run",
        width=110,
        minWidth=98,
        flex=0,
        valueFormatter={"function": "tcpShort(params.value)"},
    ),
    text("strategy", "Strategy", flex=1.8, minWidth=130, tooltipField="strategy"),
    text("market", "Market", width=118, flex=0),
    text("period", "Period", width=122, flex=0, cellClass="numeric", tooltipField="period"),
    number("total_return", "Return", "tcpPercent(params.value)", width=88, flex=0, cellClassRules=SIGNED),
    number("sharpe", "Sharpe", "tcpMoney(params.value)", width=72, minWidth=64, flex=0),
    number("max_drawdown", "Max DD", "tcpPercent(params.value)", "Maximum drawdown", width=82, flex=0),
    number("trades", "Trades", "tcpCount(params.value)", "Round trips", width=68, minWidth=60, flex=0),
    text("note", "Note", flex=1.2, minWidth=76, tooltipField="note"),
]


def sweep_columns(names: list[str]) -> list[dict[str, Any]]:
    """Combinations of a sweep: its parameters by name, what they made, and the way to a bot."""
    own = [
        number(f"p_{name}", name.replace("_", " "), "tcpPlain(params.value)", minWidth=84) for name in names
    ]
    return [
        number("n", "#", "tcpCount(params.value)", "Place in the sweep's order", maxWidth=70, minWidth=56),
        *own,
        number("total_return", "Return", "tcpPercent(params.value)", minWidth=84, cellClassRules=SIGNED),
        number("sharpe", "Sharpe", "tcpMoney(params.value)"),
        number("sortino", "Sortino", "tcpMoney(params.value)"),
        number("max_drawdown", "Max DD", "tcpPercent(params.value)", "Maximum drawdown"),
        number("win_rate", "Win rate", "tcpShare(params.value)", "Of closed round trips"),
        number("profit_factor", "Profit factor", "tcpMoney(params.value)", minWidth=96),
        number("trades", "Trades", "tcpCount(params.value)", "Round trips", minWidth=72),
        text(
            "promote",
            "",
            cellClass="link-cell",
            minWidth=92,
            maxWidth=100,
            sortable=False,
            headerTooltip="Make a bot of this row",
        ),
    ]


def window_columns() -> list[dict[str, Any]]:
    """Windows of a walk-forward."""
    bars = "Sharpe ratio of candles: windows are short"
    return [
        time("test", "Test begins", minWidth=124),
        text("parameters", "Chosen in training", flex=2, minWidth=130, tooltipField="parameters"),
        number("train_sharpe", "Training", "tcpMoney(params.value)", bars, minWidth=72),
        number("test_sharpe", "Test", "tcpMoney(params.value)", bars, minWidth=64),
        number("test_return", "Return", "tcpPercent(params.value)", "Of the test", cellClassRules=SIGNED),
        number("rank", "Rank", "tcpShare(params.value)", "Share of combinations worse in the test"),
    ]


def portfolio_columns(quote: str, day: str) -> list[dict[str, Any]]:
    """Bots of one currency; `day` names the day of the newest profit."""
    money, signed = f"tcpMoney(params.value, false, {CENTS})", f"tcpMoney(params.value, true, {CENTS})"
    return [
        text("bot", "Bot", minWidth=82, cellClass="strong", tooltipField="bot"),
        text("strategy", "Strategy", minWidth=120, tooltipField="strategy"),
        number("current_value", f"Value, {quote}", money, "Cash and coins", minWidth=98),
        number("share", "Share", "tcpShare(params.value)", "Part of all bots' value", minWidth=52),
        number("day_pnl", day, signed, f"P&L, {day}", minWidth=80, cellClassRules=SIGNED),
        number("pnl", "P&L", signed, minWidth=92, cellClassRules=SIGNED),
        number("total_return", "P&L %", "tcpPercent(params.value)", minWidth=84, cellClassRules=SIGNED),
        number("max_drawdown", "Max DD", "tcpPercent(params.value)", "Maximum drawdown", minWidth=84),
        number("fees", "Fees", money, "All fills", minWidth=80),
    ]


EVENT_COLUMNS: list[dict[str, Any]] = [
    time("at", "Time", valueFormatter={"function": "tcpTime(params.value)"}, minWidth=160, maxWidth=180),
    text(
        "level",
        "Level",
        minWidth=80,
        maxWidth=96,
        cellClassRules={"warn-text": "params.value === 'warning'", "down": "params.value === 'error'"},
    ),
    text("component", "Component", minWidth=96, maxWidth=150),
    text("event", "Event", minWidth=120, maxWidth=190),
    text("message", "Message", flex=4, minWidth=260, tooltipField="message"),
]
