"""The body of `tcp sim`: serve until told to stop."""

import asyncio
import signal
from collections.abc import Callable

import uvloop

from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import serve


def run_forever(options: SimOptions, announce: Callable[[dict[str, str]], None]) -> None:
    """Serve until SIGTERM or SIGINT; `announce` is given {"rest": url, "ws": url} once requests are taken."""
    uvloop.run(_run(options, announce))


async def _run(options: SimOptions, announce: Callable[[dict[str, str]], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)
    running = await serve(options)
    announce({"rest": running.rest_url, "ws": running.ws_url})
    stopped, broken = asyncio.create_task(stop.wait()), asyncio.create_task(running.wait_broken())
    done, _ = await asyncio.wait({stopped, broken}, return_when=asyncio.FIRST_COMPLETED)
    if broken in done:
        await (
            broken
        )  # a bug: better to end loudly, and be restarted, than to serve a market that stands still
    broken.cancel()
    await running.close()
