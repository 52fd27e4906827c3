"""`tcp live`: the daemon alone."""

from typing import Annotated

import typer


def live(
    standby: Annotated[
        bool, typer.Option("--standby", help="Wait while another daemon runs, and take over when it is gone.")
    ] = False,
) -> None:
    """Collect market data and run the bots, in the foreground; SIGTERM stops it cleanly.

    Starts the embedded servers it needs and leaves them running; `tcp down` stops them. While Redis is away
    it works all the same, and publishes when Redis is back.
    """
    from cli.stack.ensure import ensure

    settings = ensure(database=True, redis="if it can be had", exchange=True)

    from live.daemon import run

    run(settings, standby)
