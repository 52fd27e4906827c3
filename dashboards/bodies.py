"""The body of a request has an end: no page or script sends more, and nobody fills the memory with one."""

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope

MOST_BYTES = 16 << 20
"""Pages send back what they show, some megabytes at most."""


def too_large(scope: Scope) -> Response | None:
    """The refusal of a request that says beforehand that it is too long."""
    said = Headers(scope=scope).get("content-length", "0")
    if said.isdecimal() and int(said[:20]) <= MOST_BYTES:
        return None
    return JSONResponse({"detail": f"a body has {MOST_BYTES >> 20} MB at most"}, 413)


def bounded(receive: Receive) -> Receive:
    """The same messages until the body is too long; then its sender counts as gone."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        return {"type": "http.disconnect"} if received > MOST_BYTES else message

    return counted
