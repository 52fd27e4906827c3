"""From settings to the exchange's adapters."""

import pytest

from config.settings import Settings
from core.errors import BadInput
from pipelines.exchanges.connect import OKX_REST_URL, OKX_WS_URL, make_feed, make_rest
from pipelines.exchanges.okx.feed import OkxTradeFeed
from pipelines.exchanges.okx.rest import OkxRest


def configured(**values: str) -> Settings:
    """Of one socket."""
    return Settings(
        **{"exchange": "okx", "okx_rest_url": None, "okx_ws_url": None, "okx_sockets": 1, **values}
    )


async def test_okx_without_addresses_is_the_real_one():
    """TCP_EXCHANGE=okx alone reaches OKX's production hosts, and their public trade channel."""
    assert (OKX_REST_URL, OKX_WS_URL) == ("https://www.okx.com", "wss://ws.okx.com:8443/ws/v5")
    rest, feed = make_rest(configured()), make_feed(configured())
    assert isinstance(rest, OkxRest)
    assert isinstance(feed, OkxTradeFeed)
    assert feed.url == "wss://ws.okx.com:8443/ws/v5/public"


async def test_given_addresses_are_used():
    """A base URL may end in a slash."""
    feed = make_feed(configured(okx_ws_url="ws://127.0.0.1:9100/ws/v5/"))
    assert isinstance(feed, OkxTradeFeed)
    assert feed.url == "ws://127.0.0.1:9100/ws/v5/public"


async def test_a_simulated_exchange_without_an_address_is_named():
    """It has no default address: never is the real exchange asked instead."""
    with pytest.raises(BadInput, match="TCP_OKX_REST_URL"):
        make_rest(configured(exchange="sim"))
    with pytest.raises(BadInput, match="TCP_OKX_WS_URL"):
        make_feed(configured(exchange="sim"))
