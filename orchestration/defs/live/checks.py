"""Do the daemon's tables grow? dbt's limits, looked at each hour, be the daemon alive or not."""

from collections.abc import Iterator

import dagster as dg

from config.settings import settings
from orchestration.automation import EVERY_HOUR
from orchestration.freshness import kept_fresh
from orchestration.resources import page_url, warehouse_url

NAME = "dbt_source_is_fresh"
TABLES = sorted(kept_fresh(settings()))


@dg.multi_asset_check(
    name="source_freshness",
    specs=[
        dg.AssetCheckSpec(
            NAME,
            asset=["public", table],
            description="Its newest row is as young as `dbt source freshness` wants it.",
            automation_condition=EVERY_HOUR,
        )
        for table in TABLES
    ],
)
def source_freshness() -> Iterator[dg.AssetCheckResult]:
    """`dbt source freshness` of the tables that grow while the daemon runs: a warning after minutes, a
    failure after a day."""
    from orchestration import dbt_freshness

    found = dbt_freshness.source_freshness(settings().home, warehouse_url())
    for table in TABLES:
        one = found[table]
        yield dg.AssetCheckResult(
            asset_key=["public", table],
            check_name=NAME,
            passed=one.status == "pass",
            severity=dg.AssetCheckSeverity.ERROR if one.status == "error" else dg.AssetCheckSeverity.WARN,
            metadata={
                "status": one.status,
                "age_s": "no row yet" if one.age_s is None else round(one.age_s, 1),
                "page": dg.MetadataValue.url(page_url(settings(), "/system")),
            },
        )
