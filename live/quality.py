"""The quality of the connections to the exchange: in every heartbeat, and a row a minute in Postgres."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from core.clock import Clock
from pipelines.clock import ExchangeClock
from pipelines.exchanges.measured import Connections, Counts
from pipelines.warehouse.quality import QualityRow, record_quality

MINUTE_S = 60.0
FAR_OFF_MS = 1_000
SIMULATED_MS = 3_600_000
"""An offset between these is worth a warning: receive times and logs are wrong as well. Beyond an hour it is
no wrong clock but the own time of a simulation."""

_log = structlog.get_logger("quality")


class QualityRecorder:
    """Reads what the connections counted; a minute that cannot be stored is left out."""

    def __init__(
        self,
        connections: Connections,
        rest_url: Callable[[], str],
        engine: Engine,
        clock: ExchangeClock,
        wall: Clock,
    ) -> None:
        self._connections = connections.qualities
        self._rest_url = rest_url
        self._engine = engine
        self._clock = clock
        self._wall = wall
        self._stored = [Counts() for _ in self._connections]
        self._told_far_off = False

    def health(self) -> dict[str, Any]:
        """For the heartbeat; plain JSON."""
        return {
            "clock": self._clock_document(),
            "rest_url": self._rest_url(),
            "connections": [
                {"connection": _name(number), **quality.document()}
                for number, quality in enumerate(self._connections)
            ],
        }

    async def run(self, every_s: float = MINUTE_S) -> None:
        """Store a row of each connection every minute, for ever."""
        while True:
            begin_ms = self._wall.now_ms()
            await asyncio.sleep(every_s)
            self._watch_clock()
            rows = self._rows()
            try:
                await asyncio.to_thread(record_quality, self._engine, begin_ms, rows)
            except SQLAlchemyError as error:
                _log.warning("connection quality not stored", reason=str(error).split("\n")[0])

    def _rows(self) -> list[QualityRow]:
        offset_ms = self._offset_ms()
        rows = []
        for number, quality in enumerate(self._connections):
            counts = quality.counts()
            since, self._stored[number] = counts.minus(self._stored[number]), counts
            p50, p99 = quality.latencies.percentiles()
            rows.append(
                QualityRow(
                    connection=_name(number),
                    url=quality.url,
                    latency_p50_ms=p50,
                    latency_p99_ms=p99,
                    clock_offset_ms=offset_ms,
                    **msgspec.structs.asdict(since),
                )
            )
        return rows

    def _offset_ms(self) -> int | None:
        """None while the exchange's clock runs at a rate of its own: then there is no offset."""
        return None if self._clock.steady is None else self._clock.now_ms() - self._wall.now_ms()

    def _clock_document(self) -> dict[str, Any]:
        steady = self._clock.steady
        if steady is None:
            return {"offset_ms": None, "uncertainty_ms": None, "round_trip_ms": None}
        return {
            "offset_ms": self._offset_ms(),
            "uncertainty_ms": round(steady.uncertainty_ms, 1),
            "round_trip_ms": round(steady.round_trip_ms, 1),
        }

    def _watch_clock(self) -> None:
        offset_ms = self._offset_ms()
        far_off = offset_ms is not None and FAR_OFF_MS < abs(offset_ms) < SIMULATED_MS
        if far_off and not self._told_far_off:
            _log.warning("this machine's clock differs from the exchange's: set it", offset_ms=offset_ms)
        self._told_far_off = far_off


def _name(number: int) -> str:
    return f"trades {number + 1}"
