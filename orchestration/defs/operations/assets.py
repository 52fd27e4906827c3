"""Backups of the database."""

import dagster as dg
from pydantic import Field

from config.settings import settings
from orchestration.automation import FRESH_EVERY_NIGHT, FRESH_EVERY_WEEK
from orchestration.failures import OUTAGE_RETRIES, mistakes_fail_at_once
from orchestration.tcp_command import run_tcp


class BackupConfig(dg.Config):
    """How many backups stay."""

    keep: int = Field(7, ge=1, description="Newest backups that stay; those before migrations all stay")
    verify: bool = Field(True, description="Restore into a scratch server, and compare every table's rows")


class BaseBackupConfig(dg.Config):
    """How far back the database can be taken."""

    keep: int = Field(2, ge=1, description="Newest base backups that stay, with the WAL since them")


@dg.asset(
    group_name="operations",
    kinds={"postgres", "file"},
    freshness_policy=FRESH_EVERY_NIGHT,
    retry_policy=OUTAGE_RETRIES,
)
def database_backup(config: BackupConfig) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The whole database as a file of pg_dump in TCP_HOME/backups, tried on a scratch server."""
    options = ("--keep", str(config.keep), *(("--verify",) if config.verify else ()))
    with mistakes_fail_at_once():
        document = run_tcp("db", "backup", *options)
    return dg.MaterializeResult(
        metadata={
            "file": dg.MetadataValue.path(document["file"]),
            "bytes": document["bytes"],
            "sha256": document["sha256"],
            "verified": document["verified"],
            "removed": len(document["removed"]),
            **({"dagster/row_count": document["rows"]} if document["verified"] else {}),
        }
    )


@dg.asset(
    group_name="operations",
    kinds={"postgres", "file"},
    freshness_policy=FRESH_EVERY_WEEK if settings().wal_archive is not None else None,
    retry_policy=OUTAGE_RETRIES,
)
def base_backup(config: BaseBackupConfig) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The embedded server's files in TCP_WAL_ARCHIVE: any later second can be recovered from them."""
    with mistakes_fail_at_once():
        document = run_tcp("db", "base-backup", "--keep", str(config.keep))
    return dg.MaterializeResult(
        metadata={
            "base": dg.MetadataValue.path(document["base"]),
            "removed": len(document["removed"]),
        }
    )
