"""Every view of the dashboard over the seeded platform: its name, its address, and what is there when it can
be looked at."""

from dataclasses import dataclass

from tests.research_seed import BACKTEST, SWEEP

GRAPH = ".js-plotly-plot .main-svg"
ROWS = ".ag-row"


@dataclass(frozen=True)
class View:
    """ready: selectors that all have to be there."""

    name: str
    address: str
    ready: tuple[str, ...]


VIEWS = (
    View("live", "/?bot=bot_001", (f".chart-box:not(.waiting) {GRAPH}", f"#bots-table {ROWS}")),
    View(
        "market",
        "/market?symbol=BTC-USDT&timeframe=1m&show=ema 12,ema 26,rsi 14",
        (f"#market-box:not(.waiting) {GRAPH}", "#market-book .levels .ask", "#market-trades .level"),
    ),
    View("bots", "/bots?bot=bot_001", ("#bot-save", ".cards")),
    View("bots-new", "/bots?new=1", ("#bot-save",)),
    View("bots-signals", "/bots?bot=bot_001&tab=signals", (f"#bot-rows {ROWS}",)),
    View("bots-orders", "/bots?bot=bot_001&tab=orders", ("#bot-rows .ag-overlay-no-rows-center",)),
    View("bots-trades", "/bots?bot=bot_001&tab=trades", (f"#bot-rows {ROWS}",)),
    View("bots-crashes", "/bots?bot=bot_001&tab=crashes", (".bot-frame",)),
    View("bots-crash", "/bots?bot=bot_002&tab=crashes", ("pre.code",)),
    View("bots-history", "/bots?bot=bot_001&tab=history", (".bot-frame .panel",)),
    View("bots-log", "/bots?bot=bot_001&tab=log", ("#bot-log",)),
    View("portfolio", "/portfolio", (f"#portfolio-equity {GRAPH}", f"#portfolio-bots {ROWS}")),
    View("backtests", f"/backtests?run={BACKTEST}", (".run-result", GRAPH, f"#runs {ROWS}")),
    View("backtests-empty", "/backtests", ("#run", f"#runs {ROWS}")),
    View(
        "sweeps",
        f"/sweeps?sweep={SWEEP}",
        (f"#sweep-heat {GRAPH}", f"#sweep-parallel {GRAPH}", "#walk-windows .ag-row"),
    ),
    View(
        "compare",
        f"/compare?of={BACKTEST},bot:bot_001,bot:bot_004",
        (f"#compare-curves {GRAPH}", "table.compared"),
    ),
    View("data", "/data", (f"#coverage-chart {GRAPH}", f"#quality-chart {GRAPH}", f"#health-series {ROWS}")),
    View("system", "/system", (f"#events {ROWS}", "#components tbody tr")),
    View("nowhere", "/nowhere", (".face",)),
)
