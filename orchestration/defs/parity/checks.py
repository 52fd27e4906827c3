"""The check of parity, evaluated in the run that replayed the bots."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from pipelines.backtest.all_parity import Compared

EQUAL = dg.AssetCheckSpec(
    name="bots_do_what_backtests_do",
    asset="bot_parity",
    description="Signals, fills and balances of each bot are those of a backtest over the same candles.",
)


def equality(compared: Sequence["Compared"]) -> dg.AssetCheckResult:
    """A warning that names the bots that differ, and the first difference of each."""
    differing = [one for one in compared if one.differs]
    return dg.AssetCheckResult(
        check_name=EQUAL.name,
        passed=not differing,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "bots": len(compared),
            "differing": [one.bot for one in differing],
            "not_compared": {one.bot: one.reason for one in compared if one.report is None},
            "first_differences": {one.bot: str(one.row()["first difference"]) for one in differing},
        },
    )
