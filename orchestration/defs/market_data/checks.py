"""Checks of candles, evaluated in the run that wrote them, and of the daemon's last day at night."""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from config.settings import settings
from core.timeframes import Timeframe
from orchestration.automation import EVERY_NIGHT
from orchestration.days import DAY_MS, Stretch
from orchestration.resources import warehouse_url

CONTINUOUS = dg.AssetCheckSpec(
    name="candles_are_continuous",
    asset="candle_backfill",
    blocking=True,
    description="Every candle of the fetched days is stored that the exchange has closed and, where it "
    "collects the symbol, the daemon, too.",
)

WHOLE_DAYS = dg.AssetCheckSpec(
    name="days_have_their_rows",
    asset="candle_backfill",
    blocking=True,
    description="Each fetched day has as many candles as fit into it, 1,440 for 1m; a warning for a day "
    "that is not over and has those that the exchange has closed: materialize it again then.",
)
NO_LONG_SILENCE = dg.AssetCheckSpec(
    name="no_silence_without_an_outage",
    asset="candle_backfill",
    blocking=True,
    description="No hour or more of minutes without a trade through which the feed was up.",
)
RECONCILED = dg.AssetCheckSpec(
    name="candles_are_those_of_their_trades",
    asset="trade_backfill",
    blocking=True,
    description="Volume, high and low of each stored 1m candle whose trades are all stored, too, are theirs; "
    "a warning for a day that is not over: materialize it again then.",
)


def continuity(
    database_url: str, timeframe: Timeframe, fetched: Sequence[tuple[Stretch, int]]
) -> dg.AssetCheckResult:
    """Holes in the stored candles of each stretch, up to where its backfill ended (ms)."""
    from pipelines.warehouse.coverage import missing_candles
    from pipelines.warehouse.database import engine

    holes = [
        (stretch.symbol, after, last)
        for stretch, end_ms in fetched
        for after, last in missing_candles(
            engine(database_url), stretch.symbol, timeframe, stretch.start_ms, end_ms
        )
    ]
    return dg.AssetCheckResult(
        check_name=CONTINUOUS.name,
        passed=not holes,
        metadata={
            "holes": len(holes),
            "missing_candles": sum((last - after) // timeframe.ms for _, after, last in holes),
            "first": [
                {"symbol": symbol, "after_ms": after, "last_ms": last} for symbol, after, last in holes[:20]
            ],
        },
    )


def whole_days(
    database_url: str, timeframe: Timeframe, fetched: Sequence[tuple[Stretch, int]]
) -> dg.AssetCheckResult:
    """Rows of each day of each stretch, up to where its backfill ended (ms). It only warns where nothing is
    wrong but that a day is not over."""
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.plausibility import rows_by_day

    short: list[dict[str, object]] = []
    pending: list[str] = []
    rows = 0
    for stretch, end_ms in fetched:
        found = rows_by_day(engine(database_url), stretch.symbol, timeframe, stretch.start_ms, end_ms)
        rows += sum(found.values())
        for day, day_ms in stretch.midnights():
            expected = max(min(end_ms - day_ms, DAY_MS), 0) // timeframe.ms
            if end_ms < day_ms + DAY_MS:
                pending.append(f"{stretch.symbol} {day}")
            if found.get(day, 0) != expected:
                short.append(
                    {
                        "symbol": stretch.symbol,
                        "day": day.isoformat(),
                        "rows": found.get(day, 0),
                        "expected": expected,
                    }
                )
    return dg.AssetCheckResult(
        check_name=WHOLE_DAYS.name,
        passed=not short and not pending,
        severity=dg.AssetCheckSeverity.ERROR if short else dg.AssetCheckSeverity.WARN,
        metadata={
            "rows": rows,
            "days_that_differ": len(short),
            "first": short[:20],
            "days_not_over": pending[:50],
        },
    )


def no_long_silence(database_url: str, fetched: Sequence[tuple[Stretch, int]]) -> dg.AssetCheckResult:
    """Long runs of synthetic minutes in each stretch that nothing explains."""
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.plausibility import unexplained_synthetic_runs

    runs = [
        run
        for stretch, end_ms in fetched
        for run in unexplained_synthetic_runs(engine(database_url), stretch.symbol, stretch.start_ms, end_ms)
    ]
    first = [f"{run.symbol}: {run.minutes} minutes from {run.first.isoformat()}" for run in runs[:20]]
    return dg.AssetCheckResult(
        check_name=NO_LONG_SILENCE.name,
        passed=not runs,
        metadata={"runs": len(runs), "first": first},
    )


def reconciliation(database_url: str, fetched: Sequence[tuple[Stretch, int]]) -> dg.AssetCheckResult:
    """1m candles of each stretch against the trades that were just stored. It only warns where nothing is
    wrong but that a day is not over."""
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.plausibility import contradictions

    found = {
        f"{stretch.symbol} {stretch.first}": contradictions(
            engine(database_url), stretch.symbol, stretch.start_ms, end_ms
        )
        for stretch, end_ms in fetched
    }
    wrong = {name: one for name, one in found.items() if one.contradicted}
    pending = [f"{stretch.symbol} {stretch.last}" for stretch, end_ms in fetched if end_ms < stretch.end_ms]
    return dg.AssetCheckResult(
        check_name=RECONCILED.name,
        passed=not wrong and not pending,
        severity=dg.AssetCheckSeverity.ERROR if wrong else dg.AssetCheckSeverity.WARN,
        metadata={
            "minutes_compared": sum(one.compared for one in found.values()),
            "contradicted": sum(one.contradicted for one in wrong.values()),
            "first": {name: str(one.first_at) for name, one in wrong.items()},
            "days_not_over": pending,
        },
    )


@dg.asset_check(asset=dg.AssetKey(["public", "market_data"]), automation_condition=EVERY_NIGHT)
def last_whole_day_is_sound() -> dg.AssetCheckResult:
    """The last UTC day that the exchange's clock has left behind, as the daemon stored it: no hole, no hour
    without a trade that no outage explains, no 1m candle that its own trades contradict."""
    from pipelines.clock import SystemClock
    from pipelines.warehouse.coverage import missing_candles
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.plausibility import contradictions, unexplained_synthetic_runs
    from pipelines.warehouse.retention import newest_ms

    connections = engine(warehouse_url())
    newest = newest_ms(connections, SystemClock().now_ms())
    if newest is None:
        return dg.AssetCheckResult(passed=True, metadata={"symbols": 0})
    end_ms = newest - newest % DAY_MS
    start_ms = end_ms - DAY_MS
    findings = []
    for symbol in settings().symbol_list:
        for after, last in missing_candles(connections, symbol, Timeframe.M1, start_ms, end_ms):
            findings.append(
                f"{symbol}: {(last - after) // Timeframe.M1.ms} candles are missing after {after}"
            )
        findings += [
            f"{symbol}: {run.minutes} minutes without a trade from {run.first.isoformat()}"
            for run in unexplained_synthetic_runs(connections, symbol, start_ms, end_ms)
        ]
        against = contradictions(connections, symbol, start_ms, end_ms)
        if against.contradicted:
            said = f"{against.contradicted} candles differ from their trades, the first at {against.first_at}"
            findings.append(f"{symbol}: {said}")
    return dg.AssetCheckResult(
        passed=not findings,
        metadata={
            "symbols": len(settings().symbol_list),
            "day": datetime.fromtimestamp(start_ms / 1000, UTC).date().isoformat(),
            "findings": findings[:50],
        },
    )
