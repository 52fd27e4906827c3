"""Taking the embedded database back to a second: a base backup, and the WAL up to there."""

import shutil
import signal
from datetime import UTC, datetime
from pathlib import Path

from cli.stack import process
from cli.stack.archive import bases, first_segment
from cli.stack.archive_folder import PACKED, in_command, recovered_data
from cli.stack.postgres import PostgresServer, run_as
from cli.stack.wal_check import missing_segment
from core.errors import BadInput, Unavailable

REPLAY_S = 6 * 3600
"""Longest wait for the WAL to be replayed; it goes on at some hundred MB a second."""
_OWN_SETTINGS = "postgresql.auto.conf"


def recover(server: PostgresServer, moment: datetime, log: Path) -> Path:
    """Make the database what it was at `moment` (UTC); the server must not run.

    The copy is recovered beside the data, and takes its place only when it is complete; what was there stays
    under a name with the time, which is returned. Nothing has changed where this fails: BadInput for a time
    that no base backup or no WAL reaches, Unavailable when the server does not start.
    """
    base = _base_for(server, moment)
    copy = server.data.with_name(server.data.name + ".recovering")
    for left in (copy, recovered_data(server.data)):
        shutil.rmtree(left, ignore_errors=True)
    done = run_as(server.account, ["cp", "-a", str(base), str(copy)], cwd=server.data.parent)
    if done.returncode != 0:
        shutil.rmtree(copy, ignore_errors=True)
        raise Unavailable(f"the base backup cannot be copied: {done.stderr.strip()}")
    settings = (copy / _OWN_SETTINGS).read_text(encoding="utf-8")
    _write_settings(copy / _OWN_SETTINGS, settings + _recovery_settings(server, moment))
    done = run_as(server.account, ["touch", str(copy / "recovery.signal")], cwd=copy)
    _replay(server, copy, moment, log)
    _write_settings(copy / _OWN_SETTINGS, settings)
    return _exchange(server.data, copy)


def _base_for(server: PostgresServer, moment: datetime) -> Path:
    """The newest base backup finished before."""
    known = bases(server)
    if not known:
        raise BadInput("TCP_WAL_ARCHIVE", "has no base backup of this database: `tcp db base-backup`")
    if moment > datetime.now(UTC):
        raise BadInput("--to", f"{moment:%Y-%m-%dT%H:%M:%SZ} is in the future")
    fitting = [path for finished, path in known if finished <= moment]
    if not fitting:
        raise BadInput(
            "--to", f"the oldest base backup is of {known[0][0]:%Y-%m-%dT%H:%M:%S.%fZ}: use a later time"
        )
    return fitting[-1]


def _recovery_settings(server: PostgresServer, moment: datetime) -> str:
    """What PostgreSQL needs to know. The segments that were not archived yet lie in the data as it is now;
    an earlier version of this program archived them as they are."""
    places = (server.archive_in_use() / "wal", server.data / "pg_wal")
    packed = f"{in_command(places[0])}/%f{PACKED}"
    copies = " || ".join(f'cp {in_command(place)}/%f "%p"' for place in places)
    lines = {
        "restore_command": f'{{ test -f {packed} && gzip -dc {packed} > "%p"; }} || {copies}',
        "recovery_target_time": f"{moment:%Y-%m-%d %H:%M:%S.%f}+00",
        "recovery_target_action": "promote",
    }
    return (
        "".join("\n{} = '{}'".format(name, value.replace("'", "''")) for name, value in lines.items()) + "\n"
    )


def _write_settings(path: Path, text: str) -> None:
    """In place, so that the file stays its owner's."""
    with path.open("r+", encoding="utf-8") as file:
        file.truncate()
        file.write(text)


def _replay(server: PostgresServer, copy: Path, moment: datetime, log: Path) -> None:
    """Start the server on the copy, wait until it takes writes, and stop it."""
    from pipelines.warehouse.server import takes_writes

    since = first_segment(copy)  # the server renames the file that says it
    log.unlink(missing_ok=True)
    running = process.start(server.command(copy), log, server.account, with_parent=True, folder=server.folder)
    url = server.url("postgres")
    try:
        process.wait_until(
            lambda: running.poll() is not None or takes_writes(url), REPLAY_S, f"the recovery (log: {log})"
        )
        if running.poll() is not None:
            _explain(server, since, moment, log)
        process.stop(running, signal.SIGINT, 60)
    except BaseException:
        process.stop(running, signal.SIGINT)
        shutil.rmtree(copy, ignore_errors=True)
        raise


def _explain(server: PostgresServer, since: str, moment: datetime, log: Path) -> None:
    """Why the server ended. PostgreSQL takes any segment that it does not get as the end of the WAL."""
    text = log.read_text(encoding="utf-8", errors="replace")
    if "recovery ended before configured recovery target was reached" in text:
        unread = [line for line in text.splitlines() if line.startswith("gzip: ")]
        if unread:
            raise Unavailable(f"a segment of the WAL cannot be unpacked: {unread[-1]} (log: {log})")
        if (name := missing_segment(server.archive_in_use() / "wal", since)) is not None:
            raise BadInput("--to", f"segment {name} of the WAL is missing: use a time from before it")
        raise BadInput("--to", f"the WAL ends before {moment:%Y-%m-%dT%H:%M:%SZ}: use an earlier time")
    fatal = [line.partition("FATAL: ")[2].strip() for line in text.splitlines() if "FATAL: " in line]
    raise Unavailable(f"the recovery failed: {fatal[-1] if fatal else 'no reason given'} (log: {log})")


def _exchange(data: Path, copy: Path) -> Path:
    """Put the copy in the data's place; a kill between the renames is completed by the next start."""
    at = datetime.now(UTC)  # to the microsecond: two within a second have names of their own
    complete, aside = recovered_data(data), data.with_name(f"{data.name}.{at:%Y%m%dT%H%M%S.%fZ}")
    copy.rename(complete)
    data.rename(aside)
    complete.rename(data)
    return aside
