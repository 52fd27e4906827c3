"""Routes for whoever watches the machine: health and Prometheus metrics, outside /api."""

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Response

from dashboards.api import models
from dashboards.api.daemon_gauges import daemon_gauges
from dashboards.api.documents import answer
from dashboards.api.gauges import gauge
from dashboards.hub import Hub
from dashboards.services import Services

CONNECTION_COUNTS = {
    "trades": "Trades that the connection brought since the daemon's start",
    "lost_ids": "Trade ids that it did not bring",
    "repeated": "Trades that it had brought before",
    "unknown_frames": "Frames that could not be read",
    "reconnects": "Times that it was lost",
    "silences": "Subscriptions that fell silent",
}
FEED_STATES = ("live", "silent", "exchange", "daemon", "bus", "database")


def router(services: Services) -> APIRouter:
    """GET /healthz, /metrics."""
    routes = APIRouter(tags=["operations"])

    @routes.get("/healthz", response_model=models.Health)
    async def health() -> Response:
        """200 when database and Redis answered this process in the last quarter of a minute, else 503."""
        document = health_document(services.hub)
        return answer(document, 200 if document["status"] == "ok" else 503)

    @routes.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Gauges in Prometheus' text format, from memory: asking costs no query."""
        return Response(
            "".join(exposition(services.hub)), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    return routes


def health_document(hub: Hub) -> dict[str, Any]:
    """What /healthz says: ok, or unavailable and what is away or stands still."""
    document = {
        "database": hub.feed.database_error is None and hub.read,
        "redis": hub.feed.bus_error is None,
        "current": not hub.late(),
    }
    status = "ok" if all(document.values()) else "unavailable"
    return {"status": status, **document, "feed": hub.feed.state(hub.feed_now_ms())}


def exposition(hub: Hub) -> Iterator[str]:
    """Lines of the text format."""
    now_ms = hub.feed_now_ms()
    feed = hub.feed.document(now_ms)
    yield from gauge(
        "tcp_feed_state",
        "1 for the state that the feed is in",
        [({"state": name}, int(feed["state"] == name)) for name in FEED_STATES],
    )
    if feed["lag_ms"] is not None:
        yield from gauge(
            "tcp_feed_lag_seconds", "From publishing a candle to this process", [({}, feed["lag_ms"] / 1000)]
        )
    yield from gauge("tcp_exchange_rate", "Exchange seconds a wall second", [({}, feed["rate"])])
    yield from _connections(hub)
    yield from daemon_gauges(hub.feed, now_ms)
    yield from gauge("tcp_kill_switch", "1 while no order leaves", [({}, int(feed["kill_switch"]))])
    bots = hub.bots
    yield from gauge(
        "tcp_bot_running",
        "1 for a bot that runs",
        [(_of(bot), int(bot["shown"] == "running")) for bot in bots],
    )
    yield from gauge(
        "tcp_bot_error",
        "1 for a bot that crashed too often, or cannot run as configured",
        [(_of(bot), int(bot["shown"] == "error")) for bot in bots],
    )
    yield from gauge(
        "tcp_bot_value", "Cash and coins, quote currency", [(_of(bot), bot["value"]) for bot in bots]
    )
    yield from gauge("tcp_bot_fills", "Buys and sells so far", [(_of(bot), bot["fills"]) for bot in bots])
    yield from gauge(
        "tcp_bot_heartbeat_age_seconds",
        "Since the bot was last heard of",
        [(_of(bot), (now_ms - bot["heartbeat_ms"]) / 1000) for bot in bots if bot["heartbeat_ms"]],
    )
    yield from gauge(
        "tcp_price",
        "Last price, quote currency",
        [({"symbol": symbol}, price) for symbol, price in sorted(hub.prices.items())],
    )


def _connections(hub: Hub) -> Iterator[str]:
    rows = [({"connection": row["connection"]}, row) for row in hub.feed.connections]
    yield from gauge(
        "tcp_connection_live",
        "1 for a connection to the exchange that brings trades",
        [(labels, int(row["state"] == "live")) for labels, row in rows],
    )
    yield from gauge(
        "tcp_connection_latency_seconds",
        "From the exchange's time of a trade to its arrival, over the last minute",
        [
            ({**labels, "quantile": quantile}, row[name] / 1000)
            for labels, row in rows
            for quantile, name in (("0.5", "latency_p50_ms"), ("0.99", "latency_p99_ms"))
            if row[name] is not None
        ],
    )
    for name, text in CONNECTION_COUNTS.items():
        yield from gauge(f"tcp_connection_{name}", text, [(labels, row[name]) for labels, row in rows])
    if (offset_ms := hub.feed.clock_offset_ms) is not None:
        yield from gauge(
            "tcp_exchange_clock_offset_seconds",
            "The exchange's clock minus that of the daemon's machine",
            [({}, offset_ms / 1000)],
        )


def _of(bot: dict[str, Any]) -> dict[str, str]:
    return {"bot": bot["bot_id"], "symbol": bot["symbol"]}
