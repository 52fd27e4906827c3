"""The options of a risk block, for `tcp backtest` and `tcp sweep`."""

from typing import Any

import typer

STOP_LOSS = typer.Option(None, help="Sell this far below the average cost, a fraction: 0.02 is 2 %.")
TAKE_PROFIT = typer.Option(None, help="Sell this far above the average cost, a fraction.")
TRAILING_STOP = typer.Option(None, help="Sell this far below the highest price since the entry, a fraction.")
MAX_CANDLES = typer.Option(None, help="Sell after holding for so many candles.")
SIZING = typer.Option(None, help="What a buy spends: all, fixed, percent, risk or volatility; see --size.")
SIZE = typer.Option(
    None,
    help="fixed: quote currency; percent: fraction of equity; risk: fraction of equity lost at the stop; "
    "volatility: annual volatility wanted.",
)
MAX_DAILY_LOSS = typer.Option(None, help="No buys for the rest of a UTC day that lost this fraction.")
MAX_DRAWDOWN = typer.Option(None, help="No buys while this fraction under the highest value so far.")


def risk_of(**options: Any) -> dict[str, Any]:
    """The `risk` field of a request with the options that were given; nothing if none was."""
    given = {name: value for name, value in options.items() if value is not None}
    return {"risk": given} if given else {}
