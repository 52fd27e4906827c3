"""Runs side by side: is one better than another, or did it only have luck?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.errors import BadInput
from core.metrics import DAY_MS, YEAR_MS, returns
from core.statistics.bootstrap import CONFIDENCE, RESAMPLES
from core.statistics.superiority import difference, holm, superiority
from core.timeframes import Timeframe
from pipelines.validation.periods import ENOUGH, HOUR_MS

Floats = NDArray[np.float64]
LEAST = 10
DIFFERENCE = ("difference", "low", "high", "p_value", "p_corrected")
BUY_AND_HOLD = "buy_and_hold"
Unit = Literal["day", "hour", "candle"]


@dataclass(frozen=True)
class Record:
    """A run to compare: its document (see `pipelines.backtest.saved`) and its equity curve, if kept."""

    document: dict[str, Any]
    equity: pl.DataFrame | None

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.document["id"])


def compare(records: Sequence[Record], benchmark: str = "first") -> dict[str, Any]:
    """Every run against a benchmark: `first`, `buy_and_hold` (the first one's market), or the id of one.

    Mean advantage a year with its interval and p-value over the periods that all runs have in common, the
    p-values also corrected for their number (Holm), and the test for superior ability of the best. A single
    run is compared with buy and hold. BadInput for a benchmark that is not there.
    """
    ids = [record.id for record in records]
    if len(set(ids)) < len(ids):
        raise BadInput("runs", f"{max(ids, key=ids.count)} is named twice")
    chosen = BUY_AND_HOLD if len(records) == 1 and benchmark == "first" else benchmark
    base = None if chosen == BUY_AND_HOLD else _base(records, chosen)
    unit, table, named = _common(records, base)
    notes = _notes(records, base, table, unit)
    document: dict[str, Any] = {
        "benchmark": named,
        "period": unit,
        "observations": table.height,
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
        "differences": [],
        "superior": None,
        "notes": notes,
    }
    others = [name for name in table.columns if name not in ("period", named)]
    if table.height < LEAST or not others:
        return document
    a_year = YEAR_MS / _length_ms(unit, records)
    market = table[named].to_numpy()
    rivals = {name: table[name].to_numpy() for name in others}
    document["differences"] = _differences(rivals, market, a_year)
    tested = superiority(np.column_stack(list(rivals.values())) - market[:, None])
    if tested is not None:
        p_values = {"lower": tested.lower, "p_value": tested.consistent, "upper": tested.upper}
        document["superior"] = {"best": others[tested.best]} | p_values
    return document


def _differences(rivals: dict[str, Floats], market: Floats, a_year: float) -> list[dict[str, Any]]:
    found = {name: difference(values, market) for name, values in rivals.items()}
    known = {name: value for name, value in found.items() if value is not None}
    corrected = holm([value.p_value for value in known.values()])
    rows: list[dict[str, Any]] = []
    for name in rivals:
        row: dict[str, Any] = {"id": name, **dict.fromkeys(DIFFERENCE)}
        if name in known:
            value, p = known[name], corrected[list(known).index(name)]
            numbers = (value.mean * a_year, value.low * a_year, value.high * a_year, value.p_value, p)
            row |= dict(zip(DIFFERENCE, numbers, strict=True))
        rows.append(row)
    return rows


def _base(records: Sequence[Record], benchmark: str) -> Record:
    if benchmark == "first":
        return records[0]
    for record in records:
        if record.id == benchmark:
            return record
    known = ", ".join(["first", BUY_AND_HOLD, *(record.id for record in records)])
    raise BadInput("--benchmark", f"{benchmark!r} is none of {known}")


def _common(records: Sequence[Record], base: Record | None) -> tuple[Unit, pl.DataFrame, str]:
    """(unit, table of the periods all have in common, name of the benchmark's column)."""
    named = BUY_AND_HOLD if base is None else base.id
    units: tuple[Unit, ...] = ("day", "hour", "candle")
    table = pl.DataFrame({"period": []}, schema={"period": pl.Int64})
    if any(record.equity is None for record in records):
        return "day", table, named
    if base is None and "close" not in records[0].equity.columns:  # type: ignore[union-attr]
        return "day", table, named
    for unit in units:
        frames = [_returns(record, unit, "equity", record.id) for record in records]
        if base is None:
            frames.append(_returns(records[0], unit, "close", BUY_AND_HOLD))
        table = frames[0]
        for frame in frames[1:]:
            # A day that one of them began or ended inside of is not the same stretch of time for all.
            table = table.join(frame, on=["period", "begins", "ends"], how="inner")
        table = table.sort("period").drop("begins", "ends")
        if table.height >= ENOUGH:
            break
    return unit, table, named


def _returns(record: Record, unit: Unit, column: str, name: str) -> pl.DataFrame:
    """The return of each period (its number) under that name, and of what time it is: the last close before
    the period and the last one in it."""
    equity = record.equity
    assert equity is not None
    close_ms = equity["timestamp"].dt.epoch("ms").to_numpy()
    period = (close_ms - 1) // _length_ms(unit, (record,))
    last = np.append(period[1:] != period[:-1], True)
    values = equity[column].to_numpy()
    start = float(values[0]) if column == "close" else float(record.document.get("initial_cash") or values[0])
    opened, ends = close_ms[0] - Timeframe(record.document["timeframe"]).ms, close_ms[last]
    begins = np.concatenate(([opened], ends[:-1]))
    found = {"period": period[last], "begins": begins, "ends": ends}
    return pl.DataFrame(found | {name: returns(values[last], start)})


def _length_ms(unit: Unit, records: Sequence[Record]) -> int:
    own = max(Timeframe(record.document["timeframe"]).ms for record in records)
    return {"day": DAY_MS, "hour": max(HOUR_MS, own), "candle": own}[unit]


def _notes(records: Sequence[Record], base: Record | None, table: pl.DataFrame, unit: Unit) -> list[str]:
    """What must be known to read the p-values, or why there are none."""
    notes = []
    without = [record.id for record in records if record.equity is None]
    if without:
        return [f"No equity curve of {', '.join(without)}: nothing can be said of significance."]
    if base is None and "close" not in records[0].equity.columns:  # type: ignore[union-attr]
        return [f"The market's prices are not kept with {records[0].id}: buy and hold is not known."]
    for field, what in (("symbol", "markets"), ("timeframe", "timeframes"), ("fee", "fees")):
        values = {str(record.document.get(field)) for record in records}
        if len(values) > 1:
            notes.append(f"Different {what} ({', '.join(sorted(values))}): a difference may be theirs.")
    spans = {(record.document.get("from"), record.document.get("to")) for record in records}
    if len(spans) > 1:
        notes.append("Different stretches: compared where they overlap.")
    if table.height < LEAST:
        notes.append(f"{table.height} common periods: too few to compare.")
    elif unit != "day":
        notes.append(
            f"Few days: compared by {table.height} {unit} returns, which say nothing of other weather."
        )
    few = [r.id for r in records if r is not base and (r.document["metrics"].get("trades") or 0) < LEAST]
    if few:
        notes.append(f"Fewer than {LEAST} trades: {', '.join(few)}. Too few to say anything.")
    return notes
