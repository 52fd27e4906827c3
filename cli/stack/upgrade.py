"""Bringing the schema to this version's, never without a backup of what is there."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from cli.stack.backup import dump
from cli.stack.plan import make_plan
from config.settings import Settings, settings
from core.errors import BadInput, Unavailable
from pipelines.warehouse.database import has_rows, migrate, schema_versions
from pipelines.warehouse.server import answers

WAIT_S, SAY_S = 2.0, 60.0
INCURABLE = ("password authentication failed", "does not exist", "no pg_hba.conf entry")
"""What a server says of an address that no waiting makes right: errors of connections carry no SQLSTATE."""


class NoBackup(Unavailable):
    """Nothing was migrated, since it could not be saved first."""


def upgrade(settings: Settings, backup: bool = True) -> Path | None:
    """Migrate the database in force; returns the backup that was written first, or None.

    One is written where the schema is an older one and any table has rows; without it nothing is migrated.
    BadInput when the schema is a newer version's; Unavailable when the server does not answer, or no backup
    can be made.
    """
    url = str(settings.database_url)
    current, wanted = schema_versions(url)
    if current == wanted:
        return None
    file = None
    if backup and current is not None and has_rows(url):
        file = _before(settings.home, current, wanted)
        print(f"backup before the migration from {current} to {wanted}: {file}", file=sys.stderr)
        _write(url, file)
    migrate(url)
    return file


def upgrade_when_it_answers(backup: bool = True) -> Path | None:
    """`upgrade` of the database given by URL, begun anew for as long as its server is away, and whenever it
    goes away meanwhile; why is said on stderr once a minute. Unavailable for what no waiting cures."""
    resolved, said_s = make_plan(settings()).resolved, float("-inf")
    while True:
        try:
            return upgrade(resolved, backup)
        except Unavailable as error:
            if any(words in str(error) for words in INCURABLE):
                raise
            if isinstance(error, NoBackup) and answers(str(resolved.database_url)):
                raise
            if time.monotonic() - said_s >= SAY_S:
                print(f"waiting: {error}", file=sys.stderr, flush=True)
                said_s = time.monotonic()
            time.sleep(WAIT_S)


def _before(home: Path, current: str, wanted: str) -> Path:
    """A name that no other process takes."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return home / "backups" / f"before-{current}-to-{wanted}-{now}.dump"


def _write(url: str, file: Path) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        dump(url, file)
    except (OSError, BadInput, Unavailable) as error:
        raise NoBackup(
            f"no backup, so nothing was migrated: {error}; make one yourself and use "
            "`tcp db migrate --no-backup`"
        ) from None
