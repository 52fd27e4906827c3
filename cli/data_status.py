"""What `tcp data status` says: what is stored, and how whole it is."""

from collections.abc import Iterator
from typing import Any

from msgspec import structs

from cli.times import show_time
from pipelines.lake.status import DataStatus


def status_document(found: DataStatus) -> dict[str, Any]:
    """For programs; times are ISO 8601."""
    return {
        "candles": [
            {
                "exchange": c.exchange,
                "symbol": c.symbol,
                "timeframe": c.timeframe,
                "rows": c.rows,
                "first": show_time(c.first_ms),
                "last": show_time(c.last_ms),
                "missing": c.missing,
                "provisional": c.provisional,
            }
            for c in found.candles
        ],
        "trades": [
            {
                "exchange": t.exchange,
                "symbol": t.symbol,
                "rows": t.rows,
                "first": show_time(t.first_ms),
                "last": show_time(t.last_ms),
                "first_id": t.first_id,
                "last_id": t.last_id,
                "missing_ids": t.missing_ids,
            }
            for t in found.trades
        ],
        "gaps": [structs.asdict(g) for g in found.gaps],
        "comparisons": [structs.asdict(c) for c in found.comparisons],
        "connections": [structs.asdict(c) for c in found.connections],
        "lake": [
            {"dataset": s.dataset, "symbol": s.symbol, "files": s.files, "rows": s.rows, "bytes": s.bytes}
            for s in found.lake
        ],
    }


def status_text(found: DataStatus) -> str:
    """For people, a line for each of what there is."""
    return "\n".join([*_stored(found), *_wholeness(found), *_files(found)]) or "nothing is stored yet"


def _stored(found: DataStatus) -> Iterator[str]:
    for c in found.candles:
        holes = f", {c.missing:,} MISSING" if c.missing else ""
        span = f"{show_time(c.first_ms)} to {show_time(c.last_ms)}"
        yield f"candles     {c.symbol:<12} {c.timeframe:<4} {c.rows:>10,}  {span}{holes}"
    for t in found.trades:
        holes = f", {t.missing_ids:,} ids MISSING" if t.missing_ids else ""
        span = f"{show_time(t.first_ms)} to {show_time(t.last_ms)}"
        yield f"raw trades  {t.symbol:<12}      {t.rows:>10,}  {span}{holes}"


def _wholeness(found: DataStatus) -> Iterator[str]:
    for g in found.gaps:
        closed = f"{g.refilled:,} refilled, {g.unfillable:,} unfillable"
        yield f"holes       {g.symbol:<12}      {g.open:>10,}  open, {closed}"
    for c in found.comparisons:
        left = f", {c.open:,} NOT SETTLED, {c.unexplained:,} of them unexplained" if c.open else ""
        what = f"compared with the exchange's, {c.differing:,} differed{left}"
        yield f"candles     {c.symbol:<12}      {c.compared:>10,}  {what}"
    for q in found.connections:
        late = "" if q.worst_p99_ms is None else f", p99 {q.worst_p99_ms:.0f} ms at worst"
        faults = f"{q.lost_ids:,} lost, {q.reconnects:,} reconnects, {q.silences:,} silences{late}"
        yield f"connection  {q.connection:<12}      {q.trades:>10,}  trades in {q.minutes:,} min, {faults}"


def _files(found: DataStatus) -> Iterator[str]:
    for s in found.lake:
        yield f"lake        {s.symbol:<12}      {s.rows:>10,}  {s.files:,} files, {s.bytes:,} bytes"
