"""The addresses of OKX: which to use, which next, and what is wrong with one that refuses."""

from collections.abc import Sequence

from core.errors import Unavailable

REST_URLS = ("https://www.okx.com", "https://openapi.okx.com")
WS_URLS = ("wss://ws.okx.com:8443/ws/v5", "wss://ws.okx.com:443/ws/v5")
"""One market under several names and ports. Other regions are other markets, with trade ids of their own, and
therefore never taken unasked."""
REGIONS = (
    "www.okx.com with ws.okx.com:8443; accounts of my.okx.com (EEA): eea.okx.com with wseea.okx.com:8443; "
    "accounts of app.okx.com (US, AU): us.okx.com with wsus.okx.com:8443"
)
FAILURES_BEFORE_NEXT = 3

_WRONG_CHANNEL = {"60018", "64001", "64002"}


class WrongUrl(Unavailable):
    """Something answers at that URL, and it is not what is asked for: asking again will not help."""


class Hosts:
    """Base URLs of one service in order of preference. After three failures in a row the next one is taken,
    after the last the first again; a wrong URL is left at once. One alone is tried for ever."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = tuple(url.rstrip("/") for url in urls)
        self._place = 0
        self._failures = 0

    @property
    def current(self) -> str:
        """The base URL in use, without a slash at its end."""
        return self._urls[self._place]

    @property
    def all(self) -> tuple[str, ...]:
        """Every base URL, the preferred one first."""
        return self._urls

    def worked(self, url: str) -> None:
        """It answered as it should."""
        if url == self.current:
            self._failures = 0

    def failed(self, url: str, is_wrong: bool = False) -> bool:
        """It did not answer, or (`is_wrong`) is no such service. Whether there is another one to try now;
        a failure of one that is no longer in use counts nothing."""
        if url != self.current:
            return False
        self._failures += 1
        if len(self._urls) == 1 or not (is_wrong or self._failures >= FAILURES_BEFORE_NEXT):
            return False
        self._place = (self._place + 1) % len(self._urls)
        self._failures = 0
        return True


def split_urls(text: str) -> tuple[str, ...]:
    """The URLs of a comma list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def refused_status(url: str, status: int, location: str | None, variable: str) -> WrongUrl | Unavailable:
    """What an HTTP status at `url` means, with the remedy. variable: the setting that the URL comes from."""
    if status in (301, 302, 303, 307, 308):
        target = f"to {location}" if location else "elsewhere"
        return WrongUrl(f"{url}: HTTP {status}, moved {target}: set {variable} to the new address")
    if status < 300 or status == 404:
        return WrongUrl(f"{url}: HTTP {status}, no such API there: correct {variable} ({REGIONS})")
    if status in (401, 403, 451):
        return WrongUrl(
            f"{url}: HTTP {status}, not served to this address: set {variable} to the host of your region "
            f"({REGIONS})"
        )
    if status == 429:
        return Unavailable(f"{url}: HTTP 429, too many requests from this address")
    return Unavailable(f"{url}: HTTP {status}")


def refused_channel(url: str, code: str, message: str) -> str:
    """What an error of the WebSocket means. 60018 is both: a wrong URL, and a symbol not listed there."""
    if code not in _WRONG_CHANNEL:
        return f"{code} {message}".strip()
    return (
        f"{code} {message} Asked at {url}: the symbol is not listed there, or TCP_OKX_WS_URL is the wrong "
        f"host ({REGIONS})"
    )
