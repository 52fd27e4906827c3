"""What the best of a sweep owes to the number of combinations."""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import polars as pl

from core.statistics.sharpe import expected_maximum_sharpe


@dataclass
class Luck:
    """Number and spread of the annual Sharpe ratios of combinations, taken in as they come."""

    count: int = 0
    known: int = 0
    mean: float = 0.0
    spread: float = 0.0

    def add(self, sharpe: pl.Series) -> None:
        """Some more of them; one without a ratio is a trial too (Chan's update of mean and spread)."""
        self.count += sharpe.len()
        found = sharpe.drop_nulls()
        n = found.len()
        if not n:
            return
        mean = float(found.mean())  # type: ignore[arg-type]
        off, total = mean - self.mean, self.known + n
        self.spread += float(((found - mean) ** 2).sum()) + off**2 * self.known * n / total
        self.mean += off * n / total
        self.known = total

    @property
    def deviation(self) -> float | None:
        """Sample deviation of the ratios; None for fewer than two."""
        return sqrt(self.spread / (self.known - 1)) if self.known > 1 else None

    def document(self) -> dict[str, Any]:
        """trials, deviation and expected_maximum, the ratio that luck alone finds in so many that differ as
        these do (see `core.statistics.sharpe.expected_maximum_sharpe`)."""
        expected = None if self.deviation is None else expected_maximum_sharpe(self.count, self.deviation)
        return {"trials": self.count, "deviation": self.deviation, "expected_maximum": expected}
