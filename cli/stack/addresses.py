"""Every address of a stack, as people and scripts use it. No secrets in it."""

from collections.abc import Mapping
from typing import NamedTuple

from cli.stack.plan import Plan


class Address(NamedTuple):
    """A line of the table: what, where, and a word about it."""

    service: str
    url: str
    note: str


def addresses(plan: Plan) -> list[Address]:
    """The addresses in the order people need them."""
    resolved = plan.resolved
    given = {name: name not in plan.embedded for name in ("postgres", "redis", "sim")}
    everywhere = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound
    host = "127.0.0.1" if resolved.dashboard_host in everywhere else resolved.dashboard_host
    exchange = _exchange(plan, given)
    return [
        Address("dashboard", f"http://{host}:{resolved.dashboard_port}", "bots, charts, backtests"),
        Address("dagster", f"http://127.0.0.1:{resolved.dagster_port}", "backfills, archive, models"),
        Address("exchange", resolved.okx_rest_url or resolved.exchange_name, exchange),
        Address("", resolved.okx_ws_url or "", ""),
        Address("postgres", without_password(str(resolved.database_url)), "`tcp db url` has the password"),
        Address("redis", without_password(str(resolved.redis_url)), ""),
        Address("logs", str(plan.home.logs), "one file a service"),
    ]


def without_password(url: str) -> str:
    """A server's URL with the account but without its secret."""
    scheme, _, rest = url.partition("://")
    if "@" not in rest:
        return url
    account, _, host = rest.rpartition("@")
    user = account.partition(":")[0]
    return f"{scheme.partition('+')[0]}://{user + '@' if user else ''}{host}"


def by_service(plan: Plan) -> Mapping[str, str]:
    """The address of each supervised service that has one."""
    rows = {row.service: row.url for row in addresses(plan) if row.service}
    return {
        "dashboard": rows["dashboard"],
        "dagster-webserver": rows["dagster"],
        "dagster-code": f"127.0.0.1:{plan.code_port}",
        "sim": rows["exchange"],
        "postgres": rows["postgres"],
        "redis": rows["redis"],
    }


def _exchange(plan: Plan, given: Mapping[str, bool]) -> str:
    if plan.given.ccxt_id is not None:
        return f"{plan.given.exchange_name} through ccxt"
    if plan.given.exchange == "okx":
        return "OKX itself"
    if given["sim"]:
        return "simulated, started elsewhere"
    return f"simulated, speed {plan.speed}"
