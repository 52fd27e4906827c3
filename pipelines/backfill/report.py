"""What a backfill did, and how far it is."""

from collections.abc import Callable

import msgspec


class Progress(msgspec.Struct, frozen=True):
    """done_ms of total_ms of the requested time are dealt with; rows: written so far."""

    done_ms: int
    total_ms: int
    rows: int

    def __str__(self) -> str:
        return f"{self.done_ms / self.total_ms:.0%}, {self.rows:,} rows"


class BackfillReport(msgspec.Struct, frozen=True):
    """The result of one backfill of [requested_start_ms, requested_end_ms).

    end_ms: where it really ended (the exchange's present, or what is collected, when that came first)
    rows: fetched and written; already: candles that were stored before (0 for trades)
    missing: candles or trade ids that the exchange does not have either
    begin_ms: the time of the first trade, where the exchange keeps none from before it although older ones
        were asked for; None where the backfill reaches back as far as it was to
    """

    kind: str
    symbol: str
    timeframe: str | None
    requested_start_ms: int
    requested_end_ms: int
    end_ms: int
    rows: int
    already: int
    missing: int
    begin_ms: int | None = None


OnProgress = Callable[[Progress], None]
