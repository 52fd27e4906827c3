"""Candles from before the first live trade: what charts and warm-ups need, in the order it is needed."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog
from sqlalchemy import Engine

from core.candle_builder import CandleBuilder
from core.candles import Candle
from core.errors import BadInput
from core.timeframes import Timeframe
from live.collector.patience import until_it_answers
from live.collector.stream import SymbolStream
from pipelines.backfill.candles import backfill_candles
from pipelines.exchanges.base import ExchangeRest
from pipelines.warehouse.resume import exact_candles

HIGHER_CANDLES = 300
"""Candles of each higher timeframe: one page of the exchange's."""
FIRST_MINUTES = 360
"""Minutes fetched before all else, or back to midnight if that is more."""
UNCONFIRMED_S = 1.0
UNCONFIRMED_ATTEMPTS = 60
"""How long is waited for the exchange to confirm the last minutes before the start."""
DAY_MS = 86_400_000

_log = structlog.get_logger("history")


class History:
    """Loads history for streams while they run; live candles never wait for it, but for the first minutes,
    without which the unfinished longer candles have no beginning.

    Parameters
    ----------
    days: of 1m candles
    on_candles: told of higher candles that could be completed because of the loaded minutes
    """

    def __init__(
        self,
        rest: ExchangeRest,
        engine: Engine,
        database_url: str,
        timeframes: Sequence[Timeframe],
        days: int,
        on_candles: Callable[[Sequence[Candle]], None],
    ) -> None:
        self._rest = rest
        self._engine = engine
        self._database_url = database_url
        self._timeframes = timeframes
        self._days = days
        self._on_candles = on_candles
        self.state = "waiting"

    async def run(self, streams: Mapping[str, SymbolStream]) -> None:
        """Load for all symbols; what the exchange refuses is tried again."""
        # What the builder has closed since may wait to be written, behind its trades: a bot that found the
        # exchange's candle first would judge it without them.
        starts = {symbol: stream.start_ms for symbol, stream in streams.items()}
        self.state = "first minutes"
        await asyncio.gather(
            *(self._first_minutes(stream, starts[symbol]) for symbol, stream in streams.items())
        )
        self.state = "higher timeframes"
        await self._higher(starts, [tf for tf in self._timeframes if Timeframe.M1.ms < tf.ms < DAY_MS])
        self.state = "minutes"
        for symbol, start_ms in starts.items():
            await self._load(symbol, Timeframe.M1, start_ms - self._days * DAY_MS, start_ms)
        self.state = "days"
        await self._higher(starts, [timeframe for timeframe in self._timeframes if timeframe.ms >= DAY_MS])
        self.state = "complete"
        _log.info("history complete", symbols=list(streams))

    async def _higher(self, starts: Mapping[str, int], timeframes: Sequence[Timeframe]) -> None:
        for timeframe in timeframes:
            for symbol, start_ms in starts.items():
                end_ms = timeframe.open_ms(start_ms)
                await self._load(symbol, timeframe, end_ms - HIGHER_CANDLES * timeframe.ms, end_ms)

    async def _first_minutes(self, stream: SymbolStream, start_ms: int) -> None:
        """Again while the last of them are not confirmed: without them no longer candle has a beginning."""
        first_ms = min(start_ms - start_ms % DAY_MS, start_ms - FIRST_MINUTES * Timeframe.M1.ms)
        for _ in range(UNCONFIRMED_ATTEMPTS):
            await self._load(stream.symbol, Timeframe.M1, first_ms, start_ms)
            minutes = await until_it_answers(
                "stored minutes", lambda: asyncio.to_thread(self._stored, stream.symbol, first_ms, start_ms)
            )
            self._on_candles(stream.builder.seed(minutes))
            if not minutes or _whole(minutes, start_ms):
                break
            await asyncio.sleep(UNCONFIRMED_S)
        else:
            _log.warning("the exchange does not confirm its last minutes", symbol=stream.symbol)
        await self._finish_longer(stream.symbol, start_ms)

    async def _finish_longer(self, symbol: str, start_ms: int) -> None:
        """Longer candles of today and yesterday out of stored minutes. An earlier process may have been
        killed while they waited for the minutes before its start, and the exchange's own count no trades."""
        since_ms = start_ms - start_ms % DAY_MS - DAY_MS
        builder = CandleBuilder(symbol, self._timeframes, start_ms)
        builder.seed(
            await until_it_answers(
                "stored minutes", lambda: asyncio.to_thread(self._stored, symbol, since_ms, start_ms)
            )
        )
        self._on_candles(builder.rolled_up())

    def _stored(self, symbol: str, after_ms: int, through_ms: int) -> list[Candle]:
        with self._engine.connect() as connection:
            return exact_candles(connection, symbol, Timeframe.M1, after_ms, through_ms)

    async def _load(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> None:
        """Fetch what is missing of (start_ms, end_ms], until it is there."""
        if start_ms >= end_ms:
            return
        try:
            report = await until_it_answers(
                f"history of {symbol} {timeframe}",
                lambda: backfill_candles(self._rest, self._database_url, symbol, timeframe, start_ms, end_ms),
            )
        except BadInput as error:
            _log.warning("no history", symbol=symbol, timeframe=timeframe.value, reason=str(error))
            return
        _log.debug("history loaded", symbol=symbol, timeframe=timeframe.value, rows=report.rows)


def _whole(minutes: Sequence[Candle], end_ms: int) -> bool:
    """Whether they follow one another without a hole up to `end_ms`."""
    return len(minutes) == (end_ms - minutes[0].open_ms) // Timeframe.M1.ms
