"""From settings to the exchange's adapters."""

import pytest

from config.settings import Settings
from core.errors import BadInput
from pipelines.exchanges.connect import make_book_feed, make_feed, make_rest
from pipelines.exchanges.okx.books import OkxBookFeed
from pipelines.exchanges.okx.feed import OkxTradeFeed
from pipelines.exchanges.okx.hosts import REST_URLS, WS_URLS
from pipelines.exchanges.okx.rest import OkxRest


def configured(**values: str) -> Settings:
    """Of one socket."""
    return Settings(
        **{"exchange": "okx", "okx_rest_url": None, "okx_ws_url": None, "okx_sockets": 1, **values}
    )


async def test_okx_without_addresses_is_the_real_one():
    """TCP_EXCHANGE=okx alone reaches OKX's production hosts, and their public trade channel; what they fall
    back on is the same market, never another region's."""
    assert REST_URLS == ("https://www.okx.com", "https://openapi.okx.com")
    assert WS_URLS == ("wss://ws.okx.com:8443/ws/v5", "wss://ws.okx.com:443/ws/v5")
    rest, feed = make_rest(configured()), make_feed(configured())
    assert isinstance(rest, OkxRest)
    assert isinstance(feed, OkxTradeFeed)
    assert feed.url == "wss://ws.okx.com:8443/ws/v5/public"
    assert feed.hosts.all == WS_URLS


async def test_given_addresses_are_used():
    """A base URL may end in a slash."""
    feed = make_feed(configured(okx_ws_url="ws://127.0.0.1:9100/ws/v5/"))
    assert isinstance(feed, OkxTradeFeed)
    assert feed.url == "ws://127.0.0.1:9100/ws/v5/public"


async def test_several_addresses_are_a_comma_list():
    """The first is used, the others are there to fall back on; each user has places of its own."""
    settings = configured(okx_ws_url="wss://wseea.okx.com:8443/ws/v5, wss://ws.okx.com:8443/ws/v5")
    first, second = make_feed(settings), make_book_feed(settings)
    assert isinstance(first, OkxTradeFeed)
    assert isinstance(second, OkxBookFeed)
    assert first.hosts.all == ("wss://wseea.okx.com:8443/ws/v5", "wss://ws.okx.com:8443/ws/v5")
    assert first.hosts is not second.hosts


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("okx_ws_url", "ws://a/ws/v5,wss://b/ws/v5/public", "leave out '/public'"),
        ("okx_ws_url", "ws://a/ws/v5,http://b", "must start with ws:// or wss://"),
        ("okx_rest_url", "https://www.okx.com/api/v5", "leave out '/api/v5'"),
        ("okx_rest_url", ",", "at least one URL"),
    ],
)
def test_a_wrong_address_is_told_with_its_remedy(name: str, value: str, remedy: str):
    """What would only ever answer 404 is refused before anything starts."""
    with pytest.raises(ValueError, match=remedy):
        configured(**{name: value})


def test_order_books_can_be_switched_off():
    """TCP_ORDER_BOOK=off: no feed of books."""
    assert make_book_feed(configured(order_book="off")) is None


async def test_a_simulated_exchange_without_an_address_is_named():
    """It has no default address: never is the real exchange asked instead."""
    with pytest.raises(BadInput, match="TCP_OKX_REST_URL"):
        make_rest(configured(exchange="sim"))
    with pytest.raises(BadInput, match="TCP_OKX_WS_URL"):
        make_feed(configured(exchange="sim"))
