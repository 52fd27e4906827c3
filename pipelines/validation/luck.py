"""What the best of a sweep owes to the number of combinations."""

from collections.abc import Iterable
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
        found = sharpe.drop_nulls().to_numpy()
        mean = float(found.mean()) if found.size else 0.0
        self.join(Luck(sharpe.len(), found.size, mean, float(((found - mean) ** 2).sum())))

    def join(self, other: "Luck") -> None:
        """Those of another one, too."""
        self.count += other.count
        total = self.known + other.known
        if not other.known:
            return
        off = other.mean - self.mean
        self.spread += other.spread + off**2 * self.known * other.known / total
        self.mean += off * other.known / total
        self.known = total

    def moments(self) -> dict[str, float | int]:
        """What `pipelines.warehouse.trials` combines with other trials: count, known, mean, spread."""
        return {"count": self.count, "known": self.known, "mean": self.mean, "spread": self.spread}

    @property
    def deviation(self) -> float | None:
        """Sample deviation of the ratios; None for fewer than two."""
        return sqrt(self.spread / (self.known - 1)) if self.known > 1 else None

    def document(self) -> dict[str, Any]:
        """trials, deviation and expected_maximum, the ratio that luck alone finds in so many that differ as
        these do (see `core.statistics.sharpe.expected_maximum_sharpe`)."""
        expected = None if self.deviation is None else expected_maximum_sharpe(self.count, self.deviation)
        return {"trials": self.count, "deviation": self.deviation, "expected_maximum": expected}


def together(parts: Iterable[Luck]) -> Luck:
    """All of them as one."""
    whole = Luck()
    for part in parts:
        whole.join(part)
    return whole
