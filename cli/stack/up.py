"""`tcp up`: the whole stack in the foreground."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import typer

from cli.stack.addresses import addresses
from cli.stack.bound_ports import check_ports
from cli.stack.failure import failure_told
from cli.stack.home import Home
from cli.stack.plan import DAGSTER_DATABASE, Plan, make_plan
from cli.stack.ports import listening
from cli.stack.servers import (
    check_given_servers,
    clear_the_way,
    http_answers,
    last_line,
    prepare,
    start_servers,
)
from cli.stack.shutdown import stop_everything
from cli.stack.started import remember
from cli.stack.supervisor import Supervisor
from cli.stack.table import columns
from config.settings import PROJECT_ROOT, settings
from core.errors import BadInput, Unavailable
from pipelines.notifications.channels import urls

TRADING = ("live", "dashboard")
DAGSTER = ("dagster-code", "dagster-webserver", "dagster-daemon")
APPS = TRADING + DAGSTER
OPTIONAL = ("notify",)
PORTLESS = frozenset({"live", "dagster-daemon"})
TRADING_ANSWER_S = 60
APPS_ANSWER_S = 120
GIVEN_UP_S = 60
"""How often what was given up is tried again: a person may be a weekend away."""


def up(
    exchange: str = typer.Option(None, help="sim, okx, or ccxt's name; default: TCP_EXCHANGE, else sim."),
    speed: str = typer.Option("1", help="Speed of the simulated market: a number, or max."),
) -> None:
    """Run everything here, restart what crashes; Ctrl-C stops all of it."""
    from pipelines.exchanges.connect import check_exchange

    if exchange is not None:
        os.environ["TCP_EXCHANGE"] = exchange
        settings.cache_clear()
    check_exchange(settings())
    check_speed(speed)
    home = Home(settings().home)
    home.make()
    with home.in_the_foreground():
        _run(home, speed)


def check_speed(speed: str) -> None:
    """BadInput unless it is max or a number above 0."""
    if speed != "max":
        try:
            good = 0 < float(speed) <= 1_000_000
        except ValueError:
            good = False
        if not good:
            raise BadInput("--speed", f"{speed!r} is not a number above 0, or max")


def _run(home: Home, speed: str) -> None:
    began = time.monotonic()
    stop_everything(home)  # what a killed run or a lone command left
    plan = make_plan(settings(), speed)
    told = OPTIONAL if urls(plan.resolved) else ()
    _on_signals(_interrupt)
    try:
        with failure_told(plan.resolved):
            check_ports(plan.resolved)
            check_given_servers(plan)
            plan, supervisor = _launch(plan)
        # Dagster takes half a minute of processor time to start: the page comes first.
        supervisor.start(*TRADING, *told)
        _wait_for_apps(plan, supervisor, TRADING, TRADING_ANSWER_S)
        supervisor.start(*DAGSTER)
        waiting = _wait_for_apps(plan, supervisor, APPS, APPS_ANSWER_S)
        print(columns(addresses(plan)))
        for name in waiting:
            log = home.log(name)
            print(f"{name} does not answer yet: {last_line(log)} (log: {log})")
        state = "running" if waiting else "ready"
        print(f"{state} after {time.monotonic() - began:.0f} s; Ctrl-C stops everything", flush=True)
        _watch(supervisor)
        print("the stack was stopped from elsewhere", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopping …", file=sys.stderr, flush=True)
    finally:
        _on_signals(signal.SIG_IGN)  # a second Ctrl-C must not leave half of it
        stop_everything(home)


def _watch(supervisor: Supervisor) -> None:
    """Until supervisord ends. What it gave up is tried again now and then, for as long as this runs."""
    looked = time.monotonic()
    while supervisor.answers():
        time.sleep(1)
        if time.monotonic() - looked < GIVEN_UP_S:
            continue
        looked = time.monotonic()
        with suppress(Unavailable):
            for name in supervisor.start_given_up():
                print(f"{name} was given up, and is tried again", file=sys.stderr, flush=True)


def _launch(plan: Plan) -> tuple[Plan, Supervisor]:
    with plan.home.changing():
        clear_the_way(plan.home)
        plan = make_plan(plan.given, plan.speed)
        supervisor = Supervisor(plan.home)
        prepare(plan)
        shutil.copyfile(PROJECT_ROOT / "config/dagster/dagster.yaml", plan.home.dagster / "dagster.yaml")
        supervisor.launch(plan.services(), plan.environment())
        remember(plan.home, plan.resolved)
        start_servers(plan, supervisor, plan.embedded)
    _prepare_database(plan)
    return plan, supervisor


def _prepare_database(plan: Plan) -> None:
    from cli.stack.upgrade import upgrade
    from pipelines.warehouse.server import ensure_database

    upgrade(plan.resolved)
    ensure_database(str(plan.resolved.database_url), DAGSTER_DATABASE)


def _wait_for_apps(plan: Plan, supervisor: Supervisor, names: Sequence[str], seconds: float) -> Sequence[str]:
    """Names of the applications that still do not answer when the time is up, or were given up."""
    checks = app_checks(plan)
    waiting = list(names)
    deadline = time.monotonic() + seconds
    while waiting and time.monotonic() < deadline:
        states = {row.name: row.state for row in supervisor.processes()}
        waiting = [name for name in waiting if not (states.get(name) in _alive(name) and checks[name]())]
        if all(states.get(name) == "FATAL" for name in waiting):
            break
        time.sleep(0.2)
    return waiting


def _alive(name: str) -> frozenset[str]:
    """Who has a port may answer while still counted as starting; the others have to stay up for a while."""
    return frozenset({"RUNNING"} if name in PORTLESS else {"STARTING", "RUNNING"})


def app_checks(plan: Plan) -> dict[str, Callable[[], bool]]:
    """How to see that an application answers; those without a port answer by running."""
    resolved = plan.resolved
    return {
        "live": lambda: True,
        "dashboard": lambda: http_answers(f"{addresses(plan)[0].url}/healthz"),
        "dagster-code": lambda: listening(plan.code_port),
        "dagster-webserver": lambda: http_answers(f"http://127.0.0.1:{resolved.dagster_port}/server_info"),
        "dagster-daemon": lambda: True,
        "notify": lambda: True,
    }


def _on_signals(handler: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
