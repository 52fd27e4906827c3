"""Ports people choose (dashboard, Dagster): taken ones are named before anything starts."""

from typing import Any

import psutil

from cli.stack.ports import is_free
from config.settings import Settings
from core.errors import BadInput


def check_port(variable: str, host: str, port: int) -> None:
    """BadInput, naming the port, its variable and who has it, when it is taken."""
    if not is_free(port, host):
        holder = holder_of(port)
        by = f" by {holder}" if holder else ""
        raise BadInput(variable, f"port {port} is in use{by}: stop that or set {variable} to another port")


def check_ports(settings: Settings) -> None:
    """Both ports of the stack that people choose."""
    check_port("TCP_DASHBOARD_PORT", settings.dashboard_host, settings.dashboard_port)
    check_port("TCP_DAGSTER_PORT", settings.dagster_host, settings.dagster_port)


def holder_of(port: int) -> str | None:
    """Name and process id of who listens on this port, where the system tells us."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and _port(connection) == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        return None
    return None


def _port(connection: Any) -> int | None:
    return connection.laddr.port if connection.laddr else None
