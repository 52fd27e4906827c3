"""Which address is used, which next, and what a refusal means."""

import pytest

from core.errors import Unavailable
from pipelines.exchanges.okx.hosts import Hosts, WrongUrl, refused_channel, refused_status, split_urls

A, B = "wss://a.example/ws/v5", "wss://b.example/ws/v5"


def test_three_failures_in_a_row_lead_to_the_next():
    """Two are borne; a success in between begins the count anew; after the last comes the first."""
    hosts = Hosts([f"{A}/", B])
    assert [hosts.failed(A), hosts.failed(A)] == [False, False]
    hosts.worked(A)
    assert [hosts.failed(A), hosts.failed(A), hosts.failed(A)] == [False, False, True]
    assert hosts.current == B
    assert [hosts.failed(B), hosts.failed(B), hosts.failed(B)] == [False, False, True]
    assert hosts.current == A


def test_a_wrong_url_is_left_at_once():
    """Asking again where no such API is would not help."""
    hosts = Hosts([A, B])
    assert hosts.failed(A, is_wrong=True)
    assert hosts.current == B


def test_one_alone_is_tried_for_ever():
    """There is nothing else to try, however wrong it is."""
    hosts = Hosts([A])
    assert not any(hosts.failed(A, is_wrong=True) for _ in range(10))
    assert hosts.current == A


def test_late_news_of_another_address_counts_nothing():
    """Several requests fail together: they move on by one place, not by one each."""
    hosts = Hosts([A, B])
    hosts.failed(A, is_wrong=True)
    assert not any(hosts.failed(A, is_wrong=True) for _ in range(5))
    hosts.worked(A)
    assert hosts.current == B


def test_a_comma_list_may_have_blanks():
    """As people type it."""
    assert split_urls(f" {A}, {B} ,") == (A, B)


@pytest.mark.parametrize(
    ("status", "location", "kind", "words"),
    [
        (301, "https://www.okx.com/x", WrongUrl, ["HTTP 301", "moved to https://www.okx.com/x", "TCP_X"]),
        (302, None, WrongUrl, ["HTTP 302", "moved elsewhere"]),
        (404, None, WrongUrl, ["HTTP 404", "TCP_X", "eea.okx.com", "us.okx.com"]),
        (200, None, WrongUrl, ["HTTP 200", "no such API"]),
        (403, None, WrongUrl, ["HTTP 403", "region", "wseea.okx.com"]),
        (429, None, Unavailable, ["too many"]),
        (503, None, Unavailable, ["HTTP 503"]),
    ],
)
def test_a_status_is_explained(status: int, location: str | None, kind: type[Exception], words: list[str]):
    """One line with the URL, what it answered, the setting to change and which host serves which region."""
    error = refused_status("https://here", status, location, "TCP_X")
    assert type(error) is kind
    for word in ["https://here", *words]:
        assert word in str(error)


@pytest.mark.parametrize("code", ["60018", "64001", "64002"])
def test_a_channel_at_the_wrong_url_is_explained(code: str):
    """The exchange's words, the URL, and both that may be wrong: the symbol and the host."""
    text = refused_channel("wss://here/public", code, "Wrong URL or channel doesn't exist.")
    for word in (code, "wss://here/public", "not listed there", "TCP_OKX_WS_URL", "wseea.okx.com"):
        assert word in text
    assert refused_channel("wss://here/public", "60014", "too frequent") == "60014 too frequent"
