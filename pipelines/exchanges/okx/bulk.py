"""OKX's bulk files of trades: which there are, and their download.

A file holds a UTC+8 day, so it begins at 16:00 UTC of the day before. It appears two days after its day
began; until three days have passed a 404 means "not yet", after that the day is missing at the exchange.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import date, timedelta
from pathlib import Path

import aiohttp
import psutil

from core.errors import Unavailable
from pipelines.exchanges.okx.backoff import Backoff
from pipelines.exchanges.okx.hosts import Hosts, WrongUrl, refused_status
from pipelines.exchanges.okx.requests import VARIABLE

CDN = "/cdn/okex/traderecords/trades/daily/"
TIMEOUT = aiohttp.ClientTimeout(total=600, sock_connect=10, sock_read=30)
ATTEMPTS = 5
PARTIAL = ".partial"

_DAY_MS = 86_400_000
_UTC8_MS = 8 * 3_600_000
_EPOCH = date(1970, 1, 1)
_FIRST_DAYS, _LAST_DAYS = 2, 3


def day_start_ms(day: date) -> int:
    """Begin of a UTC+8 day, ms since the epoch."""
    return (day - _EPOCH).days * _DAY_MS - _UTC8_MS


def may_exist(day: date, now_ms: int) -> bool:
    """Whether the file of a UTC+8 day can be there already."""
    return now_ms >= day_start_ms(day + timedelta(days=_FIRST_DAYS))


def must_exist(day: date, now_ms: int) -> bool:
    """Whether the file of a UTC+8 day, if it is not there, will not come either."""
    return now_ms >= day_start_ms(day + timedelta(days=_LAST_DAYS))


def file_name(symbol: str, day: date) -> str:
    """Name of the file of a UTC+8 day."""
    return f"{symbol}-trades-{day:%Y-%m-%d}.zip"


class _Cut(Exception):
    """A download that broke off, or a server that is not well; the text says which."""


class BulkDownloads:
    """Downloads into a folder, a file at a time under another name until it is whole. `close` when done."""

    def __init__(
        self,
        address: str | Hosts,
        folder: Path,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        attempts: int = ATTEMPTS,
    ) -> None:
        self.folder = folder
        self._hosts = Hosts([address]) if isinstance(address, str) else address
        self._sleep = sleep
        self._attempts = attempts
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, symbol: str, day: date) -> Path | None:
        """The local path of the file of a UTC+8 day, fetched unless it is there; None when the exchange has
        none. Unavailable after the last attempt, or when this disk takes no more."""
        target = self.folder / file_name(symbol, day)
        if target.is_file():
            return target
        path = f"{CDN}{day:%Y%m%d}/{target.name}"
        backoff = Backoff(first_s=0.5, longest_s=8.0)
        while True:
            host = self._hosts.current
            try:
                found = await self._once(host + path, target)
            except (_Cut, WrongUrl) as fault:
                is_wrong = isinstance(fault, WrongUrl)
                moved = self._hosts.failed(host, is_wrong)
                delay = backoff.next_delay_s()
                if (is_wrong and not moved) or backoff.failures >= self._attempts:
                    raise Unavailable(f"{host}{path}: {fault}") from None
                await self._sleep(0 if moved else delay)
            except OSError as error:
                raise Unavailable(f"{self.folder}: {error.strerror or error}") from None
            else:
                self._hosts.worked(host)
                return target if found else None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _once(self, url: str, target: Path) -> bool:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT)
            self._remove_leftovers()
        partial = target.with_name(f"{target.name}.{os.getpid()}{PARTIAL}")
        try:
            async with self._session.get(url, allow_redirects=False) as answer:
                if answer.status == 404:
                    return False
                if answer.status == 429 or answer.status >= 500:
                    raise _Cut(f"HTTP {answer.status}")
                if answer.status != 200:
                    raise refused_status(url, answer.status, answer.headers.get("Location"), VARIABLE)
                self.folder.mkdir(parents=True, exist_ok=True)
                with partial.open("wb") as file:
                    async for part in answer.content.iter_chunked(1 << 20):
                        file.write(part)
        except TimeoutError:
            raise _Cut("no answer in time") from None
        except aiohttp.ClientError as error:
            raise _Cut(f"the download broke off: {error or type(error).__name__}") from None
        else:
            partial.replace(target)
            return True
        finally:
            partial.unlink(missing_ok=True)

    def _remove_leftovers(self) -> None:
        """What processes that were killed had begun."""
        for partial in self.folder.glob(f"*{PARTIAL}"):
            owner = partial.name.removesuffix(PARTIAL).rpartition(".")[2]
            if not (owner.isdigit() and psutil.pid_exists(int(owner))):
                partial.unlink(missing_ok=True)
