"""A strategy with a `judge` of its own is swept by what that says, not by conditions it may not use."""

import polars as pl

from pipelines.sweep.lines import crossing_pair
from strategies.ema_crossover import EmaCrossover


class Inverted(EmaCrossover):
    """Does the opposite."""

    def judge(self, candles: pl.DataFrame) -> pl.DataFrame:
        judged = super().judge(candles)
        return judged.with_columns(buy=pl.col("sell"), sell=pl.col("buy"))


def test_its_crossing_is_not_taken_for_its_signals() -> None:
    """The shortcut of sweeps for crossings is for strategies that are nothing else."""
    assert crossing_pair(EmaCrossover()) is not None
    assert crossing_pair(Inverted()) is None
