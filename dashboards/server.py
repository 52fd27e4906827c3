"""Run the dashboard: pages, REST API and live push in one process."""

from typing import Any

import uvicorn

from config.settings import Settings
from dashboards.app import create_app
from pipelines.logs import configure_logs


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. `settings.database_url` and `redis_url` must be resolved."""
    configure_logs(settings.log_level)
    uvicorn.run(create_app(settings), **options(settings))


def options(settings: Settings) -> dict[str, Any]:
    """How uvicorn serves it."""
    return {
        "host": settings.dashboard_host,
        "port": settings.dashboard_port,
        "log_level": settings.log_level.lower(),
        "access_log": False,
        "server_header": False,
        # Whoever comes over loopback could name another address at each guess of the token, and never wait.
        "proxy_headers": False,
        "ws": "websockets-sansio",
        "timeout_graceful_shutdown": 3,
    }
