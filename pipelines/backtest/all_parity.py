"""Parity of every bot over a stretch of its life: what the nightly check of Dagster says."""

from dataclasses import dataclass
from typing import Any

from core.errors import BadInput
from pipelines.backtest.live_parity import check_bot
from pipelines.backtest.parity import ParityReport
from pipelines.warehouse.bot_history import judged_between
from pipelines.warehouse.database import engine as engine_of


@dataclass(frozen=True)
class Compared:
    """A bot and its comparison, or why there is none."""

    bot: str
    report: ParityReport | None = None
    reason: str | None = None

    @property
    def differs(self) -> bool:
        """Whether it was compared and did not do what a backtest does."""
        return self.report is not None and not self.report.passed

    def row(self) -> dict[str, Any]:
        """As a row of a table for people."""
        found = self.report
        if found is None:
            return {"bot": self.bot, "result": f"not compared: {self.reason}"}
        said = f"{len(found.differences):,} differences" if found.differences else "equal"
        return {
            "bot": self.bot,
            "result": said,
            "strategy": found.strategy,
            "market": f"{found.symbol} {found.timeframe}",
            "candles": found.candles,
            "fills": found.fills,
            "balance": found.live_balance,
            "replayed": found.replay_balance,
            "first difference": str(found.differences[0]) if found.differences else "",
        }


def check_bots(database_url: str, start_ms: int, end_ms: int) -> list[Compared]:
    """Every bot that judged a candle between the two times, compared over them, by name. One whose
    configuration changed between them is not: each configuration is compared on its own."""
    engine, found = engine_of(database_url), []
    for name in judged_between(engine, start_ms, end_ms):
        try:
            found.append(Compared(name, check_bot(database_url, name, start_ms, end_ms)))
        except BadInput as error:  # its strategy is gone, or does something that a replay cannot
            found.append(Compared(name, reason=str(error)))
    return found
