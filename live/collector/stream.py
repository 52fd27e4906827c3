"""One symbol: trades in, each once; candles out, when they are complete."""

from collections.abc import Iterable
from enum import Enum

from core.candle_builder import CandleBuilder
from core.candles import Candle
from core.continuity import Continuity
from core.timeframes import Timeframe
from core.trades import Trade

REFILL_BUDGET_S = 3.0
"""Longest wait for missing trades before a candle goes out provisional …"""
REFILL_IDS_PER_S = 500
"""… and one second more for so many missing ids: the exchange hands out about a thousand a second."""


class Verdict(Enum):
    """What may be done with a minute whose boundary and grace have passed."""

    COMPLETE = "complete"
    PROVISIONAL = "provisional"
    WAIT = "wait"
    ASK = "ask"
    """No trade of a later minute has come: ask the exchange whether there was none."""


class SymbolStream:
    """Continuity and candles of one symbol. Reads no clock: times are handed in.

    Parameters
    ----------
    symbol, timeframes: see CandleBuilder
    start_ms: boundary of the first minute to build
    continuity: knows the last trade before it
    """

    def __init__(
        self, symbol: str, timeframes: Iterable[Timeframe], start_ms: int, continuity: Continuity
    ) -> None:
        self.symbol = symbol
        self.start_ms = start_ms
        self.continuity = continuity
        self.builder = CandleBuilder(symbol, timeframes, start_ms)
        self.trades = 0
        self._quiet_through_ms = 0
        self._blocked_since: float | None = None
        self._provisional: list[int] = []

    def take(self, trades: Iterable[Trade]) -> list[Trade]:
        """Count in what is new; returns it, to be stored."""
        new = self.continuity.take(trades)
        self.builder.add_all(new)
        self.trades += len(new)
        return new

    def confirm_quiet(self, through_ms: int) -> None:
        """The exchange was asked: no trade before `through_ms` is unknown to us but the gaps."""
        self._quiet_through_ms = max(self._quiet_through_ms, through_ms)

    def advance(self, exchange_ms: int, grace_ms: int, monotonic_s: float) -> tuple[list[Candle], Verdict]:
        """Release what is due at `exchange_ms`: new candles and revisions, and why it went no further."""
        released = self._revisions()
        while True:
            verdict = self._verdict(exchange_ms - grace_ms, monotonic_s)
            if verdict not in (Verdict.COMPLETE, Verdict.PROVISIONAL):
                return released, verdict
            close_ms = self.builder.next_close_ms
            released += self.builder.close(provisional=verdict is Verdict.PROVISIONAL)
            if verdict is Verdict.PROVISIONAL:
                self._provisional.append(close_ms)
            else:
                self._blocked_since = None

    def _verdict(self, due_through_ms: int, monotonic_s: float) -> Verdict:
        self.builder.begin_with_first_trade()
        close_ms = self.builder.next_close_ms
        if close_ms > due_through_ms or not self.builder.can_close():
            return Verdict.WAIT
        if self._lacks(close_ms):
            if self._blocked_since is None:
                self._blocked_since = monotonic_s
            missing = sum(gap.size for gap in self.continuity.gaps)
            budget_s = REFILL_BUDGET_S + missing / REFILL_IDS_PER_S
            waited = monotonic_s - self._blocked_since > budget_s
            return Verdict.PROVISIONAL if waited else Verdict.WAIT
        if self.builder.latest_ms >= close_ms or self._quiet_through_ms >= close_ms:
            return Verdict.COMPLETE
        return Verdict.ASK

    def _revisions(self) -> list[Candle]:
        """Changed candles, once nothing that belongs to them is missing any more."""
        settled = [close_ms for close_ms in self._provisional if not self._lacks(close_ms)]
        for close_ms in settled:
            self._provisional.remove(close_ms)
            self.builder.settle(close_ms)
        if any(self._lacks(close_ms) for close_ms in self.builder.revised):
            return []
        return self.builder.take_revisions()

    def _lacks(self, close_ms: int) -> bool:
        """Whether a missing trade may belong to that minute."""
        return self.continuity.blocks_within(close_ms - Timeframe.M1.ms, close_ms)
