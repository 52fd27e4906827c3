"""Checks of the lake, evaluated in the run that wrote the files."""

from collections.abc import Sequence
from datetime import date

import dagster as dg

VERIFIED = dg.AssetCheckSpec(
    name="files_hold_what_the_manifest_says",
    asset="raw_trade_archive",
    blocking=True,
    description="Each file of the archived days, read back, has the hash, rows and ids of its manifest row.",
)


def verified(database_url: str, lake_url: str, days: Sequence[tuple[str, date]]) -> dg.AssetCheckResult:
    """Read the files of each (symbol, day) again and compare them with the manifest."""
    from pipelines.lake.verify import verify_lake

    reports = [verify_lake(database_url, lake_url, symbol, day) for symbol, day in days]
    findings = [f"{finding.kind}: {finding.path}" for report in reports for finding in report.findings]
    return dg.AssetCheckResult(
        check_name=VERIFIED.name,
        passed=all(report.sound for report in reports),
        metadata={
            "files": sum(report.files for report in reports),
            "rows": sum(report.rows for report in reports),
            "findings": findings[:20],
        },
    )
