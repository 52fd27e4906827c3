"""From settings to the exchange's adapters."""

import os
import subprocess
import sys

import pytest

from config.settings import Settings
from core.errors import BadInput
from pipelines.exchanges.ccxt.feed import CcxtTradeFeed
from pipelines.exchanges.ccxt.rest import CcxtRest
from pipelines.exchanges.connect import check_exchange, make_book_feed, make_feed, make_rest
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


@pytest.mark.parametrize(
    ("name", "ccxt_id", "column"),
    [
        ("sim", None, "okx"),
        ("okx", None, "okx"),
        ("ccxt:okx", "okx", "okx"),
        ("kraken", "kraken", "kraken"),
        ("ccxt:binance", "binance", "binance"),
    ],
)
async def test_every_other_name_is_one_of_ccxt(name: str, ccxt_id: str | None, column: str):
    """With the name that stands in the exchange column; books and several sockets are OKX's alone."""
    settings = configured(exchange=name, okx_rest_url="http://h:1", okx_ws_url="ws://h:1/ws/v5")
    assert (settings.ccxt_id, settings.exchange_name) == (ccxt_id, column)
    check_exchange(settings)
    rest, feed = make_rest(settings), make_feed(settings)
    assert isinstance(rest, CcxtRest if ccxt_id else OkxRest)
    assert isinstance(feed, CcxtTradeFeed if ccxt_id else OkxTradeFeed)
    assert (make_book_feed(settings) is None) == (ccxt_id is not None)
    assert rest.consecutive_ids == (column != "kraken")
    await rest.close()


def test_a_name_that_nobody_knows_is_told_with_its_remedy():
    """By whichever comes first."""
    for ask in (check_exchange, make_rest, make_feed):
        with pytest.raises(BadInput, match=r"TCP_EXCHANGE: 'mtgox' is not sim, okx or an exchange of ccxt"):
            ask(configured(exchange="mtgox"))
    with pytest.raises(ValueError, match="'Mt Gox' is not sim, okx or an exchange of ccxt"):
        configured(exchange="Mt Gox")


@pytest.mark.parametrize(("name", "column"), [("kraken", "kraken"), ("sim", "okx")])
def test_the_exchange_column_has_its_name(name: str, column: str):
    """From the start of a process to its end."""
    code = "from pipelines.warehouse.sql import EXCHANGE; print(EXCHANGE)"
    environment = {**os.environ, "TCP_EXCHANGE": name}
    said = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    assert said.strip() == column
