"""Orders, costs and the path inside candles, as options of `tcp backtest` and `tcp sweep`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import BadInput

if TYPE_CHECKING:
    import polars as pl

EXECUTION = (
    "order",
    "offset",
    "expires",
    "maker_fee",
    "fee_tiers",
    "volume_share",
    "spread",
    "impact",
    "intrabar",
)


def execution_of(given: dict[str, Any]) -> dict[str, Any]:
    """The `execution` field of a request with the options that were given; nothing if none was."""
    if "fee_tiers" in given:
        from pipelines.backtest.execution import read_tiers

        given = given | {"fee_tiers": read_tiers(given["fee_tiers"])}
    return {"execution": given} if given else {}


def names_file(intrabar: str | None) -> bool:
    """Whether --intrabar names a file, and not what the database and the lake hold."""
    return intrabar is not None and intrabar != "trades" and not intrabar.rstrip("mhd").isdigit()


def path_inside(intrabar: str | None, timestamps: str) -> "pl.DataFrame | None":
    """The bars of a file that --intrabar names; None when it names none, or what the database holds."""
    return read_path(str(intrabar), timestamps) if names_file(intrabar) else None


def read_path(named: str, timestamps: str) -> "pl.DataFrame":
    """The bars of that file; BadInput when there is none."""
    from pipelines.backtest.intrabar import path_from_file

    if not Path(named).is_file():
        raise BadInput("--intrabar", f"{named!r} is neither 1m, trades nor a file")
    return path_from_file(Path(named), timestamps)
