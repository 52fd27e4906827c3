"""How good the daemon's connections to the exchange are, from its last heartbeat."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from cli.stack.plan import Plan
from cli.stack.servers import server_check
from cli.stack.table import columns

SILENT_MS = 15_000
FAR_OFF_MS, SIMULATED_MS = 1_000, 3_600_000
"""Between these this machine's clock is wrong; beyond, the exchange is a simulation with its own time."""
COUNTS = {
    "trades": "trades",
    "lost_ids": "lost",
    "reconnects": "reconnects",
    "silences": "silences",
    "unknown_frames": "unknown",
}


def connections(plan: Plan) -> dict[str, Any] | None:
    """`connections[]`, `clock`, `rest_url` and `books` as the daemon says; None when it says nothing."""
    from pipelines.clock import SystemClock
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.quality import daemon_details

    if not server_check(plan, "postgres")():
        return None
    try:
        said = daemon_details(engine(str(plan.resolved.database_url)), SystemClock().now_ms() - SILENT_MS)
    except SQLAlchemyError:  # a database without our tables, for one
        return None
    if "connections" not in said:
        return None
    return {name: said.get(name) for name in ("connections", "clock", "rest_url", "books")}


def connections_text(document: Mapping[str, Any]) -> str:
    """The same for people."""
    header = ("connection", "state", "p50", "p99", *COUNTS.values(), "address")
    rows = [
        (
            row["connection"],
            row["state"],
            _ms(row["latency_p50_ms"]),
            _ms(row["latency_p99_ms"]),
            *(str(row[name]) for name in COUNTS),
            row["url"],
        )
        for row in document["connections"]
    ]
    return "\n".join([columns([header, *rows]), *_remarks(document)])


def problem(document: Mapping[str, Any]) -> tuple[bool | None, str]:
    """What `tcp doctor` says: False where no connection is live, None for a lesser trouble."""
    rows = document["connections"]
    live = [row for row in rows if row["state"] == "live"]
    parts = [
        f"{row['connection']}: {row['state']}, p99 {_ms(row['latency_p99_ms']) or 'unknown'}, "
        f"{row['reconnects']} reconnects, {row['lost_ids']} ids lost, {row['url']}"
        for row in rows
    ]
    offset_ms = (document.get("clock") or {}).get("offset_ms") or 0
    wrong_clock = FAR_OFF_MS < abs(offset_ms) < SIMULATED_MS
    if wrong_clock:
        parts.append(f"this machine's clock is {abs(offset_ms)} ms off: let NTP set it")
    if not live:
        return False, "; ".join(parts)
    return (True if len(live) == len(rows) and not wrong_clock else None), "; ".join(parts)


def _remarks(document: Mapping[str, Any]) -> Iterator[str]:
    clock, books = document.get("clock") or {}, document.get("books") or {}
    offset = clock.get("offset_ms")
    if offset is not None:
        side = "ahead of" if offset >= 0 else "behind"
        yield (
            f"exchange's clock: {abs(offset)} ms {side} this machine's, ± {clock['uncertainty_ms']} ms "
            f"(round trip {clock['round_trip_ms']} ms)"
        )
    if document.get("rest_url"):
        yield f"REST: {document['rest_url']}"
    if books.get("state"):
        yield f"order books: {books['state']}, {books['channel']}, {books['resyncs']} resyncs, {books['url']}"


def _ms(latency: float | None) -> str:
    return "" if latency is None else f"{latency:.0f} ms"
