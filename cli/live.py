"""`tcp live`: the daemon alone."""


def live() -> None:
    """Collect market data and run the bots, in the foreground; SIGTERM stops it cleanly.

    Starts the embedded servers it needs and leaves them running; `tcp down` stops them.
    """
    from cli.stack.ensure import ensure

    settings = ensure(database=True, redis=True, exchange=True)

    from live.daemon import run

    run(settings)
