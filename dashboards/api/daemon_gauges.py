"""What the daemon and its companions say in their heartbeats, as gauges. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from dashboards.api.gauges import gauge
from dashboards.feed import Feed

PLAIN: tuple[tuple[str, str, float, str], ...] = (
    ("tcp_daemon_memory_bytes", "rss_mb", 1e6, "Resident memory of the daemon, bots apart"),
    ("tcp_daemon_cpu_seconds", "cpu_s", 1, "Processor time of the daemon since its start"),
    ("tcp_trades_received", "received_trades", 1, "Trades since the daemon's start"),
    ("tcp_trades_written", "written_trades", 1, "Trades committed since the daemon's start"),
    ("tcp_trades_refused", "refused_trades", 1, "Trades that could not be read since the daemon's start"),
    ("tcp_trades_waiting", "pending_trades", 1, "Trades that wait for PostgreSQL"),
    ("tcp_commit_seconds", "last_commit_ms", 1e-3, "How long the last batch took to be written"),
    (
        "tcp_postgres_away_seconds",
        "postgres_away_s",
        1,
        "Since PostgreSQL takes nothing; 0: it does",
    ),
    ("tcp_redis_away", "bus_away", 1, "1 while Redis does not take what comes"),
    ("tcp_messages_waiting", "bus_waiting", 1, "Final candles that wait for Redis"),
    ("tcp_messages_published", "published", 1, "Messages sent through Redis since the daemon's start"),
)
"""Name, field of the heartbeat, factor, meaning."""
OF_A_SYMBOL: tuple[tuple[str, str, float, str], ...] = (
    ("tcp_symbol_lag_seconds", "lag_ms", 1e-3, "The exchange's clock minus the time of the last trade"),
    ("tcp_symbol_missing_ids", "missing_ids", 1, "Trade ids that are missing now"),
    ("tcp_symbol_refilled_trades", "refilled", 1, "Trades refilled since the daemon's start"),
)


def daemon_gauges(feed: Feed, now_ms: int) -> Iterator[str]:
    """Lines of the text format; nothing of a daemon that never was."""
    yield from gauge(
        "tcp_heartbeat_age_seconds",
        "Since a component was last heard of",
        [({"component": name}, age) for name, age in sorted(feed.ages_s(now_ms).items())],
    )
    if feed.backup_age_s is not None:
        text = "Since the newest verified backup, or since the first start"
        yield from gauge("tcp_backup_age_seconds", text, [({}, feed.backup_age_s)])
    if (archive := feed.archive) is not None:
        text = "1 while PostgreSQL cannot archive its WAL"
        yield from gauge("tcp_wal_archive_failing", text, [({}, int(archive.failing))])
        text = "Finished segments of WAL that are not archived yet"
        yield from gauge("tcp_wal_segments_waiting", text, [({}, archive.waiting)])
    said = feed.daemon
    free = sorted((said.get("disk_free_bytes") or {}).items())
    text = "Room where the daemon's host writes"
    yield from gauge("tcp_disk_free_bytes", text, [({"disk": name}, value) for name, value in free])
    for name, field, factor, text in PLAIN:
        yield from gauge(name, text, _sample({}, said, field, factor))
    spool = said.get("spool") or {}
    for field in ("trades", "bytes"):
        text = f"{field.capitalize()} that wait on disk for PostgreSQL"
        yield from gauge(f"tcp_spool_{field}", text, _sample({}, spool, field, 1))
    compared = said.get("reconciliation") or {}
    text = "Candles that differed from the exchange's since the daemon's start"
    yield from gauge("tcp_candles_differing", text, _sample({}, compared, "differing", 1))
    yield from _symbols(said.get("symbols") or {})


def _symbols(symbols: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield from gauge(
        "tcp_symbol_live",
        "1 for a symbol that is collected",
        [({"symbol": name}, int(one.get("state") == "live")) for name, one in sorted(symbols.items())],
    )
    for name, field, factor, text in OF_A_SYMBOL:
        samples = [
            sample
            for symbol, one in sorted(symbols.items())
            for sample in _sample({"symbol": symbol}, one, field, factor)
        ]
        yield from gauge(name, text, samples)


def _sample(
    labels: dict[str, str], said: Mapping[str, Any], field: str, factor: float
) -> list[tuple[dict[str, str], float]]:
    value = said.get(field)
    return [] if value is None else [(labels, round(float(value) * factor, 6))]
