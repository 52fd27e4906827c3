"""The configuration of supervisord as text. Pure."""

import shlex
from collections.abc import Iterable

from cli.stack.home import Home
from cli.stack.ports import LOOPBACK
from cli.stack.services import Service
from pipelines.exchanges.okx.keys import VARIABLES

LOG_BYTES = "20MB"
_WITHOUT_KEYS = ("env", *(word for name in VARIABLES for word in ("-u", name)))


def config_text(home: Home, services: Iterable[Service], port: int, password: str, user: str) -> str:
    """supervisord.conf: loopback control port with a password, one program a service, none started by itself.

    A program that dies is started again, at once and then with a growing pause, as often as its service says.
    """
    blocks = [
        _section(
            "supervisord",
            {
                "nodaemon": "true",
                "silent": "true",
                "user": user,
                "logfile": str(home.log("supervisord")),
                "logfile_maxbytes": LOG_BYTES,
                "logfile_backups": "1",
                "pidfile": str(home.supervisor_pid),
                "directory": str(home.path),
            },
        ),
        _section(
            "inet_http_server",
            {"port": f"{LOOPBACK}:{port}", "username": "tcp", "password": password},
        ),
        _section(
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
    ]
    blocks += [_program(home, service) for service in services]
    return "\n".join(blocks)


def _program(home: Home, service: Service) -> str:
    command = ("nice", "-n", str(service.nice), *service.command) if service.nice else service.command
    if not service.keys:
        command = (*_WITHOUT_KEYS, *command)
    options = {
        "command": shlex.join(command),
        "directory": str(service.folder),
        "autostart": "false",
        "autorestart": "true",
        "startsecs": str(service.start_seconds),
        "startretries": str(service.start_tries),
        "stopsignal": service.stop_signal,
        "stopwaitsecs": str(service.stop_seconds),
        "stopasgroup": str(service.stop_children).lower(),
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": str(home.log(service.name)),
        "stdout_logfile_maxbytes": LOG_BYTES,
        "stdout_logfile_backups": "2",
    }
    if service.user:
        options["user"] = service.user
    if service.environment:
        quoted = (f'{name}="{value}"' for name, value in service.environment.items())
        options["environment"] = ",".join(quoted)
    return _section(f"program:{service.name}", options)


def _section(name: str, options: dict[str, str]) -> str:
    """An INI section; supervisord expands %, so a percent sign of ours is doubled."""
    lines = [f"{key} = {value.replace('%', '%%')}" for key, value in options.items()]
    return "\n".join([f"[{name}]", *lines, ""])
