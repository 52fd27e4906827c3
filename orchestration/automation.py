"""When assets are built without being asked: conditions on what is above them, in one place."""

from datetime import timedelta
from typing import Any

import dagster as dg

QUARTER_HOUR = "*/15 * * * *"
NIGHT = "40 4 * * *"
HOUR = "20 * * * *"

_new_rows: dg.AutomationCondition[Any] = dg.AutomationCondition.any_deps_updated()
_never_built: dg.AutomationCondition[Any] = dg.AutomationCondition.missing()
_quarter: dg.AutomationCondition[Any] = dg.AutomationCondition.cron_tick_passed(QUARTER_HOUR)
_running: dg.AutomationCondition[Any] = dg.AutomationCondition.in_progress()

ON_NEW_ROWS: dg.AutomationCondition[Any] = (
    (_new_rows.since_last_handled() | _never_built) & _quarter & ~_running
).with_label("every quarter of an hour, if a table of the daemon grew")
"""Of models that read the daemon's tables: no run while the daemon is down."""

WITH_WHAT_IT_READS: dg.AutomationCondition[Any] = dg.AutomationCondition.eager()
"""Of the other models: in the same run as the models they read."""

EVERY_NIGHT: dg.AutomationCondition[Any] = dg.AutomationCondition.on_cron(NIGHT)
"""Once after 04:40 UTC, when what it looks at was built since."""

EVERY_HOUR: dg.AutomationCondition[Any] = (
    dg.AutomationCondition.cron_tick_passed(HOUR) & ~_running
).with_label("every hour, whether or not anything came")
"""Of what looks at tables that may have stopped growing."""

FRESH_EVERY_NIGHT = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(days=2), warn_window=timedelta(hours=26)
)
"""Of what a schedule makes each night: a night without it is a warning, two are a failure."""

FRESH_EVERY_WEEK = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(days=15), warn_window=timedelta(days=8)
)
"""The same of what is made on Sundays."""

automation = dg.AutomationConditionSensorDefinition(
    "automation",
    target=dg.AssetSelection.all() | dg.AssetSelection.all_asset_checks(),
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
