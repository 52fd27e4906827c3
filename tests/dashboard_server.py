"""A dashboard that really listens, in a thread of the test process, and a small HTTP client for it."""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from sqlalchemy import Engine

from config.settings import Settings
from dashboards.app import create_app
from dashboards.server import options
from pipelines.bus.base import Bus
from pipelines.warehouse.database import engine

START_S = 60.0


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:
        return None


@dataclass(frozen=True)
class Client:
    """Talks to a running dashboard."""

    url: str
    settings: Settings
    database: Engine

    def get(self, path: str, **headers: str) -> Answer:
        """GET a path."""
        return self.request("GET", path, None, headers)

    def post(self, path: str, document: Any = None, **headers: str) -> Answer:
        """POST a JSON document."""
        return self.request("POST", path, document, headers)

    def put(self, path: str, document: Any) -> Answer:
        """PUT a JSON document."""
        return self.request("PUT", path, document, {})

    def request(self, method: str, path: str, document: Any, headers: dict[str, str]) -> Answer:
        """Any request; an underscore in a header's name stands for a hyphen."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = None
        if isinstance(document, bytes):
            body = document
        elif document is not None:
            body = json.dumps(document).encode()
            named.setdefault("content-type", "application/json")
        request = urllib.request.Request(self.url + path, body, named, method=method)
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            with opener.open(request, timeout=60) as answer:
                return _answer(answer.status, answer.read(), answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.read(), error.headers)


def _answer(status: int, body: bytes, headers: Any) -> Answer:
    return Answer(status, body, {name.lower(): value for name, value in headers.items()})


@contextmanager
def running(
    database_url: str, redis_url: str, port: int, config_dir: Path, bus: Bus | None = None, **more: Any
) -> Iterator[Client]:
    """A dashboard on that port until the block ends; bus: another one than Redis; `more`: other settings."""
    settings = Settings(
        database_url=database_url,
        redis_url=redis_url,
        dashboard_port=port,
        config_dir=config_dir,
        home=config_dir,
        **more,
    )
    config = uvicorn.Config(create_app(settings, bus), **options(settings) | {"log_level": "warning"})
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="dashboard")
    thread.start()
    database = engine(database_url)
    try:
        client = Client(f"http://127.0.0.1:{port}", settings, database)
        until(lambda: server.started and client.get("/healthz").status == 200, START_S, "the dashboard")
        yield client
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        database.dispose()
        engine.cache_clear()


def until(condition: Any, seconds: float, what: str) -> Any:
    """Ask until the condition holds and return what it said; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {seconds:g} s")
        time.sleep(0.05)


def components(parts: Any) -> Iterator[Any]:
    """Every component of a tree of Dash components, depth first."""
    for part in parts if isinstance(parts, list | tuple) else [parts]:
        yield part
        children = getattr(part, "children", None)
        if children is not None and not isinstance(children, str):
            yield from components(children)
