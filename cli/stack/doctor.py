"""`tcp doctor`: everything that can be wrong before or while the stack runs, each with its remedy."""

import json
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import typer

from cli.stack.bound_ports import check_ports
from cli.stack.connections import connections, problem
from cli.stack.doctor_state import database_findings, disk_findings
from cli.stack.findings import Finding
from cli.stack.home import Home
from cli.stack.plan import Plan, make_plan
from cli.stack.postgres import check_version, version
from cli.stack.redis import program
from cli.stack.servers import check_given_servers, http_answers
from cli.stack.supervisor import Supervisor
from cli.stack.table import columns
from config.files import BotFile, ConfigError, StrategyFile, read_model
from config.limits import PortfolioLimits
from config.real_orders import BROKER_OF, why_off
from config.settings import settings
from core.errors import BadInput, TcpError
from pipelines.exchanges.okx.hosts import split_urls
from pipelines.warehouse.database import engine
from pipelines.warehouse.real_orders import check_keys, real_orders

FREE_GIB = 2
FREE_MEMORY_GIB = 1
OPEN_FILES = 1024
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def doctor(as_json: bool = typer.Option(False, "--json", help="One JSON document on stdout.")) -> None:
    """Check this machine, the settings and the config files; exit 1 when something is wrong."""
    findings = list(examine(make_plan(settings())))
    healthy = all(finding.ok is not False for finding in findings)
    if as_json:
        print(json.dumps({"ok": healthy, "checks": [finding._asdict() for finding in findings]}, indent=1))
    else:
        marks = {True: "ok", False: "WRONG", None: "note"}
        print(columns([(marks[row.ok], row.name, row.message) for row in findings]))
    if not healthy:
        raise typer.Exit(1)


def examine(plan: Plan) -> Iterator[Finding]:
    """Run every check."""
    yield _python()
    yield _space(plan.home)
    yield _memory()
    yield _open_files()
    yield _try("postgres", lambda: f"PostgreSQL {_postgres(plan)}")
    yield _try("redis", lambda: _redis(plan))
    yield _ports(plan)
    yield _try("servers", lambda: _given(plan))
    yield _exchange(plan)
    yield from _connections(plan)
    yield _real_orders(plan)
    yield from disk_findings(plan)
    yield from database_findings(plan)
    yield from config_files(plan.resolved.config_dir)
    yield _browser()


def config_files(folder: Path) -> Iterator[Finding]:
    """Every bot and strategy file, and the strategy file that each bot names."""
    kinds: tuple[tuple[str, type[BotFile] | type[StrategyFile]], ...] = (
        ("strategies", StrategyFile),
        ("bots", BotFile),
    )
    for kind, model in kinds:
        files = sorted(
            path for path in (folder / kind).glob("*") if path.suffix in (".json", ".yaml", ".yml")
        )
        problems = [problem for path in files if (problem := _file_problem(path, model, folder))]
        yield Finding(f"config/{kind}", not problems, "; ".join(problems) or f"{len(files)} files")
    yield _limits(folder / "risk.json")


def _limits(path: Path) -> Finding:
    """The limits over all bots."""
    if not path.is_file():
        return Finding("config/risk.json", True, "none: no limits over all bots")
    try:
        given = read_model(PortfolioLimits, path).model_dump(exclude_defaults=True)
    except ConfigError as error:
        return Finding("config/risk.json", False, str(error))
    return Finding("config/risk.json", True, ", ".join(f"{name} {value}" for name, value in given.items()))


def _file_problem(path: Path, model: type[BotFile] | type[StrategyFile], folder: Path) -> str | None:
    try:
        document = read_model(model, path)
    except ConfigError as error:
        return str(error)
    if isinstance(document, BotFile) and document.strategy_file:
        named = folder / "strategies" / document.strategy_file
        if not named.is_file():
            return f"{path}: strategy_file: {named} does not exist"
    return None


def _try(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except TcpError as error:
        return Finding(name, False, str(error))


def _python() -> Finding:
    return Finding("python", sys.version_info >= (3, 11), sys.version.split()[0])


def _space(home: Home) -> Finding:
    free = shutil.disk_usage(home.path).free / 2**30
    return Finding("disk", free >= FREE_GIB, f"{free:.1f} GiB free at {home.path}")


def _memory() -> Finding:
    free = psutil.virtual_memory().available / 2**30
    return Finding("memory", True if free >= FREE_MEMORY_GIB else None, f"{free:.1f} GiB available")


def _open_files() -> Finding:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    enough = limit == resource.RLIM_INFINITY or limit >= OPEN_FILES
    text = f"{limit} open files a process" + ("" if enough else f": `ulimit -n {OPEN_FILES}` before `tcp up`")
    return Finding("limits", True if enough else None, text)


def _postgres(plan: Plan) -> str:
    if "postgres" not in plan.embedded:
        return "given by TCP_DATABASE_URL"
    check_version(plan.postgres.data, plan.home.path)
    return f"{version()}, embedded, data in {plan.postgres.data}"


def _redis(plan: Plan) -> str:
    return f"embedded, {program()}" if "redis" in plan.embedded else "given by TCP_REDIS_URL"


def _ports(plan: Plan) -> Finding:
    if Supervisor(plan.home).answers():
        return Finding("ports", True, "held by the running stack")
    try:
        check_ports(plan.resolved)
    except BadInput as error:
        return Finding("ports", False, str(error))
    resolved = plan.resolved
    return Finding("ports", True, f"{resolved.dashboard_port} and {resolved.dagster_port} are free")


def _given(plan: Plan) -> str:
    check_given_servers(plan)
    return "every server given by URL answers" if len(plan.embedded) < 3 else "all embedded"


def _exchange(plan: Plan) -> Finding:
    if "sim" in plan.embedded:
        return Finding("exchange", True, "simulated, started with the stack")
    if plan.resolved.okx_rest_url is None:
        return Finding("exchange", True, f"{plan.given.exchange_name} through ccxt, not asked")
    urls = split_urls(plan.resolved.okx_rest_url)
    answering = {url: http_answers(f"{url}/api/v5/public/time", timeout_s=5) for url in urls}
    said = [f"{url} {'answers' if answers else 'does not answer'}" for url, answers in answering.items()]
    return Finding("exchange", any(answering.values()), ", ".join(said))


def _connections(plan: Plan) -> Iterator[Finding]:
    """How good the running daemon's connections are; nothing where none runs."""
    said = connections(plan)
    if said is not None:
        yield Finding("connections", *problem(said))


def _real_orders(plan: Plan) -> Finding:
    """Whether bots may send real orders, and what keeps them from it."""
    broker = BROKER_OF.get(plan.resolved.real_orders)
    if broker is None:
        return Finding("real orders", True, "off (TCP_REAL_ORDERS): every bot trades on paper, or not at all")
    problem = why_off(plan.resolved, broker) or check_keys(plan.resolved)
    if problem is None and Supervisor(plan.home).answers():
        state = real_orders(engine(str(plan.resolved.database_url)), plan.resolved, broker)
        apart = ", ".join(f"{amount.normalize():+f} {name}" for name, amount in state.differences.items())
        problem = state.why_off or (f"balances at the exchange differ by {apart}" if apart else None)
    money = "REAL MONEY" if plan.resolved.real_orders == "live" else "demo trading"
    return Finding("real orders", problem is None, problem or f"on: {money} through {broker}")


def _browser() -> Finding:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    return Finding(
        "browser", True if found else None, found or "no Chromium: the browser tests will be skipped"
    )
