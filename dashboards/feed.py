"""What the top bar says: which exchange, is it live, how late, and what does not answer."""

from datetime import datetime
from typing import Any

from dashboards.failures import cause
from dashboards.rows import epoch_ms
from pipelines.warehouse.wal_archive import Archive

DAEMON_SILENT_MS = 15_000
MARKET_SILENT_MS = 10_000


class Feed:
    """State of exchange, daemon, bus and database, as last seen from this process (wall ms)."""

    def __init__(self, exchange: str) -> None:
        self.exchange = exchange
        self.kill_switch = False
        self.archive: Archive | None = None
        self.backup_age_s: float | None = None
        self.database_error: str | None = None
        self.database_since_ms: int | None = None
        self.bus_error: str | None = None
        self._beat: dict[str, Any] | None = None
        self._heard_ms: dict[str, int] = {}
        self._market_ms: int | None = None
        self._lag_ms: int | None = None

    def components(self, rows: list[dict[str, Any]]) -> None:
        """Take in the heartbeats; the row `live` carries the exchange's clock and its rate."""
        self._heard_ms = {row["component"]: _ms(row["timestamp"]) for row in rows}
        self._beat = next((row for row in rows if row["component"] == "live"), None)

    def market_message(self, now_ms: int, published_ms: int | None) -> None:
        """A candle came over the bus."""
        self._market_ms = now_ms
        if published_ms is not None:
            self._lag_ms = max(0, now_ms - published_ms)

    def database_lost(self, now_ms: int, error: Exception) -> None:
        """The database does not answer; the first line of the driver's message is kept, if it has one."""
        if self.database_error is None:
            self.database_since_ms = now_ms
        self.database_error = cause(error)

    @property
    def _details(self) -> dict[str, Any]:
        return self._beat["details"] if self._beat else {}

    @property
    def daemon(self) -> dict[str, Any]:
        """What the daemon said last; empty before it said anything."""
        return self._details

    def ages_s(self, now_ms: int) -> dict[str, float]:
        """Seconds since each component was heard of."""
        return {name: max(0, now_ms - heard_ms) / 1000 for name, heard_ms in self._heard_ms.items()}

    @property
    def connections(self) -> list[dict[str, Any]]:
        """The daemon's connections to the exchange, as it measured them; empty before it said anything."""
        said: list[dict[str, Any]] = self._details.get("connections") or []
        return said

    def latency_ms(self, now_ms: int) -> tuple[float | None, float | None]:
        """From a trade to its arrival at the daemon over the last minute, (p50, p99) of the live connection
        that is worst: trouble of one is trouble to come. None while the daemon is silent, and where no live
        connection brought a trade."""
        if self._silent(now_ms):
            return None, None
        live = [
            (row["latency_p50_ms"], row["latency_p99_ms"])
            for row in self.connections
            if row["state"] == "live" and row["latency_p50_ms"] is not None
        ]
        return max(live, default=(None, None))

    def _silent(self, now_ms: int) -> bool:
        return self._beat is None or now_ms - _ms(self._beat["timestamp"]) > DAEMON_SILENT_MS

    @property
    def clock_offset_ms(self) -> int | None:
        """The exchange's clock minus the daemon's machine's; None where it has a time of its own."""
        offset: int | None = (self._details.get("clock") or {}).get("offset_ms")
        return offset

    @property
    def rate(self) -> float:
        """Exchange seconds a wall second: 1, or the speed of a simulation."""
        rate = self._details.get("clock_rate")
        return float(rate) if isinstance(rate, int | float) and rate > 0 else 1.0

    def exchange_ms(self, now_ms: int) -> int:
        """The exchange's clock at wall time `now_ms`, run on from the last heartbeat."""
        if self._beat is None or self._beat["exchange_time"] is None:
            return now_ms
        beat_ms = _ms(self._beat["timestamp"])
        ahead = min(max(0, now_ms - beat_ms), DAEMON_SILENT_MS) * self.rate
        return _ms(self._beat["exchange_time"]) + round(ahead)

    def state(self, now_ms: int) -> str:
        """live, silent (no market data for 10 s), or what is away: database, bus, daemon, exchange."""
        if self.database_error is not None:
            return "database"
        if self.bus_error is not None:
            return "bus"
        if self._silent(now_ms):
            return "daemon"
        if self._details.get("feed", "live") != "live":
            return "exchange"
        if self._market_ms is None or now_ms - self._market_ms > MARKET_SILENT_MS:
            return "silent"
        return "live"

    def document(self, now_ms: int) -> dict[str, Any]:
        """Everything the top bar needs, JSON-ready. lag_ms: of a candle from the daemon to this process, over
        the bus; latency: of trades from the exchange to the daemon."""
        median, worst = self.latency_ms(now_ms)
        return {
            "exchange": self.exchange,
            "state": self.state(now_ms),
            "rate": round(self.rate, 1),
            "latency_ms": median,
            "latency_p99_ms": worst,
            "lag_ms": self._lag_ms,
            "exchange_ms": self.exchange_ms(now_ms),
            "wall_ms": now_ms,
            "market_ms": self._market_ms,
            "kill_switch": self.kill_switch,
            "error": self.database_error or self.bus_error or self._details.get("feed_detail") or None,
            "since_ms": self.database_since_ms if self.database_error else None,
        }


def _ms(moment: datetime) -> int:
    return epoch_ms(moment) or 0
