"""Run the dashboard: pages, REST API and live push in one process."""

import uvicorn

from config.settings import Settings
from dashboards.app import create_app


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. `settings.database_url` and `redis_url` must be resolved."""
    uvicorn.run(
        create_app(settings),
        host=settings.dashboard_host,
        port=settings.dashboard_port,
        log_level=settings.log_level.lower(),
        access_log=False,
        server_header=False,
        ws="websockets-sansio",
        timeout_graceful_shutdown=3,
    )
