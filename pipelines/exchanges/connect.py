"""From settings to the exchange's adapters: the only place that knows which class serves which exchange."""

from config.settings import Settings
from core.errors import BadInput
from pipelines.exchanges.base import ExchangeRest, TradeFeed
from pipelines.exchanges.okx.feed import OkxTradeFeed
from pipelines.exchanges.okx.rest import OkxRest
from pipelines.exchanges.parallel import ParallelFeed

OKX_REST_URL = "https://www.okx.com"
OKX_WS_URL = "wss://ws.okx.com:8443/ws/v5"


def make_rest(settings: Settings) -> ExchangeRest:
    """The REST adapter in force. Close it when done."""
    return OkxRest(_url(settings, settings.okx_rest_url, OKX_REST_URL, "TCP_OKX_REST_URL"))


def make_feed(settings: Settings) -> TradeFeed:
    """The live trade feed in force: over one socket, or over several side by side."""
    url = _url(settings, settings.okx_ws_url, OKX_WS_URL, "TCP_OKX_WS_URL")
    feeds = [OkxTradeFeed(url) for _ in range(settings.okx_sockets)]
    return feeds[0] if len(feeds) == 1 else ParallelFeed(feeds)


def _url(settings: Settings, given: str | None, real: str, variable: str) -> str:
    if given is not None:
        return given
    if settings.exchange == "sim":
        raise BadInput(variable, "the simulated exchange has no address: set it, or TCP_EXCHANGE=okx")
    return real
