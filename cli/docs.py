"""`tcp docs`: the lineage and the documentation of the data models."""

import json
from typing import Annotated

import typer


def docs(
    build_only: Annotated[bool, typer.Option("--build-only", help="Write the site and leave.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Build the documentation of the dbt models, with their lineage, and serve it on loopback.

    Starts the embedded database if it is needed; the port is TCP_DOCS_PORT.
    """
    from cli.stack.ensure import ensure

    settings = ensure(database=True, redis=False, exchange=False)

    from orchestration.docs_site import build_site, make_server

    page = build_site(settings.home, settings.database_url or "")
    if build_only:
        typer.echo(json.dumps({"site": str(page)}) if as_json else f"Written: {page}")
        return
    with make_server(page.parent, settings.docs_port) as server:
        url = f"http://127.0.0.1:{server.server_port}/"
        typer.echo(json.dumps({"site": str(page), "url": url}) if as_json else f"Lineage and docs: {url}")
        server.serve_forever()
