"""What to sweep: a strategy, a grid of its parameters, the candles, the costs."""

from typing import Any

from pydantic import Field, field_validator

from core.metrics import METRICS
from pipelines.backtest.request import Market


class SweepRequest(Market):
    """A strategy over every combination of a grid.

    grid: parameter → its values, as a list, as text `start:stop:step` (stop included) or `a,b,c`
    """

    grid: dict[str, list[Any] | str] = Field(
        description="Parameter → values: a list, start:stop:step (stop included), or a,b,c"
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Parameters that stay the same; the rest by default"
    )
    sort: str = Field("sharpe", description="Metric the result is sorted by, best first")

    @field_validator("sort")
    @classmethod
    def _known_metric(cls, metric: str) -> str:
        if metric not in METRICS:
            raise ValueError(f"{metric!r} is no metric; there are {', '.join(METRICS)}")
        return metric
