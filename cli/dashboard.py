"""`tcp dashboard`: pages, REST API and live push alone."""


def dashboard() -> None:
    """Serve the pages and the API, in the foreground; SIGTERM stops it.

    Starts the embedded servers it needs and leaves them running; `tcp down` stops them.
    """
    from cli.stack.ensure import ensure

    settings = ensure(database=True, redis=True, exchange=False)

    from dashboards.server import run

    run(settings)
