"""Talking to the supervisord of a home."""

import http.client
import os
import pwd
import subprocess
import sys
import xmlrpc.client
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from cli.stack.home import MARK, Home
from cli.stack.ports import LOOPBACK, remembered_port
from cli.stack.process import wait_until
from cli.stack.secret import secret, write_private
from cli.stack.services import Service
from cli.stack.supervisor_config import config_text
from core.errors import Unavailable

RPC_TIMEOUT_S = 20
_ALREADY_STARTED, _NOT_RUNNING, _BAD_NAME = 60, 70, 10


class ProcessState(NamedTuple):
    """What supervisord says of a process: STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED or FATAL."""

    name: str
    state: str
    pid: int
    uptime_s: int
    detail: str


class Supervisor:
    """The supervisord of one home; it is a process of its own and outlives the command that started it."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.port = remembered_port(home.path, "supervisor")

    def answers(self) -> bool:
        """Whether it runs and is ours (the password fits)."""
        try:
            self._call("getState")
        except Unavailable:
            return False
        return True

    def launch(self, services: Iterable[Service], environment: Mapping[str, str]) -> None:
        """Start it with these services, none of them running yet. Every child inherits `environment`."""
        user = pwd.getpwuid(os.geteuid()).pw_name
        text = config_text(self.home, services, self.port, secret(self.home.path, "supervisor"), user)
        write_private(self.home.supervisor_config, text)
        with (self.home.logs / "supervisord.out").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.home.supervisor_config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.home.path,
                env={**environment, MARK: str(self.home.path)},
                start_new_session=True,
            )
        wait_until(
            lambda: process.poll() is not None or self.answers(),
            15,
            f"supervisord (log: {self.home.log('supervisord')})",
        )
        if process.poll() is not None:
            raise Unavailable(f"supervisord did not start, see {self.home.logs / 'supervisord.out'}")

    def start(self, *names: str) -> None:
        """Start services without waiting for them to answer; those that run stay as they are."""
        for name in names:
            try:
                self._call("startProcess", name, False)
            except xmlrpc.client.Fault as fault:
                if fault.faultCode != _ALREADY_STARTED:
                    raise Unavailable(f"{name} did not start: {fault.faultString}") from None

    def start_given_up(self) -> list[str]:
        """Start again, once, what has used up its tries: a disk that was full has room again. Their names."""
        names = [process.name for process in self.processes() if process.state == "FATAL"]
        self.start(*names)
        return names

    def stop(self, *names: str) -> None:
        """Ask services to stop, all at once, without waiting."""
        for name in names:
            try:
                self._call("stopProcess", name, False)
            except xmlrpc.client.Fault as fault:
                if fault.faultCode not in (_NOT_RUNNING, _BAD_NAME):
                    raise Unavailable(f"{name} did not stop: {fault.faultString}") from None

    def shutdown(self) -> None:
        """End supervisord, and with it whatever still runs under it."""
        self._call("shutdown")

    def processes(self) -> list[ProcessState]:
        """The state of every service."""
        rows: list[dict[str, Any]] = self._call("getAllProcessInfo")
        return [
            ProcessState(
                name=row["name"],
                state=row["statename"],
                pid=row["pid"],
                uptime_s=max(0, row["now"] - row["start"]) if row["statename"] == "RUNNING" else 0,
                detail=row["spawnerr"] or row["description"],
            )
            for row in rows
        ]

    def _call(self, method: str, *arguments: Any) -> Any:
        password = secret(self.home.path, "supervisor")
        url = f"http://tcp:{password}@{LOOPBACK}:{self.port}/RPC2"
        proxy = xmlrpc.client.ServerProxy(url, transport=_BoundedTransport())
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise Unavailable(f"supervisord of {self.home.path} does not answer: {error}") from None
        finally:
            proxy("close")()


class _BoundedTransport(xmlrpc.client.Transport):
    """xmlrpc has no timeout of its own."""

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = super().make_connection(host)
        connection.timeout = RPC_TIMEOUT_S
        return connection
