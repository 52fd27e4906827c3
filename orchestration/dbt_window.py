"""The days a dbt run builds its microbatch models for."""

from datetime import date, timedelta


def event_times(database_url: str, full_refresh: bool = False) -> list[str]:
    """Arguments of `dbt build` or `dbt run`: from the first to the last day with rows that no build saw.

    dbt by itself would go from a fixed day to this machine's present; the exchange's clock is another one.
    """
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.model_days import unbuilt_days

    window = _window(*unbuilt_days(engine(database_url), full_refresh))
    return [*window, "--full-refresh"] if full_refresh else window


def days_since(database_url: str, first: date) -> list[str]:
    """Arguments that build every day from `first` on in place, and leave those before as they are; none where
    no bot has lived since."""
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.model_days import unbuilt_days

    _, last = unbuilt_days(engine(database_url), everything=True)
    return _window(first, last) if first <= last else []


def _window(first: date, last: date) -> list[str]:
    end = last + timedelta(days=1)
    return ["--event-time-start", first.isoformat(), "--event-time-end", end.isoformat()]
