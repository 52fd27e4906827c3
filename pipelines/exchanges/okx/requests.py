"""One GET to OKX's REST API: budgets kept, passing faults retried, errors in the product's own terms."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
import msgspec

from core.errors import BadInput, Unavailable
from pipelines.exchanges.okx.backoff import Backoff
from pipelines.exchanges.okx.hosts import Hosts, WrongUrl, refused_status
from pipelines.exchanges.okx.limits import Budget, rest_budgets

VARIABLE = "TCP_OKX_REST_URL"
TIMEOUT_S = 10.0
ATTEMPTS = 6
LONGEST_DELAY_S = 8.0

# Rate limit, and the exchange's own words for "not now".
_RETRIED_CODES = frozenset({"50001", "50004", "50011", "50013", "50026", "50061"})
_UNKNOWN_INSTRUMENT = "51001"
_BAD_PARAMETER = frozenset({"51000", "50014", "50015", "50039"})


class _Answer(msgspec.Struct, frozen=True):
    # A 404 carries a number where every other answer has text.
    code: str | int = "0"
    msg: str = ""
    data: msgspec.Raw = msgspec.Raw(b"[]")


class _Retry(Exception):
    """A fault that may be gone in a moment; the text says which."""


class _TooMany(_Retry):
    """The exchange answers, with "not now": another host would say the same."""


_answer = msgspec.json.Decoder(_Answer)


class Requester:
    """GETs on one host, or on the next one where several are given and the first does not answer. Use it in
    one event loop; `close` when done."""

    def __init__(
        self,
        address: str | Hosts,
        budgets: Mapping[str, Budget] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        attempts: int = ATTEMPTS,
    ) -> None:
        self.hosts = Hosts([address]) if isinstance(address, str) else address
        self._budgets = rest_budgets(self.hosts.all[0]) if budgets is None else budgets
        self._sleep = sleep
        self._attempts = attempts
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str, parameters: Mapping[str, str | int]) -> bytes:
        """The JSON text of the answer's `data`.

        Raises BadInput for what the exchange calls a wrong instrument or parameter, Unavailable after the
        last attempt, WrongUrl where no host serves this API.
        """
        backoff = Backoff(first_s=0.5, longest_s=LONGEST_DELAY_S)
        while True:
            if (budget := self._budgets.get(path)) is not None and (delay := budget.reserve()) > 0:
                await self._sleep(delay)
            host = self.hosts.current
            try:
                data = await self._once(host, path, parameters)
            except BadInput:
                self.hosts.worked(host)
                raise
            except (_Retry, WrongUrl) as fault:
                is_wrong = isinstance(fault, WrongUrl)
                moved = not isinstance(fault, _TooMany) and self.hosts.failed(host, is_wrong)
                delay = backoff.next_delay_s()
                if is_wrong and not moved:
                    raise
                if backoff.failures >= self._attempts:
                    raise Unavailable(f"{host}{path}: {fault} ({self._attempts} attempts)") from None
                await self._sleep(0 if moved else delay)
            else:
                self.hosts.worked(host)
                return data

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _once(self, host: str, path: str, parameters: Mapping[str, str | int]) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        try:
            async with self._session.get(
                host + path, params=dict(parameters), allow_redirects=False
            ) as response:
                body = await response.read()
                status, location = response.status, response.headers.get("Location")
        except TimeoutError:
            raise _Retry(f"no answer in {TIMEOUT_S:.0f} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _Retry(str(error) or type(error).__name__) from None
        if status == 429:
            raise _TooMany("HTTP 429")
        if status >= 500:
            raise _Retry(f"HTTP {status}")
        if 300 <= status < 400:
            raise refused_status(host + path, status, location, VARIABLE)
        return _data(host + path, status, body, parameters)


def _data(url: str, status: int, body: bytes, parameters: Mapping[str, str | int]) -> bytes:
    try:
        answer = _answer.decode(body)
    except msgspec.MsgspecError:
        if status == 200:
            raise _Retry("an answer that is not JSON") from None
        raise refused_status(url, status, None, VARIABLE) from None
    code = str(answer.code)
    if code == "0" and status == 200:
        return bytes(answer.data)
    if code in _RETRIED_CODES:
        raise _TooMany(f"code {code} {answer.msg}".rstrip())
    if code == _UNKNOWN_INSTRUMENT:
        raise BadInput("symbol", f"{parameters.get('instId', '')!r} is not listed by the exchange")
    if code in _BAD_PARAMETER:
        raise BadInput("request", f"the exchange refused it: {answer.msg} (code {code})")
    if status == 404:
        raise refused_status(url, status, None, VARIABLE)
    raise Unavailable(f"{url}: HTTP {status}, code {code} {answer.msg}".rstrip())
