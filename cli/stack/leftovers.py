"""Processes of a stack whose supervisor is gone: found by the mark in their environment, and ended."""

import os
import signal
from collections.abc import Iterable
from pathlib import Path

import psutil

from cli.stack.home import MARK, Home
from cli.stack.postgres import PostgresServer

FRIENDLY_S = 8
FORCED_S = 5


def marked(home: Home) -> list[psutil.Process]:
    """Every living process that inherited the mark of this home, this one and its ancestors excepted."""
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [
        process for process in psutil.process_iter() if process.pid not in mine and _has_mark(process, home)
    ]


def orphaned_postgres(data: Path) -> list[psutil.Process]:
    """The server that owns this data folder, if any: PostgreSQL overwrites its environment with its title."""
    try:
        pid = int((data / "postmaster.pid").read_text(encoding="ascii").split("\n", 1)[0])
        process = psutil.Process(pid)
        return [process] if process.name() == "postgres" and Path(process.cwd()) == data.resolve() else []
    except (OSError, ValueError, psutil.Error):
        return []


def end_leftovers(home: Home) -> int:
    """End all of them, friendly first, databases last; returns how many there were."""
    others = marked(home)
    servers = orphaned_postgres(PostgresServer(home.path).data)
    held = {process.pid for process in servers}
    others = [process for process in others if process.pid not in held]
    _end(others, signal.SIGTERM)
    _end(servers, signal.SIGINT)  # fast shutdown: sessions are ended, nothing is lost
    return len(others) + len(servers)


def _end(processes: Iterable[psutil.Process], friendly: signal.Signals) -> None:
    alive = list(processes)
    _signal(alive, friendly)
    _, alive = psutil.wait_procs(alive, timeout=FRIENDLY_S)
    _signal(alive, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=FORCED_S)


def _signal(processes: Iterable[psutil.Process], how: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(how)
        except psutil.NoSuchProcess:
            continue


def _has_mark(process: psutil.Process, home: Home) -> bool:
    try:
        alive: bool = process.status() != psutil.STATUS_ZOMBIE
        return alive and process.environ().get(MARK) == str(home.path)
    except (psutil.Error, OSError):
        return False
