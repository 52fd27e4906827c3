"""The quality of each connection to the exchange: how late, how often cut, what it brought, what it lost."""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import structlog

from core.trades import Trade
from pipelines.clock import ExchangeClock
from pipelines.exchanges.base import TradeFeed

WINDOW_S = 60.0
SAMPLE_S = 0.02
"""Latency is taken this often at most: fifty a second say as much as ten thousand."""

OnTrades = Callable[[list[Trade]], None]
OnState = Callable[[str, str], None]

_log = structlog.get_logger("connections")


class Counts(msgspec.Struct):
    """What happened on a connection. messages: deliveries of trades; repeated: trades that it had brought
    before; lost_ids: ids that it never brought, those of an interruption included; silences: subscriptions
    that fell silent."""

    messages: int = 0
    trades: int = 0
    repeated: int = 0
    lost_ids: int = 0
    unknown_frames: int = 0
    reconnects: int = 0
    silences: int = 0

    def minus(self, earlier: "Counts") -> "Counts":
        """What came after `earlier`."""
        return Counts(
            *(
                a - b
                for a, b in zip(msgspec.structs.astuple(self), msgspec.structs.astuple(earlier), strict=True)
            )
        )


class Latencies:
    """The last minute's times from the exchange to here, real ms."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._samples: deque[tuple[float, float]] = deque(maxlen=int(WINDOW_S / SAMPLE_S))
        self._next_at = 0.0

    def is_due(self) -> bool:
        """Whether another sample is wanted now."""
        return self._monotonic() >= self._next_at

    def add(self, latency_ms: float) -> None:
        """Keep one."""
        now = self._monotonic()
        self._next_at = now + SAMPLE_S
        self._samples.append((now, latency_ms))

    def percentiles(self) -> tuple[float | None, float | None]:
        """(p50, p99) of the last minute, by nearest rank; None without samples."""
        since = self._monotonic() - WINDOW_S
        recent = sorted(ms for at, ms in self._samples if at >= since)
        if not recent:
            return None, None
        return _rank(recent, 0.50), _rank(recent, 0.99)


def _rank(ordered: Sequence[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1)


class ConnectionQuality:
    """One connection, as measured by `MeasuredFeed`.

    Parameters
    ----------
    clock: the exchange's, which latencies are measured against
    url: where it is connected to, now
    unknown: the frames that it could not read, by reason, so far; trades of an impossible time are added
    counts_ids: whether the trade ids of a symbol follow each other, so that a jump is a loss
    """

    def __init__(
        self,
        clock: ExchangeClock,
        url: Callable[[], str],
        unknown: Callable[[], Counter[str]] = Counter,
        counts_ids: bool = False,
    ) -> None:
        self.latencies = Latencies()
        self.state = "connecting"
        self._clock = clock
        self._url = url
        self._unknown = unknown
        self._doubtful: Counter[str] = Counter()
        self._counts_ids = counts_ids
        self._counts = Counts()
        self._last_ids: dict[str, int] = {}

    @property
    def url(self) -> str:
        """Where it is connected to, or tries to."""
        return self._url()

    def counts(self) -> Counts:
        """Since the start."""
        return msgspec.structs.replace(self._counts, unknown_frames=self._reasons().total())

    def document(self) -> dict[str, Any]:
        """For the heartbeat; plain JSON."""
        p50, p99 = self.latencies.percentiles()
        return {
            "url": self.url,
            "state": self.state,
            "latency_p50_ms": p50,
            "latency_p99_ms": p99,
            **msgspec.structs.asdict(self.counts()),
            "unknown_reasons": dict(self._reasons().most_common(10)),
        }

    def possible(self, trades: list[Trade]) -> list[Trade]:
        """Without those that cannot have happened when they say, which count as unknown frames: candles of
        all symbols would follow the clock that they would set."""
        times = [trade.timestamp_ms for trade in trades]
        if self._clock.doubt(min(times)) is None and self._clock.doubt(max(times)) is None:
            return trades
        return [trade for trade in trades if self._is_possible(trade)]

    def _is_possible(self, trade: Trade) -> bool:
        reason = self._clock.doubt(trade.timestamp_ms)
        if reason is None:
            return True
        if reason not in self._doubtful:
            _log.warning("a frame of the exchange is not known", reason=reason, trade=repr(trade))
        self._doubtful[reason] += 1
        return False

    def _reasons(self) -> Counter[str]:
        return self._unknown() + self._doubtful

    def heard(self, trades: Sequence[Trade]) -> None:
        """Trades of one symbol or of several came."""
        self._counts.messages += 1
        self._counts.trades += len(trades)
        fresh = self._follow(trades) if self._counts_ids else True
        if fresh and self.latencies.is_due() and self._clock.is_set:
            # Never below 0, though the clock may be wrong by its uncertainty.
            late_ms = max(0, self._clock.now_ms() - trades[-1].timestamp_ms)
            self.latencies.add(late_ms / max(self._clock.rate, 0.001))

    def told(self, state: str) -> None:
        """The connection's state changed."""
        self._counts.reconnects += state == "reconnecting"
        self._counts.silences += state == "silent"
        if state not in {"refused", "moving"}:
            self.state = state

    def _follow(self, trades: Sequence[Trade]) -> bool:
        """Count what is missing and what came again. Whether the newest trade is news: what answers a
        subscription may be hours old."""
        symbol = trades[0].symbol
        last = self._last_ids.get(symbol)
        if last is not None:
            # The usual case first, 50 ns a trade: each follows the one before.
            for trade in trades:
                if trade.trade_id - trade.count != last or trade.symbol != symbol:
                    break
                last = trade.trade_id
            else:
                self._last_ids[symbol] = last
                return True
        return [self._follow_one(trade) for trade in trades][-1]

    def _follow_one(self, trade: Trade) -> bool:
        last = self._last_ids.get(trade.symbol)
        if last is not None and trade.trade_id <= last:
            self._counts.repeated += 1
            return False
        self._last_ids[trade.symbol] = trade.trade_id
        if last is None:
            return False
        self._counts.lost_ids += max(0, trade.trade_id - trade.count - last)
        return True


class Connections:
    """The connections of a process, each measured against the exchange's clock."""

    def __init__(self, clock: ExchangeClock) -> None:
        self._clock = clock
        self.qualities: list[ConnectionQuality] = []

    def measured(
        self,
        feed: TradeFeed,
        url: Callable[[], str],
        unknown: Callable[[], Counter[str]] = Counter,
        counts_ids: bool = False,
    ) -> "MeasuredFeed":
        """The feed, from now on one of the connections; see `ConnectionQuality`."""
        quality = ConnectionQuality(self._clock, url, unknown, counts_ids)
        self.qualities.append(quality)
        return MeasuredFeed(feed, quality)


class MeasuredFeed:
    """A `TradeFeed` that hands on what another one brings, and takes note of it. Trades that cannot have
    happened when they say are left out: where ids are counted they show as a gap."""

    def __init__(self, feed: TradeFeed, quality: ConnectionQuality) -> None:
        self._feed = feed
        self._quality = quality

    async def run(self, symbols: Sequence[str], on_trades: OnTrades, on_state: OnState) -> None:
        """See `TradeFeed`."""
        await self._feed.run(symbols, partial(self._trades, on_trades), partial(self._state, on_state))

    def _trades(self, on_trades: OnTrades, trades: list[Trade]) -> None:
        if trades and (trades := self._quality.possible(trades)):
            self._quality.heard(trades)
        on_trades(trades)

    def _state(self, on_state: OnState, state: str, detail: str) -> None:
        self._quality.told(state)
        on_state(state, detail)
