"""The days a dbt run builds its microbatch models for."""

from datetime import timedelta


def event_times(database_url: str, full_refresh: bool = False) -> list[str]:
    """Arguments of `dbt build` or `dbt run`: from the first to the last day with rows that no build saw.

    dbt by itself would go from a fixed day to this machine's present; the exchange's clock is another one.
    """
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.model_days import unbuilt_days

    first, last = unbuilt_days(engine(database_url), full_refresh)
    window = ["--event-time-start", first.isoformat()]
    window += ["--event-time-end", (last + timedelta(days=1)).isoformat()]
    return [*window, "--full-refresh"] if full_refresh else window
