"""The half of `tcp doctor` that looks at a stack that runs, and at what it left on the disk."""

import os
import stat
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cli.stack.deserted import deserted
from cli.stack.findings import Finding
from cli.stack.home import Home
from cli.stack.plan import Plan
from cli.stack.servers import server_check
from core.errors import TcpError
from pipelines.warehouse.backups import OLD_BACKUP_S
from pipelines.warehouse.conditions import Conditions
from pipelines.warehouse.health import DAGSTER_SILENT_S, NOTIFY_SILENT_S

SILENT_S = 15


def disk_findings(plan: Plan) -> Iterator[Finding]:
    """What can be seen without any server."""
    yield _secrets(plan.home)
    yield _lake(plan.resolved.lake_url)
    yield _notifications(plan)
    yield _backups(plan.home)
    yield _spool(plan.home)
    yield _deserted()


def database_findings(plan: Plan) -> Iterator[Finding]:
    """What the database says; nothing where it does not answer."""
    from pipelines.warehouse.database import engine

    if not server_check(plan, "postgres")():
        return
    url = str(plan.resolved.database_url)
    schema = _schema(url)
    yield schema
    if not schema.ok:
        return
    try:
        yield from _states(engine(url), is_somebody_told=bool(_notifications(plan).ok))
    except SQLAlchemyError as error:
        yield Finding("database", False, str(error).split("\n")[0])


def _states(connections: Engine, is_somebody_told: bool) -> Iterator[Finding]:
    from pipelines.clock import SystemClock
    from pipelines.warehouse.backups import backup_age_s
    from pipelines.warehouse.conditions import conditions
    from pipelines.warehouse.inventory import heartbeat_age_s
    from pipelines.warehouse.quality import daemon_details
    from pipelines.warehouse.wal_archive import archive_state

    age = heartbeat_age_s(connections, "live")
    yield _daemon(age)
    if age is not None and age <= SILENT_S:
        said = daemon_details(connections, SystemClock().now_ms() - SILENT_S * 1000)
        yield _symbols(said.get("symbols") or {})
        yield _writing(said)
        yield _dagster(heartbeat_age_s(connections, "dagster"))
        if is_somebody_told:
            yield _notify(heartbeat_age_s(connections, "notify"))
    yield from _conditions(conditions(connections))
    yield _verified(backup_age_s(connections))
    if (archive := archive_state(connections)) is not None:
        yield Finding("WAL archive", archive.trouble is None, archive.trouble or "takes every segment")


def _conditions(now: Conditions) -> Iterator[Finding]:
    given_up = "; ".join(f"{name}: {why}" for name, why in now.bots_given_up.items())
    remedy = " (its page has the stack traces; `tcp bots start ID` tries again)"
    yield Finding("bots", not given_up, given_up + remedy if given_up else "none was given up")
    text = (
        f"{now.open_gaps} holes are being refilled: `tcp data status` shows them" if now.open_gaps else "none"
    )
    yield Finding("holes in trades", None if now.open_gaps else True, text)
    differing = f"{now.open_differences} not settled yet: the page Data explains each"
    yield Finding(
        "candles unlike the exchange's",
        None if now.open_differences else True,
        differing if now.open_differences else "none",
    )
    told = f"{now.errors}, the last one {now.last_error}" if now.errors else "none"
    yield Finding("errors of the last day", None if now.errors else True, told)
    off = ["all bots"] if now.kill_switch else now.switched_off
    yield Finding(
        "kill switch",
        None if off else True,
        f"on for {', '.join(off)}: `tcp kill-switch off` when the reason is gone" if off else "off",
    )


def _schema(url: str) -> Finding:
    from pipelines.warehouse.database import schema_versions

    try:
        current, wanted = schema_versions(url)
    except TcpError as error:
        return Finding("schema", False, str(error))
    if current == wanted:
        return Finding("schema", True, f"version {current}")
    state = "the database has none yet" if current is None else f"the database has {current}, not {wanted}"
    return Finding("schema", False, f"{state}: run `tcp db migrate`")


def _daemon(age: float | None) -> Finding:
    if age is None:
        return Finding("daemon", None, "has never run on this database: `tcp up`, or `tcp live`")
    if age > SILENT_S:
        ago = timedelta(seconds=round(age))
        return Finding("daemon", None, f"does not run, last heard {ago} ago: `tcp up`, or `tcp live`")
    return Finding("daemon", True, f"heard {age:.0f} s ago")


def _dagster(age: float | None) -> Finding:
    if age is None:
        return Finding("dagster", None, "has never run on this database: no backups, archives, models")
    if age > DAGSTER_SILENT_S:
        ago = timedelta(seconds=round(age))
        remedy = "`tcp health dagster`, its log, or `tcp dagster`"
        return Finding("dagster", False, f"last heard {ago} ago: no backups, archives, models: {remedy}")
    return Finding("dagster", True, f"heard {age:.0f} s ago")


def _notify(age: float | None) -> Finding:
    """Addresses alone tell nobody."""
    if age is None or age > NOTIFY_SILENT_S:
        last = "never was" if age is None else f"last heard {timedelta(seconds=round(age))} ago"
        remedy = "`tcp up` runs it, or enable tcp-notify.service, or `tcp notify`"
        return Finding(
            "notify", False, f"there are addresses, but no watcher, {last}: nobody is told: {remedy}"
        )
    return Finding("notify", True, f"heard {age:.0f} s ago")


def _verified(age: float | None) -> Finding:
    """Whatever the folder: what counts is that some backup was read back."""
    if age is None:
        return Finding(
            "verified backup", None, "none is known; they are asked for from the daemon's first start on"
        )
    ago = timedelta(seconds=round(age))
    if age > OLD_BACKUP_S:
        remedy = "`tcp db backup --verify`; Dagster makes one every night where it runs"
        return Finding("verified backup", False, f"none for {ago}: {remedy}")
    return Finding("verified backup", True, f"none is due, {ago} since the last or since the first start")


def _symbols(symbols: Mapping[str, Mapping[str, Any]]) -> Finding:
    bad = [
        f"{name}: {one.get('detail', one['state'])}"
        for name, one in symbols.items()
        if one["state"] != "live"
    ]
    return Finding("symbols", not bad, "; ".join(bad) or f"{len(symbols)} are collected")


def _writing(said: Mapping[str, Any]) -> Finding:
    away_s, waiting = said.get("postgres_away_s", 0), said.get("pending_trades", 0)
    if away_s:
        return Finding(
            "writing", False, f"PostgreSQL has taken nothing for {away_s:.0f} s; {waiting} trades wait"
        )
    return Finding("writing", True, f"the last batch took {said.get('last_commit_ms', 0):.0f} ms")


def _secrets(home: Home) -> Finding:
    folder = home.path / "secrets"
    found = [folder, *folder.rglob("*")] if folder.exists() else []
    known = stat.S_IRWXG | stat.S_IRWXO
    bad = [str(path) for path in found if path.is_file() and path.stat().st_mode & known]
    text = f"others may read {', '.join(bad)}: chmod 600" if bad else f"only their owner reads {folder}"
    return Finding("secrets", not bad, text)


def _lake(url: str) -> Finding:
    if "://" in url and not url.startswith("file://"):
        return Finding("lake", None, f"{url}, not asked")
    path = Path(url.removeprefix("file://"))
    try:
        while not path.exists():
            path = path.parent
    except OSError as error:
        return Finding("lake", False, f"{url} answers with an error, {error.strerror}: TCP_LAKE_URL")
    writable = os.access(path, os.W_OK)
    return Finding("lake", writable, url if writable else f"{path} cannot be written: TCP_LAKE_URL")


def _notifications(plan: Plan) -> Finding:
    from pipelines.notifications.channels import urls

    try:
        count = len(urls(plan.resolved))
    except TcpError as error:
        return Finding("notifications", False, str(error))
    nobody = "nobody is told what happens: TCP_NOTIFY_URLS, then `tcp notify --test`"
    return Finding("notifications", True if count else None, f"{count} addresses" if count else nobody)


def _backups(home: Home) -> Finding:
    files = sorted((home.path / "backups").glob("backup-*.dump"), key=lambda path: path.stat().st_mtime)
    if not files:
        return Finding("backups", None, "none yet: `tcp db backup --verify`; Dagster makes one every night")
    age = timedelta(seconds=round(time.time() - files[-1].stat().st_mtime))
    return Finding("backups", True, f"the newest is {age} old: {files[-1]}")


def _spool(home: Home) -> Finding:
    folder = home.path / "spool"
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []
    damaged = [path for path in files if "damaged" in path.parts and path.stat().st_size]
    if damaged:
        return Finding("spool", None, f"set aside as damaged or refused: {', '.join(map(str, damaged[:3]))}")
    size = sum(path.stat().st_size for path in files) / 1e6
    return Finding("spool", True, f"{size:.1f} MB wait in {folder}" if size >= 0.1 else "empty")


def _deserted() -> Finding:
    found = [str(folder) for folder in deserted()]
    remedy = "their TCP_HOME is gone, or was moved and not started since; remove what nobody needs"
    text = f"{len(found)}, such as {', '.join(found[:3])}: {remedy}" if found else "none"
    return Finding("databases without a home", None if found else True, text)
