"""For every command that needs a server: use the one given by URL, else start the embedded one."""

import os
import sys
from typing import Literal

from cli.stack.plan import Plan, make_plan, variables
from cli.stack.servers import check_given_servers, clear_the_way, prepare, start_servers
from cli.stack.supervisor import Supervisor
from config.settings import Settings, settings
from core.errors import BadInput, Unavailable

Wanted = bool | Literal["if it can be had"]


def ensure(
    database: bool = False,
    redis: Wanted = False,
    exchange: bool = False,
    migrated: bool = True,
    must_exist: bool = False,
) -> Settings:
    """Settings with every URL resolved, and the named servers answering.

    Embedded servers are started if need be and left running (`tcp down` stops them). Given servers are asked
    for an answer, and BadInput names the variable when none comes; of a Redis that is wanted if it can be had
    a line on stderr says so. The database is migrated unless told otherwise. The process's environment is
    updated too, so that its children agree.

    must_exist: BadInput where the embedded database would have to be made first
    """
    given = settings()
    plan = make_plan(given)
    if must_exist and "postgres" in plan.embedded and not plan.postgres.has_data():
        remedy = "set TCP_HOME, or TCP_DATABASE_URL, to that of the stack you mean; `tcp up` makes a new one"
        raise BadInput("TCP_HOME", f"{plan.home.path} has no database: {remedy}")
    wanted = {"postgres": database, "redis": redis is True, "sim": exchange}
    names = [name for name in plan.embedded if wanted[name]]
    check_given_servers(plan, database, redis is True)
    if names:
        plan = _run(plan, names)
    if redis == "if it can be had":
        plan = _with_redis(plan)
    if database and migrated:
        from cli.stack.upgrade import upgrade

        upgrade(plan.resolved)
    os.environ.update(variables(plan.resolved))
    settings.cache_clear()
    return settings()


def _with_redis(plan: Plan) -> Plan:
    """Redis too, or a line on stderr why not. BadInput for an address that can never be one."""
    from pipelines.bus.ping import check_url

    check_url("TCP_REDIS_URL", str(plan.resolved.redis_url))
    try:
        if "redis" in plan.embedded:
            return _run(plan, ["redis"])
        check_given_servers(plan, database=False)
    except (BadInput, Unavailable) as error:
        print(f"going on without Redis: {error}", file=sys.stderr)
    return plan


def _run(plan: Plan, names: list[str]) -> Plan:
    with plan.home.changing():
        supervisor = Supervisor(plan.home)
        if not supervisor.answers():
            clear_the_way(plan.home)
            plan = make_plan(plan.given, plan.speed)
            supervisor = Supervisor(plan.home)
            prepare(plan)
            supervisor.launch(plan.services(), plan.environment())
        else:
            prepare(plan)
        start_servers(plan, supervisor, names)
    return plan
