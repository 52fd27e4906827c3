"""Whether PostgreSQL's archive of WAL goes on: where it does not, the server keeps everything until its disk
is full, and no later second can be recovered."""

import msgspec
from sqlalchemy import Engine, text

MOST_WAITING = 10
"""Finished segments that wait when something is wrong: one is made a minute, and more at work."""

# Asked only where WAL is archived, and not of a replica, which writes none.
_STATE = text("""
    SELECT failed_count AS failures, last_failed_wal AS failed, last_archived_wal AS archived,
           coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) AS failing,
           CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_lsn()) END AS writing,
           pg_size_bytes(current_setting('wal_segment_size')) AS segment_bytes
    FROM pg_stat_archiver WHERE current_setting('archive_mode') <> 'off'
""")


class Archive(msgspec.Struct, frozen=True):
    """failing: the last try was refused; waiting: finished segments that are not archived, 0 where nothing
    was archived so far; failures: since the server's statistics began; failed: the last such segment.
    """

    failing: bool
    waiting: int
    failures: int
    failed: str | None

    @property
    def trouble(self) -> str | None:
        """What is wrong and what helps, for people; None while all is well."""
        if not self.failing and self.waiting <= MOST_WAITING:
            return None
        what = f"cannot archive {self.failed}" if self.failing else f"{self.waiting} segments of WAL wait"
        return (
            f"{what}: PostgreSQL keeps all WAL until its disk is full, and no later second can be recovered."
            " See that TCP_WAL_ARCHIVE is there and has room; its log has the reason"
        )


def archive_state(engine: Engine) -> Archive | None:
    """The state now; None where the server archives nothing."""
    with engine.connect() as connection:
        row = connection.execute(_STATE).one_or_none()
    if row is None:
        return None
    waiting = 0
    if row.archived is not None and row.writing is not None and not row.archived.endswith(".history"):
        waiting = segment_number(row.writing, row.segment_bytes) - 1
        waiting -= segment_number(row.archived, row.segment_bytes)
    return Archive(row.failing, max(0, waiting), row.failures, row.failed)


def segment_number(name: str, segment_bytes: int) -> int:
    """The place of a segment in the WAL, by its name: timeline, and two halves of the number."""
    return int(name[8:16], 16) * (2**32 // segment_bytes) + int(name[16:24], 16)
