"""Opens the source of matches that the options name."""

from pipelines.exchanges.sim.history import Source
from pipelines.exchanges.sim.model import MarketModel
from pipelines.exchanges.sim.options import SimOptions


def open_source(options: SimOptions) -> Source:
    """The market model, or the market of recorded files."""
    if options.source == "model":
        return MarketModel(options.seed, options.activity)
    from pipelines.exchanges.sim.recorded import RecordedMarket  # polars: not needed by the model

    files = (options.source,) if isinstance(options.source, str) else tuple(options.source)
    return RecordedMarket(files, options.timestamps)
