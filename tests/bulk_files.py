"""The simulated exchange's REST API and bulk files behind a server that loses, cuts and spoils some."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

Spoil = Callable[[bytes], web.StreamResponse | bytes]


class Cdn:
    """spoiled: what becomes of a file, by its name; asked: how often each was asked for, found or not."""

    def __init__(self, upstream: str) -> None:
        self.spoiled: dict[str, Spoil] = {}
        self.asked: Counter[str] = Counter()
        self.url = ""
        self._upstream = upstream

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The upstream's file, or what is left of it."""
        name = request.path.rpartition("/")[2]
        self.asked[name] += 1
        address = self._upstream + request.path_qs
        async with aiohttp.ClientSession() as session, session.get(address) as found:
            body = await found.read()
            if found.status != 200 or name not in self.spoiled:
                return web.Response(body=body, status=found.status)
        spoiled = self.spoiled[name](body)
        return web.Response(body=spoiled) if isinstance(spoiled, bytes) else spoiled


@asynccontextmanager
async def cdn_before(upstream: str) -> AsyncIterator[Cdn]:
    """A running CDN before the files at that base URL."""
    cdn = Cdn(upstream)
    app = web.Application()
    app.router.add_get("/{path:.*}", cdn.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    cdn.url = f"http://{host}:{port}"
    try:
        yield cdn
    finally:
        await runner.cleanup()
