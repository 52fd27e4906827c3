"""Backfills asked for by people: runs of Dagster where it is up, else one at a time beside the web server."""

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

from config.settings import Settings
from core.errors import BadInput
from dashboards.dagster_runs import DagsterRuns, NotHeard
from dashboards.jobs import Job, Jobs
from pipelines.backfill.report import BackfillReport, Progress
from pipelines.backfill.run import run_backfill

Kind = Literal["candles", "trades"]
KEPT = 20
MOST_PARTITIONS = 1000
"""Days of one backfill in Dagster; more are fetched here, in one go."""


@dataclass(slots=True)
class Backfill:
    """What was asked for, its job, and how far it is (None before its first page); address: of its runs in
    Dagster; is_heard: whether Dagster answered when it was last asked about them."""

    kind: Kind
    symbol: str
    timeframe: str | None
    first: date
    last: date
    job: Job | None = None
    progress: Progress | None = None
    address: str | None = None
    is_heard: bool = True

    @property
    def days(self) -> list[str]:
        """Every UTC day of it as its partition's key has it."""
        count = (self.last - self.first).days + 1
        return [(self.first + timedelta(days=n)).isoformat() for n in range(count)]

    def row(self) -> dict[str, Any]:
        """A line of the page's list: `what`, `state` (of the job, or `unknown`: Dagster may go on) and
        `said`."""
        state = self.job.state if self.job else "waiting"
        if self.job and isinstance(self.job.failure, NotHeard):
            state = "unknown"
        what = f"{self.symbol} {self.timeframe or ''} {self.kind}".replace("  ", " ")
        return {
            "what": what,
            "days": f"{self.first} – {self.last}",
            "state": state,
            "said": self._said(state),
            "address": self.address,
        }

    def _said(self, state: str) -> str:
        if self.job is not None and state in {"failed", "unknown"}:
            return str(self.job.error)
        if self.job is not None and state == "done":
            report: BackfillReport | None = self.job.result
            if report is None:
                return "by Dagster"
            lacking = f", {report.missing:,} the exchange does not have" if report.missing else ""
            return f"{report.rows:,} written, {report.already:,} were there{lacking}"
        if not self.is_heard:
            return "Dagster does not answer; it is asked again"
        if self.progress is None or not self.progress.total_ms:
            return ""
        share = self.progress.done_ms / self.progress.total_ms
        return f"{share:.0%}, {self.progress.rows:,} written"


@dataclass(slots=True)
class Backfills:
    """Those of this process, newest first. A killed one loses nothing: asked for again, it goes on."""

    settings: Settings
    dagster: DagsterRuns
    jobs: Jobs = field(default_factory=Jobs)
    asked: deque[Backfill] = field(default_factory=lambda: deque(maxlen=KEPT))

    def start(self, kind: Kind, symbol: str, timeframe: str | None, first: date, last: date) -> Backfill:
        """Fetch those UTC days, both included; BadInput for a period that ends before it
        begins, QueueFull when too many wait."""
        if last < first:
            raise BadInput("period", "must end on its first day or later")
        wanted = Backfill(kind, symbol, timeframe if kind == "candles" else None, first, last)
        begin = datetime.combine(first, time(), UTC)
        end = datetime.combine(last + timedelta(days=1), time(), UTC)

        def work() -> BackfillReport | None:
            if self._in_dagster(wanted):
                return None
            return run_backfill(self.settings, kind, symbol, wanted.timeframe, begin, end, on_progress=note)

        def note(progress: Progress) -> None:
            wanted.progress = progress

        wanted.job = self.jobs.submit(work)
        self.asked.appendleft(wanted)
        return wanted

    def _in_dagster(self, wanted: Backfill) -> bool:
        """Whether Dagster took it, and has done it."""
        if len(wanted.days) > MOST_PARTITIONS or not self.dagster.is_up():
            return False

        def note(address: str, is_heard: bool) -> None:
            wanted.address, wanted.is_heard = address, is_heard

        asset = "candle_backfill" if wanted.kind == "candles" else "trade_backfill"
        config = {} if wanted.timeframe is None else {"timeframe": wanted.timeframe}
        keys = [f"{day}|{wanted.symbol}" for day in wanted.days]
        return self.dagster.backfill(asset, keys, config, note) is not None
