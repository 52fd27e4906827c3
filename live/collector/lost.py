"""Trades that the spool could not give back, asked for again from the exchange."""

import asyncio

import structlog
from sqlalchemy import Engine

from core.errors import BadInput
from live.collector.batch import GapRecord
from live.collector.patience import until_it_answers
from live.collector.writer import Writer
from pipelines.clock import ExchangeClock
from pipelines.exchanges.base import ExchangeRest
from pipelines.warehouse.gaps import GapState, missing_ids

PAGE_IDS = 1_000

_log = structlog.get_logger("lost")


class Reasker:
    """Asks for lost trades while the collector runs. They were counted into their candles when they first
    came, so that they go straight to the writer. (Those an earlier process lost are adopted at the start.)
    """

    def __init__(self, rest: ExchangeRest, engine: Engine, clock: ExchangeClock, writer: Writer) -> None:
        self._rest = rest
        self._engine = engine
        self._clock = clock
        self._writer = writer

    async def run(self) -> None:
        """Bring them, for ever."""
        while True:
            lost = await self._writer.lost.get()
            if lost.first_id is None:
                continue
            try:
                await self._bring(lost.symbol, lost.first_id, lost.last_id)
            except BadInput as error:
                # No longer listed, which ends no other symbol: open in the ledger for a start that finds it.
                _log.warning("lost trades stay lost", symbol=lost.symbol, reason=str(error))

    async def _bring(self, symbol: str, first_id: int, last_id: int) -> None:
        missing = await until_it_answers(
            "lost ids", lambda: asyncio.to_thread(self._missing, symbol, first_id, last_id)
        )
        found = wanted = 0
        for first, last in missing:
            wanted += last - first + 1
            # Elsewhere ids count milliseconds rather than trades.
            step = PAGE_IDS if self._rest.consecutive_ids else last - first + 1
            for low in range(first, last + 1, step):
                high = min(low + step - 1, last)
                trades = await until_it_answers(
                    f"lost trades of {symbol}",
                    lambda low=low, high=high: self._rest.trades_by_id(symbol, low, high),  # type: ignore[misc]
                )
                self._writer.put(trades=trades)
                found += sum(trade.count for trade in trades)
        is_whole = found >= wanted or not self._rest.consecutive_ids
        state: GapState = "refilled" if is_whole else "unfillable"
        note = f"lost on disk; the exchange had {found} of {wanted} missing ids"
        self._writer.put(
            gaps=[GapRecord(symbol, first_id, last_id, state, self._clock.now_ms(), note, "refill")]
        )
        _log.info("lost trades asked for", symbol=symbol, first_id=first_id, last_id=last_id, found=found)

    def _missing(self, symbol: str, first_id: int, last_id: int) -> list[tuple[int, int]]:
        with self._engine.connect() as connection:
            return missing_ids(connection, symbol, first_id, last_id)
