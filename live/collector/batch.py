"""What the collector writes to Postgres in one transaction."""

import msgspec

from core.candles import Candle
from core.trades import Trade
from pipelines.warehouse.gaps import GapActor, GapState

BATCH_TRADES = 20_000
"""A transaction takes no more trades than about this."""


class GapRecord(msgspec.Struct, frozen=True):
    """A line of the ledger of missing trades."""

    symbol: str
    first_id: int
    last_id: int
    state: GapState
    at_ms: int
    note: str | None = None
    by: GapActor = "feed"


class Batch(msgspec.Struct):
    """Trades before candles before gaps; batches are written in the order they were made."""

    trades: list[Trade] = []
    candles: list[Candle] = []
    gaps: list[GapRecord] = []

    def extend(self, later: "Batch") -> None:
        """Take in what came after; of two states of one candle the later one wins when written."""
        self.trades += later.trades
        self.candles += later.candles
        self.gaps += later.gaps


class Position(msgspec.Struct, frozen=True):
    """How far the spool was drained: `offset` bytes of the segment with that id."""

    segment: str
    offset: int


class Lost(msgspec.Struct, frozen=True):
    """Trades of a symbol among these ids were lost. first_id: None when nothing older was in the spool."""

    symbol: str
    first_id: int | None
    last_id: int


class Chunk(msgspec.Struct, frozen=True):
    """The oldest batch that is not written yet.

    drained: where the spool stands once it is; None when the batch comes from memory
    damaged, lost: what of the spool could not be read on the way to it, and the trades that were in it
    """

    batch: Batch
    drained: Position | None = None
    damaged: list[str] = []
    lost: list[Lost] = []
