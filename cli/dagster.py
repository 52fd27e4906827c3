"""`tcp dagster`: Dagster alone."""

import shutil
import signal
import subprocess
import threading
from types import FrameType


def dagster() -> None:
    """Dagster alone, in the foreground: webserver, daemon, code server and their logs; Ctrl-C stops them.

    Starts the embedded database it needs and leaves it running; `tcp down` stops it.
    """
    from cli.stack.bound_ports import check_port
    from cli.stack.ensure import ensure
    from cli.stack.plan import DAGSTER_DATABASE, make_plan
    from cli.stack.services import dagster_services
    from config.settings import PROJECT_ROOT
    from pipelines.exchanges.okx.keys import without_keys
    from pipelines.warehouse.server import ensure_database

    settings = ensure(database=True, redis=True)
    check_port("TCP_DAGSTER_PORT", settings.dagster_host, settings.dagster_port)
    plan = make_plan(settings)
    ensure_database(str(settings.database_url), DAGSTER_DATABASE)
    shutil.copyfile(PROJECT_ROOT / "config/dagster/dagster.yaml", plan.home.dagster / "dagster.yaml")
    print(f"http://127.0.0.1:{settings.dagster_port}", flush=True)

    stop = threading.Event()
    _on_signals(stop)
    from cli.stack import process

    running: list[subprocess.Popen[bytes]] = []
    try:
        for service in dagster_services(settings.dagster_port, plan.code_port, settings.dagster_host):
            environment = without_keys(plan.environment())
            # no file of ours, which would grow for ever: the journal or the container bounds what comes out
            running.append(process.start(service.command, None, with_parent=True, environment=environment))
        while not stop.wait(0.5) and all(child.poll() is None for child in running):
            continue
    finally:
        process.stop_groups(running)  # the code server and the daemon have children of their own


def _on_signals(stop: threading.Event) -> None:
    def note(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, note)
