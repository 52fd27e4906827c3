"""A server that answers OKX's private endpoints as a test tells it: for answers no exchange should give."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

Answers = dict[str, Any]
"""Path below /api/v5 → rows, a whole document (with `code`), or a function of the query that gives either."""


@asynccontextmanager
async def answering(answers: Answers) -> AsyncIterator[tuple[str, list[str]]]:
    """The server's URL, and the paths that were asked for, which grow."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            target = urlsplit(line.decode().split()[1])
            length = 0
            while (header := (await reader.readline()).decode().strip()) != "":
                name, _, value = header.partition(":")
                length = int(value) if name.lower() == "content-length" else length
            await reader.readexactly(length)
            path = target.path.removeprefix("/api/v5/")
            asked.append(path)
            body = msgspec.json.encode(_document(answers, path, dict(parse_qsl(target.query))))
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()
        await server.wait_closed()


def _document(answers: Answers, path: str, query: dict[str, str]) -> Any:
    answer = answers.get(path, [])
    found = answer(query) if callable(answer) else answer
    return {"code": "0", "msg": "", "data": found} if isinstance(found, list) else found
