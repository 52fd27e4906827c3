"""The only place that wires the dashboard together."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import dash_ag_grid
import plotly
from dash import Dash
from dash import __version__ as dash_version
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware

from config.settings import Settings
from core.errors import BadInput
from dashboards import navigation, shell, stream, theme
from dashboards.api.errors import Failures
from dashboards.api.install import install
from dashboards.attempts import Attempts
from dashboards.backfills import Backfills
from dashboards.dagster_runs import DagsterRuns
from dashboards.feed import Feed
from dashboards.hub import Hub
from dashboards.jobs import Jobs
from dashboards.pages import backtests, bots, compare, data, live, market, portfolio, sweeps, system
from dashboards.security import Guard
from dashboards.services import Services
from dashboards.shared import Shared
from dashboards.statics import Statics
from pipelines.bus.base import Bus
from pipelines.bus.redis import RedisBus
from pipelines.clock import SystemClock
from pipelines.warehouse.database import SERVICE_ANSWER_S, engine

PAGES = (
    live.PAGE,
    market.PAGE,
    bots.PAGE,
    portfolio.PAGE,
    backtests.PAGE,
    sweeps.PAGE,
    compare.PAGE,
    data.PAGE,
    system.PAGE,
)
ASSETS = Path(__file__).parent / "assets"
PACKED_FROM = 2_000
"""Bytes of an answer that is worth being compressed."""
THREADS = 16
"""Queries that are asked at once: they wait for PostgreSQL, not for a processor."""
MCP = "_dash-mcp"
"""Dash on FastAPI reads requests only under addresses that begin so."""
SUITES = "/_dash-component-suites"
EARLY = (
    f"{SUITES}/plotly/package_data/plotly.min.js?v={plotly.__version__}",
    f"{SUITES}/dash/dcc/async-graph.js?v={dash_version}",
    f"{SUITES}/dash_ag_grid/async-community.js?v={dash_ag_grid.__version__}",
)
"""Read beside the other scripts: Dash asks for them one after the other, when the first chart and table are
there, unless it finds them loaded. The version lets browsers keep them for good."""


def create_app(settings: Settings, bus: Bus | None = None) -> FastAPI:
    """Pages, API and push on one FastAPI application.

    settings: with `database_url` and `redis_url` resolved
    bus: another bus than Redis, for tests
    """
    if settings.database_url is None or (settings.redis_url is None and bus is None):
        raise BadInput("TCP_DATABASE_URL", "the dashboard needs the addresses of PostgreSQL and Redis")
    database = engine(settings.database_url, SERVICE_ANSWER_S)
    bus = bus or RedisBus(settings.redis_url or "")
    hub = Hub(database, bus, Feed(settings.exchange), SystemClock())
    dagster = DagsterRuns(settings)
    services = Services(
        settings, database, bus, hub, Jobs(), Backfills(settings, dagster), Attempts(), dagster, Shared()
    )
    server = FastAPI(
        title="TCP Dashboard",
        version="1",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lambda _app: _lifespan(services),
        middleware=[
            Middleware(Guard, token=settings.dashboard_token, attempts=services.attempts),
            Middleware(Failures),
            Middleware(Statics),
            Middleware(GZipMiddleware, minimum_size=PACKED_FROM, compresslevel=1),
        ],
    )
    install(server, services)
    _pages(server, services)
    return server


def _pages(server: FastAPI, services: Services) -> Dash:
    dash = Dash(
        "dashboards",
        server=server,
        assets_folder=str(ASSETS),
        serve_locally=True,
        title="TCP Dashboard",
        update_title="",
        suppress_callback_exceptions=True,
        index_string=shell.index(theme.stylesheet(), EARLY),
        websocket_inactivity_timeout=0,
        websocket_heartbeat_interval=10_000,
        use_pages=False,
        add_log_handler=False,
        enable_mcp=services.settings.dashboard_mcp,
        mcp_path=MCP,
        compress=False,  # by the middleware above: Dash has it take six times as long
    )
    dash.layout = shell.layout(services, PAGES)
    shell.register(dash, services)
    navigation.register(dash, services, PAGES)
    stream.register(dash, services)
    for page in PAGES:
        page.register(dash, services)
    if services.settings.dashboard_mcp:
        from dashboards import assistants  # few ask for it, and it is as large as a page

        assistants.install(services)
    # Dash does this at the first request for "/", so that a server whose first visitor opens another page
    # would serve that page without scripts and callbacks.
    dash._setup_server()
    return dash


@asynccontextmanager
async def _lifespan(services: Services) -> AsyncIterator[None]:
    # By itself asyncio has four threads more than cores: on a small machine slow queries hold up all others.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "query"))
    reader = asyncio.create_task(services.hub.run(), name="hub")
    try:
        yield
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        services.jobs.close()
        services.dagster.close()
        services.backfills.jobs.close()
        await services.bus.close()
