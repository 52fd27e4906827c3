"""Every read of the product on tables of ten million rows: p50 and p95, pages looked at, sequential scans.

ROWS=… for another size. About six minutes at ten million, most of it filling the tables.
"""

import os
import sys
import time

import pytest
from sqlalchemy import Engine

from pipelines.warehouse.database import engine
from tests.big_tables import fill
from tests.plans import Plan, explained
from tests.warehouse_reads import Read, reads

pytestmark = [pytest.mark.servers, pytest.mark.timeout(3600)]

ROWS = int(os.environ.get("ROWS", "10_000_000"))
REPEATS = 20


def test_reads_of_large_tables(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    own = engine(database_url)
    began = time.perf_counter()
    fill(own, ROWS)
    lines = [
        f"{ROWS:,} rows a table, filled in {time.perf_counter() - began:.0f} s; {REPEATS} runs of each read",
        f"{'read':<36} {'p50 ms':>9} {'p95 ms':>9} {'pages':>8}  sequential scans",
    ]
    for name, read in reads().items():
        with explained(own) as plans:
            read(own)
        times = sorted(_took_ms(own, read) for _ in range(REPEATS))
        p50, p95 = times[REPEATS // 2], times[-2]
        lines.append(f"{name:<36} {p50:>9.2f} {p95:>9.2f} {_pages(plans):>8,}  {_scans(plans)}")
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")


def _took_ms(own: Engine, read: Read) -> float:
    began = time.perf_counter()
    read(own)
    return (time.perf_counter() - began) * 1000


def _pages(plans: list[Plan]) -> int:
    return sum(plan.blocks for plan in plans)


def _scans(plans: list[Plan]) -> str:
    return ", ".join(sorted({table for plan in plans for table in plan.scans})) or "none"
