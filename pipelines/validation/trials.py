"""How many variants of a strategy were tried on a market: what the deflated Sharpe ratio must know."""

from dataclasses import dataclass
from math import sqrt
from typing import Any

from core.errors import BadInput


@dataclass(frozen=True)
class Trials:
    """count: distinct sets of parameters tried, this run's included; deviation: sample deviation of their
    annual Sharpe ratios, None for fewer than two that have one."""

    count: int
    deviation: float | None

    def deviation_per_period(self, a_year: float, observations: int) -> float:
        """As a ratio per period. Where not known, the error of a ratio that is truly 0: 1 / √(n − 1)."""
        if self.deviation is not None:
            return self.deviation / sqrt(a_year)
        return 1 / sqrt(max(observations - 1, 1))


def trials_of(
    given: int | None,
    database_url: str | None,
    family: tuple[str, str, str],
    parameters: dict[str, Any],
    exchange: str | None = None,
) -> Trials | None:
    """Trials of a family (strategy, symbol, timeframe) on an exchange's candles (None: that in force): as
    given, else as counted in the database.

    None where neither is known. BadInput for fewer than one.
    """
    if given is not None and given < 1:
        raise BadInput("--trials", f"{given} is not a number of trials: at least 1, this run itself")
    if database_url is not None:
        from pipelines.warehouse.database import engine
        from pipelines.warehouse.trials import read_trials

        count, deviation = read_trials(engine(database_url), *family, parameters, exchange)
        return Trials(given or count, deviation)
    return None if given is None else Trials(given, None)
