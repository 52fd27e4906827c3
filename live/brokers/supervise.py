"""Keeps the process that trades for real alive, beside the daemon, where real orders are switched on."""

import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import Callable

import structlog

from config.settings import PROJECT_ROOT, Settings
from live.bots.lifeline import PARENT_VARIABLE
from live.bots.process import environment
from live.brokers.codes import UNUSABLE
from pipelines.exchanges.okx.backoff import Backoff

STOP_S = 5.0
STEADY_S = 60.0
"""After which a process counts as well, and the next end of one is the first again."""
REPEATED = 3
"""Ends without a steady time between them that are more than an accident."""
LOG_BYTES = 20_000_000

Tell = Callable[[str, str, str], None]
"""Level, event, message."""

_log = structlog.get_logger("orders")


async def keep_sending(settings: Settings, tell: Tell) -> None:
    """Start the process, and start it again whenever it ends, later each time; until cancelled, which ends
    it. Does nothing while TCP_REAL_ORDERS is off.

    tell: for events: a process that ended once, and one that does again and again
    """
    if settings.real_orders == "off":
        await asyncio.Event().wait()
    backoff, told = Backoff(first_s=0.5, longest_s=60.0), ""
    while True:
        process = await _start(settings)
        started = asyncio.get_running_loop().time()
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            await _stop(process)
            raise
        if asyncio.get_running_loop().time() - started > STEADY_S:
            backoff.reset()
            told = ""
        delay = backoff.next_delay_s()
        why = (
            "settings or keys are wrong, see `tcp doctor`"
            if code == UNUSABLE
            else f"it ended with code {code}"
        )
        _log.error("nobody sends real orders", reason=why, starts_again_in_s=round(delay, 1))
        level = "error" if code == UNUSABLE or backoff.failures >= REPEATED else "warning"
        if told != f"{level} {why}":
            told = f"{level} {why}"
            tell(level, "orders_not_sent", f"nobody sends real orders: {why}; it is started again")
        await asyncio.sleep(delay)


async def _start(settings: Settings) -> Process:
    log = settings.home / "logs" / "orders.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_name(log.name + ".1"))
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "live.brokers.process",
            cwd=PROJECT_ROOT,
            env=os.environ | environment(settings) | {PARENT_VARIABLE: str(os.getpid())},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


async def _stop(process: Process) -> None:
    """In order if there is time; what it was doing is found by the next one."""
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
