"""Orders, costs and the path inside candles, as options of `tcp backtest`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from core.errors import BadInput

if TYPE_CHECKING:
    import polars as pl

ORDER = typer.Option(None, help="What a buy signal sends: market, limit or stop; see --offset.")
OFFSET = typer.Option(None, help="Limit this far below, stop this far above the signal's close, a fraction.")
EXPIRES = typer.Option(None, help="Candles that a limit or stop entry waits; default 1.")
MAKER_FEE = typer.Option(None, help="Fee of a limit entry that rested, a fraction; default: --fee.")
FEE_TIERS = typer.Option(
    None, help="TRADED:MAKER:TAKER,…: fees by the value traded in the 30 days before; begins at 0."
)
VOLUME_SHARE = typer.Option(None, help="Largest part of a candle's volume an order takes; the rest waits.")
SPREAD = typer.Option(
    None, help="Between bid and ask, quote currency: every fill but a resting one pays half."
)
IMPACT = typer.Option(
    None, help="How much worse an order of a candle's whole volume fills, a fraction; goes with the square."
)
INTRABAR = typer.Option(
    None,
    help="Path inside the candles, which decides whether a stop or a profit came first: 1m or trades from "
    "the database, or a FILE of finer candles or of trades. Without it the worse order counts.",
)


def execution_of(**options: Any) -> dict[str, Any]:
    """The `execution` field of a request with the options that were given; nothing if none was."""
    given = {name: value for name, value in options.items() if value is not None}
    if "fee_tiers" in given:
        from pipelines.backtest.execution import read_tiers

        given["fee_tiers"] = read_tiers(given["fee_tiers"])
    return {"execution": given} if given else {}


def path_inside(intrabar: str | None, timestamps: str) -> "pl.DataFrame | None":
    """The bars of a file that --intrabar names; None when it names none, or what the database holds."""
    if intrabar is None or intrabar == "trades" or intrabar.rstrip("mhd").isdigit():
        return None
    from pipelines.backtest.intrabar import path_from_file

    if not Path(intrabar).is_file():
        raise BadInput("--intrabar", f"{intrabar!r} is neither 1m, trades nor a file")
    return path_from_file(Path(intrabar), timestamps)
