"""Opens the source of matches that the options name."""

from pipelines.exchanges.sim.model import MarketModel
from pipelines.exchanges.sim.options import SimOptions


def open_source(options: SimOptions) -> MarketModel:
    """The market model."""
    return MarketModel(options.seed, options.activity)
