"""What runs, as its heartbeats tell: the servers, each component, and the daemon's connections. Pure."""

from typing import Any

from dashboards.feed import DAEMON_SILENT_MS
from dashboards.rows import epoch_ms

CONNECTION_TROUBLES = {
    "lost_ids": "ids lost",
    "reconnects": "times lost",
    "silences": "silences",
    "unknown_frames": "unknown frames",
}

Component = tuple[str, str, str, int | None, str]
"""Name, tone, word, last heard of in epoch ms, detail."""


def component_rows(
    beats: list[dict[str, Any]], now_ms: int, database_error: str | None, bus_error: str | None
) -> list[Component]:
    """(name, tone, word, last heard of in epoch ms, detail), the servers first. beats: heartbeats' rows."""
    rows: list[Component] = [
        (
            "PostgreSQL",
            *(("bad", "Away") if database_error else ("good", "Answers")),
            None,
            database_error or "",
        ),
        ("Redis", *(("bad", "Away") if bus_error else ("good", "Answers")), None, bus_error or ""),
    ]
    for beat in beats:
        heard = epoch_ms(beat["timestamp"]) or 0
        silent = now_ms - heard > max(DAEMON_SILENT_MS, 5_000 * (beat["details"].get("every_s") or 1))
        rows.append(
            (
                beat["component"],
                "bad" if silent else "good",
                "Silent" if silent else "Running",
                heard,
                _detail(beat["details"]),
            )
        )
        if not silent:
            rows += connection_rows(beat["details"], heard)
    return rows


def connection_rows(details: dict[str, Any], heard: int) -> list[Component]:
    """The daemon's connections to the exchange as its heartbeat measured them: trades, then order books."""
    rows: list[Component] = []
    for row in details.get("connections") or []:
        parts = [row["url"]]
        if row["latency_p99_ms"] is not None:
            parts.append(f"latency {row['latency_p50_ms']:.0f} ms, p99 {row['latency_p99_ms']:.0f} ms")
        parts += [f"{row[name]:,} {words}" for name, words in CONNECTION_TROUBLES.items() if row[name]]
        rows.append((row["connection"], *_connection_state(row["state"]), heard, " · ".join(parts)))
    books = details.get("books") or {}
    if "state" in books:
        detail = f"{books['url']} · {books['channel']} · {books['resyncs']:,} asked for anew"
        rows.append(("order books", *_connection_state(books["state"]), heard, detail))
    return rows


def _connection_state(state: str) -> tuple[str, str]:
    """(tone, word)"""
    return ("good" if state == "live" else "warn"), state.capitalize()


def _detail(details: dict[str, Any]) -> str:
    """The parts of a heartbeat's document that people ask for."""
    named = (("feed", "feed {}"), ("history", "history {}"), ("rss_mb", "{} MB"), ("pid", "pid {}"))
    return " · ".join(form.format(details[name]) for name, form in named if details.get(name) is not None)
