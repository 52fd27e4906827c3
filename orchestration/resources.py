"""What assets need from outside: the settings of the code server's environment, resolved."""

from config.settings import Settings, settings
from core.errors import BadInput


def warehouse_url() -> str:
    """TCP_DATABASE_URL of this process; definitions load without it, runs do not."""
    url = settings().database_url
    if url is None:
        raise BadInput("TCP_DATABASE_URL", "is not set: start Dagster with `tcp up` or `tcp dagster`")
    return url


def page_url(given: Settings, path: str) -> str:
    """Address of a dashboard page, for links in metadata."""
    everywhere = {"0.0.0.0", "::"}  # noqa: S104 - compared with, not bound
    host = "127.0.0.1" if given.dashboard_host in everywhere else given.dashboard_host
    return f"http://{host}:{given.dashboard_port}{path}"
