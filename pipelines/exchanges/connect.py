"""From settings to the exchange's adapters: the only place that knows which class serves which exchange.

ccxt is imported only when it is asked for: that takes seconds and 100 MB.
"""

from collections.abc import Mapping, Sequence

from config.settings import Settings
from core.errors import BadInput
from pipelines.exchanges.base import ExchangeRest, TradeFeed
from pipelines.exchanges.measured import Connections
from pipelines.exchanges.okx.books import OkxBookFeed
from pipelines.exchanges.okx.bulk import BulkDownloads
from pipelines.exchanges.okx.feed import OkxTradeFeed
from pipelines.exchanges.okx.hosts import REST_URLS, WS_URLS, Hosts, split_urls
from pipelines.exchanges.okx.keys import Keys
from pipelines.exchanges.okx.requests import Requester
from pipelines.exchanges.okx.rest import OkxRest
from pipelines.exchanges.okx.shared_budget import shared_budgets
from pipelines.exchanges.parallel import ParallelFeed
from pipelines.exchanges.trading import TradingAccount


def check_exchange(settings: Settings) -> None:
    """BadInput for an exchange that nobody knows."""
    if settings.ccxt_id is not None:
        from pipelines.exchanges.ccxt.client import exchange_class

        exchange_class(settings.ccxt_id)


def make_rest(settings: Settings) -> ExchangeRest:
    """The REST adapter in force. Close it when done. BadInput for an exchange that nobody knows."""
    if settings.ccxt_id is not None:
        from pipelines.exchanges.ccxt.rest import CcxtRest

        return CcxtRest(settings.ccxt_id, _ccxt_urls(settings))
    hosts = _hosts(settings, settings.okx_rest_url, REST_URLS, "TCP_OKX_REST_URL")
    budgets = shared_budgets(settings.home / "budgets", hosts.all[0], settings.request_rate)
    return OkxRest(hosts, Requester(hosts, budgets))


def make_bulk_downloads(settings: Settings) -> BulkDownloads:
    """The exchange's bulk files of trades. Close it when done. BadInput for an exchange without any."""
    if settings.ccxt_id is not None:
        raise BadInput("--source", f"{settings.exchange} has no bulk files that we read: use rest")
    return BulkDownloads(
        _hosts(settings, settings.okx_rest_url, REST_URLS, "TCP_OKX_REST_URL"), settings.home / "bulk"
    )


def make_feed(settings: Settings, connections: Connections | None = None) -> TradeFeed:
    """The live trade feed in force: over one socket, or (OKX) over several side by side; each is measured
    where `connections` are given."""
    if settings.ccxt_id is not None:
        from pipelines.exchanges.ccxt.feed import CcxtTradeFeed

        other = CcxtTradeFeed(settings.ccxt_id, _ccxt_urls(settings))
        return other if connections is None else connections.measured(other, url=lambda: settings.exchange)
    feeds = [_socket(settings, connections) for _ in range(settings.okx_sockets)]
    return feeds[0] if len(feeds) == 1 else ParallelFeed(feeds)


def make_book_feed(settings: Settings) -> OkxBookFeed | None:
    """The feed of order books in force; None when they are switched off, and for exchanges through ccxt."""
    if settings.order_book == "off" or settings.ccxt_id is not None:
        return None
    return OkxBookFeed(_ws_hosts(settings), settings.order_book)


def make_trading(settings: Settings, keys: Keys) -> TradingAccount:
    """The account at OKX that belongs to the keys: demo trading, or the real one. Close it when done."""
    from pipelines.exchanges.ccxt.okx_trading import OkxTrading

    given = {"rest": settings.okx_rest_url, "ws": settings.okx_ws_url}
    urls = {name: split_urls(text)[0].rstrip("/") for name, text in given.items() if text is not None}
    return OkxTrading(keys, settings.real_orders != "live", urls)


def _ccxt_urls(settings: Settings) -> Mapping[str, str]:
    """The addresses given for OKX, the first of each, hold for ccxt's OKX too."""
    if settings.ccxt_id != "okx":
        return {}
    given = {"rest": settings.okx_rest_url, "ws": settings.okx_ws_url}
    return {name: split_urls(urls)[0].rstrip("/") for name, urls in given.items() if urls is not None}


def _socket(settings: Settings, connections: Connections | None) -> TradeFeed:
    feed = OkxTradeFeed(_ws_hosts(settings))
    if connections is None:
        return feed
    return connections.measured(
        feed, url=lambda: feed.url, unknown=lambda: feed.codec.unknown, counts_ids=True
    )


def _ws_hosts(settings: Settings) -> Hosts:
    return _hosts(settings, settings.okx_ws_url, WS_URLS, "TCP_OKX_WS_URL")


def _hosts(settings: Settings, given: str | None, real: Sequence[str], variable: str) -> Hosts:
    """The addresses in force. Each user gets a set of its own: what fails for one may work for another."""
    if given is not None:
        return Hosts(split_urls(given))
    if settings.exchange == "sim":
        raise BadInput(variable, "the simulated exchange has no address: set it, or TCP_EXCHANGE=okx")
    return Hosts(real)
