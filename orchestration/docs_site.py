"""The dbt documentation as one static page: models, columns, tests and the lineage graph."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from core.errors import BadInput
from orchestration.dbt_command import run_dbt

PAGE = "index.html"


def build_site(home: Path, database_url: str) -> Path:
    """Write `home`/dbt/docs/index.html, which needs no server and no network; its path.

    Column types come from the database. An earlier page stays until the new one is whole.
    """
    run_dbt(["docs", "generate", "--static", "--quiet"], home, database_url, "docs-target")
    site = home.resolve() / "dbt" / "docs"
    site.mkdir(exist_ok=True)
    page = site / f"{PAGE}.partial"
    (home.resolve() / "dbt" / "docs-target" / "static_index.html").replace(page)
    return page.replace(site / PAGE)


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves one folder; a request is no news."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def make_server(site: Path, port: int) -> ThreadingHTTPServer:
    """An HTTP server for that folder on loopback, not yet serving; BadInput when the port is taken."""
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(QuietHandler, directory=str(site)))
    except OSError as error:
        raise BadInput("TCP_DOCS_PORT", f"port {port} cannot be used: {error.strerror}") from None
