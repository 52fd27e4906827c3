"""A dashboard in a process of its own, a browser to look at it, and how times are reported."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tests.dashboard_server import until

DRAWN = ".chart-box:not(.waiting) .js-plotly-plot"
CORES = os.cpu_count() or 1


@contextmanager
def dashboard(database_url: str, redis_url: str, port: int, home: Path) -> Iterator[str]:
    """Its address."""
    variables = {
        "TCP_DATABASE_URL": database_url,
        "TCP_REDIS_URL": redis_url,
        "TCP_DASHBOARD_PORT": str(port),
        "TCP_HOME": str(home),
        "TCP_CONFIG_DIR": str(home / "config"),
        "TCP_DAGSTER_PORT": "1",
    }
    url = f"http://127.0.0.1:{port}"
    with (home / "dashboard.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "dashboard"],
            env={**os.environ, **variables},
            stdout=log,
            stderr=log,
        )
        try:
            until(lambda: process.poll() is None and _answers(url), 120, "the dashboard")
            yield url
        finally:
            process.terminate()
            process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5):
            return True
    except OSError:
        return False


def _chromium() -> str | None:
    return next((found for found in map(shutil.which, ("chromium", "google-chrome")) if found), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's, or Playwright's own."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=_chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        yield found
        found.close()


@contextmanager
def profile(folder: Path) -> Iterator[BrowserContext]:
    """A browser that keeps its cache in a folder, as people's do: compiled scripts too."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch_persistent_context(
            str(folder),
            executable_path=_chromium(),
            args=["--no-sandbox", "--disable-gpu"],
            viewport={"width": 1280, "height": 800},
        )
        yield found
        found.close()


def timed(act: Callable[[], object], arrived: Callable[[], object]) -> float:
    """From the beginning of `act` to the end of `arrived`, ms."""
    began = time.perf_counter()
    act()
    arrived()
    return (time.perf_counter() - began) * 1000


def ranked(times: Sequence[float]) -> str:
    """p50, p95 and the longest."""
    found = sorted(times)
    middle = found[len(found) // 2]
    return f"{len(found):>5} p50 {middle:>8.1f} p95 {p95(found):>8.1f} longest {found[-1]:>8.1f} ms"


def p95(times: Sequence[float]) -> float:
    """What 95 of 100 are no longer than."""
    return sorted(times)[int(len(times) * 0.95)]


def worked_ms() -> float:
    """Processor time so far of this process and of all that it started: servers, browser, clients."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    found = 0.0
    for process in family:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            found += times.user + times.system
    return found * 1000


def judged(load: float) -> str:
    """What is to be said behind a figure: nothing where the clock judges it (see `missed`)."""
    return "" if load < CORES else "; beside other work, judged by the processor: gross misses alone fail"


def missed(what: str, times: Sequence[float], target_ms: float, each_ms: float, load: float) -> list[str]:
    """The target in words if it was missed, else nothing. each_ms: processor time of one; load: of the
    machine before anything was measured.

    By the clock where the machine had a core to spare, else by the processor: what takes all cores together
    longer than the target would miss it on an idle machine, too.
    """
    if load < CORES:
        found, by = p95(times), "p95 by the clock"
    else:
        found, by = each_ms / CORES, "by the processor, of all cores together"
    return [f"{what}: {found:,.0f} ms {by}, more than {target_ms:,.0f}"] if found > target_ms else []
