"""Scripts and styles, of Dash, its components and ours: compressed once instead of at every request, and kept
by browsers for good where the address names the version.

The plotting library alone is 5 MB: compressing it takes 0.4 s of the event loop that feeds every browser.
"""

import asyncio
import gzip
import hashlib

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PREFIXES = ("/_dash-component-suites/", "/assets/", "/api/docs/files/")
FOR_GOOD = b"public, max-age=31536000, immutable"
KEPT_BYTES = 64 * 1024 * 1024
LEVEL = 6

Stored = tuple[int, list[tuple[bytes, bytes]], bytes, bytes]


class Statics:
    """ASGI middleware: remembers the answers under `PREFIXES`, compressed, with a tag for revalidation."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._stored: dict[str, Stored] = {}
        self._size = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from memory, else ask the application once."""
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(PREFIXES):
            await self._app(scope, receive, send)
            return
        path = f"{scope['path']}?{scope['query_string'].decode()}"
        stored = self._stored.get(path)
        if stored is None:
            stored = await self._fetch(scope, receive)
            if stored[0] == 200 and self._size < KEPT_BYTES:
                self._stored[path] = stored
                self._size += len(stored[2])
        await _answer(stored, Headers(scope=scope), send)

    async def _fetch(self, scope: Scope, receive: Receive) -> Stored:
        """The application's answer, uncompressed, then compressed in a worker thread."""
        plain = dict(scope)
        plain["headers"] = [pair for pair in scope["headers"] if pair[0] not in _CONDITIONAL]
        start: Message = {}
        body = bytearray()

        async def collect(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
            else:
                body.extend(message.get("body", b""))

        await self._app(plain, receive, collect)
        tag = b'"' + hashlib.sha256(body).hexdigest()[:20].encode() + b'"'
        packed = await asyncio.to_thread(gzip.compress, bytes(body), LEVEL, mtime=0)
        headers = [pair for pair in start.get("headers", []) if pair[0].lower() in _KEPT]
        if scope["query_string"].startswith(_VERSIONED):
            headers = [pair for pair in headers if pair[0].lower() != b"cache-control"]
            headers.append((b"cache-control", FOR_GOOD))
        return start["status"], headers, packed, tag


_CONDITIONAL = frozenset({b"accept-encoding", b"if-none-match", b"if-modified-since", b"range"})
_VERSIONED = (b"m=", b"v=")
"""How addresses say their version: Dash's `?m=` of a file's change, our `?v=`."""
_KEPT = frozenset({b"content-type", b"cache-control"})


async def _answer(stored: Stored, asked: Headers, send: Send) -> None:
    status, kept, packed, tag = stored
    headers = [*kept, (b"etag", tag), (b"vary", b"accept-encoding")]
    if not any(name.lower() == b"cache-control" for name, _ in kept):
        headers.append((b"cache-control", b"no-cache"))
    if status == 200 and asked.get("if-none-match", "").encode() == tag:
        status, body = 304, b""
    elif "gzip" in asked.get("accept-encoding", ""):
        body = packed
        headers.append((b"content-encoding", b"gzip"))
    else:
        body = gzip.decompress(packed)
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
