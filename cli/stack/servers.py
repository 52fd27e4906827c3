"""Starting the embedded servers under the supervisor and waiting until they answer."""

from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from cli.stack.home import Home
from cli.stack.leftovers import end_leftovers
from cli.stack.plan import Plan
from cli.stack.ports import forget_port, is_free, remembered_port
from cli.stack.process import wait_until
from cli.stack.supervisor import Supervisor
from core.errors import BadInput, Unavailable
from pipelines.exchanges.okx.hosts import split_urls

OWN_PORTS = ("postgres", "redis", "sim", "supervisor", "dagster-code")
ANSWER_S = 60


def renew_taken_ports(home: Home) -> None:
    """Forget remembered ports that another program took; call it when nothing of ours runs."""
    for name in OWN_PORTS:
        if not is_free(remembered_port(home.path, name)):
            forget_port(home.path, name)


def prepare(plan: Plan) -> None:
    """Make the data folders of the servers that are ours."""
    if "postgres" in plan.embedded:
        plan.postgres.prepare()
    if "redis" in plan.embedded:
        plan.redis.prepare()


def clear_the_way(home: Home) -> None:
    """Before a supervisord is launched: no process of an earlier one, no port of another program."""
    end_leftovers(home)
    renew_taken_ports(home)


def start_servers(plan: Plan, supervisor: Supervisor, names: Sequence[str]) -> None:
    """Start these servers and wait until each answers; Unavailable, with its last log line, if not."""
    supervisor.start(*names)
    for name in names:
        wait_for_service(plan.home, supervisor, name, server_check(plan, name))
    if "postgres" in names:
        ensure_own_database(plan)


def ensure_own_database(plan: Plan) -> None:
    """Create the product's database on the embedded server."""
    from pipelines.warehouse.server import ensure_database

    ensure_database(plan.postgres.url("postgres"), "tcp")


def server_check(plan: Plan, name: str) -> Callable[[], bool]:
    """How to see that a server answers, ours or a given one."""
    from pipelines.bus import ping

    checks: dict[str, Callable[[], bool]] = {
        "postgres": lambda: _postgres_answers(plan),
        "redis": lambda: ping.answers(str(plan.resolved.redis_url)),
        "sim": lambda: any(
            http_answers(f"{url}/api/v5/public/time") for url in split_urls(str(plan.resolved.okx_rest_url))
        ),
    }
    return checks[name]


def _postgres_answers(plan: Plan) -> bool:
    from pipelines.warehouse.server import check_answers

    try:
        check_answers(plan.given.database_url or plan.postgres.url("postgres"), timeout_s=2)
    except Unavailable as error:
        if "password authentication failed" in str(error):
            remedy = f"put its secrets/postgres back, or move {plan.postgres.folder} away to start empty"
            raise BadInput("TCP_HOME", f"{plan.home.path} lost its database password: {remedy}") from None
        return False
    return True


def wait_for_service(
    home: Home, supervisor: Supervisor, name: str, ready: Callable[[], bool], seconds: float = ANSWER_S
) -> None:
    """Wait until `ready`; give up at once when the supervisor has given up."""

    def answers_or_failed() -> bool:
        if ready():
            return True
        state = next((row.state for row in supervisor.processes() if row.name == name), "unknown")
        if state == "FATAL":
            raise Unavailable(f"{name} does not start: {last_line(home.log(name))} (log: {home.log(name)})")
        return False

    wait_until(answers_or_failed, seconds, f"{name} (log: {home.log(name)})")


def check_given_servers(plan: Plan, database: bool = True, redis: bool = True) -> None:
    """BadInput, naming the variable, when a server given by URL does not answer within a few seconds."""
    from pipelines.bus import ping
    from pipelines.warehouse import server

    checks: list[tuple[str, bool, str | None, Callable[[str], None]]] = [
        ("TCP_DATABASE_URL", database, plan.given.database_url, server.check_answers),
        ("TCP_REDIS_URL", redis, plan.given.redis_url, ping.check_answers),
    ]
    for variable, wanted, url, check in checks:
        if wanted and url is not None:
            try:
                check(url)
            except Unavailable as error:
                remedy = "start it, correct the URL, or unset the variable to use the embedded server"
                raise BadInput(variable, f"{error}; {remedy}") from None


def http_answers(url: str, timeout_s: float = 2) -> bool:
    """Whether an HTTP server answers there with anything but its own failure."""
    try:
        with urlopen(url, timeout=timeout_s) as response:  # noqa: S310 - http://, made of our settings
            return int(response.status) < 500
    except HTTPError as error:
        return error.code < 500
    except (URLError, OSError):
        return False


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "it left no log"
    return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")
