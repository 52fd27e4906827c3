"""Opens the source of matches that the options name."""

from pipelines.exchanges.sim.days import DayTrades
from pipelines.exchanges.sim.history import Source
from pipelines.exchanges.sim.model import MarketModel
from pipelines.exchanges.sim.options import SimOptions

_END_MARGIN_MS = 120_000  # virtual time goes this far past the end at speed max, so that its candle closes


class EndingMarket:
    """A market in which nothing is traded from `end_ms` on."""

    def __init__(self, source: Source, end_ms: int) -> None:
        self._source = source
        self._end_ms = end_ms
        self.specs = source.specs
        self.first_ms = source.first_ms
        self.natural_start_ms = source.natural_start_ms
        self.day_of_id = source.day_of_id

    def end_ms(self) -> int:
        """When nothing happens any more, and the last candle is closed."""
        return min(self._end_ms + _END_MARGIN_MS, self._source.end_ms())

    def day(self, symbol: str, day: int) -> DayTrades:
        """The source's matches of a UTC day, up to the end."""
        trades = self._source.day(symbol, day)
        return trades.part(0, trades.until(self._end_ms - 1))


def open_source(options: SimOptions) -> Source:
    """The market model, or the market of recorded files; with an end, if it is to have one."""
    source = _market(options)
    return source if options.end_ms is None else EndingMarket(source, options.end_ms)


def _market(options: SimOptions) -> Source:
    if options.source == "model":
        return MarketModel(options.seed, options.activity)
    from pipelines.exchanges.sim.recorded import RecordedMarket  # polars: not needed by the model

    files = (options.source,) if isinstance(options.source, str) else tuple(options.source)
    return RecordedMarket(files, options.timestamps)
