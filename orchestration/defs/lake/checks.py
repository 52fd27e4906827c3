"""Checks of the lake, evaluated in the run that wrote the files."""

from collections.abc import Sequence
from datetime import date

import dagster as dg

VERIFIED = dg.AssetCheckSpec(
    name="files_hold_what_the_manifest_says",
    asset="raw_trade_archive",
    blocking=True,
    description="Each file of the archived days, read back, has the hash, rows and ids of its manifest row, "
    "every id once and without a hole, and the trades of the stored minutes.",
)
BULK_VERIFIED = VERIFIED._replace(asset_key=dg.AssetKey("bulk_trades"))
NO_DAY_MISSING = dg.AssetCheckSpec(
    name="no_day_is_missing",
    asset="raw_trade_archive",
    description="Each asked day has trades, here or in the lake; a warning for a day that is not over: "
    "materialize it again then.",
)
BULK_NO_DAY_MISSING = dg.AssetCheckSpec(
    name=NO_DAY_MISSING.name,
    asset="bulk_trades",
    description="The exchange has the files of each asked day; a warning where they are not due yet: "
    "materialize the day again later.",
)


def verified(
    database_url: str,
    lake_url: str,
    days: Sequence[tuple[str, date]],
    check: dg.AssetCheckSpec = VERIFIED,
    damaged: Sequence[str] = (),
) -> dg.AssetCheckResult:
    """Read the files of each (symbol, day) again; see `pipelines.lake.verify`. damaged: what the run found
    already."""
    from pipelines.lake.verify import verify_lake

    reports = [verify_lake(database_url, lake_url, symbol, day) for symbol, day in days]
    found = [f"{finding.kind}: {finding.path}" for report in reports for finding in report.findings]
    findings = [*damaged, *found]
    return dg.AssetCheckResult(
        check_name=check.name,
        asset_key=check.asset_key,
        passed=not damaged and all(report.sound for report in reports),
        metadata={
            "files": sum(report.files for report in reports),
            "rows": sum(report.rows for report in reports),
            "findings": findings[:20],
        },
    )


def none_missing(
    days: Sequence[str], check: dg.AssetCheckSpec = NO_DAY_MISSING, pending: Sequence[str] = ()
) -> dg.AssetCheckResult:
    """Fails and names the days, where any are missing; each as "SYMBOL DATE". pending: days that could not be
    there, or not be whole, yet; where there are only such it warns."""
    named = list(dict.fromkeys([*days, *pending]))
    return dg.AssetCheckResult(
        check_name=check.name,
        asset_key=check.asset_key,
        passed=not named,
        severity=dg.AssetCheckSeverity.ERROR if days else dg.AssetCheckSeverity.WARN,
        metadata={"missing": len(days), "pending": len(pending), "days": named[:50]},
    )
