"""A backup back into a database, all of it or nothing: in place, or, where it holds hypertables, into a new
database that then takes the old one's place."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sqlalchemy.engine import make_url

from cli.stack import clients
from core.errors import BadInput, Unavailable

MAGIC = b"PGDMP"
TRANSACTION_TIMEOUT = b"SET transaction_timeout = 0;\n"
"""What the tools of 18 say first, and servers before 17 do not know."""
EMPTIED = b"""
DO $$ DECLARE relation record; BEGIN
  FOR relation IN
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name,
           CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END AS kind
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition
      AND n.nspname !~ '^(pg_|_timescaledb|timescaledb|information_schema$)'
      AND NOT EXISTS (SELECT 1 FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid
                      AND deptype = 'e')
  LOOP
    EXECUTE format('DROP %s IF EXISTS %s CASCADE', relation.kind, relation.name);
  END LOOP;
END $$;
"""
"""pg_restore removes only what the backup has: a table of a newer version would stay in the way, and refers
to those that are replaced."""
HEADER_BYTES = 4096
"""Within so many it is said."""


def check_dump(file: Path) -> None:
    """BadInput when this is no backup."""
    try:
        with file.open("rb") as stream:
            start = stream.read(len(MAGIC))
    except OSError as error:
        raise BadInput(str(file), error.strerror or "cannot be read") from None
    if start != MAGIC:
        raise BadInput(str(file), "is not a backup made by `tcp db backup`")


def load(url: str, file: Path) -> None:
    """Replace the database's content by the file's."""
    from pipelines.warehouse.server import take_place

    if holds_hypertables(file):
        with loaded_beside(url, file) as made:
            take_place(url, made)
    else:
        _load_through_psql(url, file)


def holds_hypertables(file: Path) -> bool:
    """Whether the backup is of a database with TimescaleDB."""
    line = clients.command("pg_restore", "--list", str(file))
    listed = subprocess.run(line, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        raise Unavailable(f"pg_restore: {clients.first_line(listed.stderr, listed.returncode)}")
    return " EXTENSION - timescaledb" in listed.stdout


@contextmanager
def loaded_beside(url: str, file: Path) -> Iterator[str]:
    """Name of a new database of the same server that holds the backup; removed at the end, unless it has got
    another name by then. The user must be allowed to create databases and the extension."""
    from pipelines.warehouse.server import hypertables_restored, new_database

    with new_database(url, f"{make_url(url).database}_restored") as name:
        beside = make_url(url).set(database=name).render_as_string(hide_password=False)
        with hypertables_restored(beside):
            clients.run("pg_restore", beside, "--no-owner", "--exit-on-error", str(file))
        yield name


def _load_through_psql(url: str, file: Path) -> None:
    """In one transaction, in which the database is emptied first; what older servers do not know is left out
    of what pg_restore would send."""
    script = clients.command("pg_restore", "--clean", "--if-exists", "--no-owner", "--file=-", str(file))
    options = ["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]
    with (
        tempfile.TemporaryFile() as errors,
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(script, stdout=subprocess.PIPE, stderr=complaints) as reading,
        subprocess.Popen(
            clients.command("psql", clients.database_option(url), *options),
            stdin=subprocess.PIPE,
            stderr=errors,
            env=clients.environment(url),
        ) as writing,
    ):
        assert reading.stdout is not None and writing.stdin is not None
        try:
            _send(reading.stdout, writing.stdin)
            # Without it nothing happened: a backup that ends too early is none.
            if reading.wait() == 0:
                writing.stdin.write(b"COMMIT;\n")
            writing.stdin.close()
        except BrokenPipeError:
            reading.kill()
        failed = writing.wait()
        _complain("psql", failed, errors)
        _complain("pg_restore", reading.wait(), complaints)


def _send(source: IO[bytes], target: IO[bytes]) -> None:
    header = b"BEGIN;\n" + EMPTIED + source.read(HEADER_BYTES)
    target.write(header.replace(TRANSACTION_TIMEOUT, b"", 1))
    shutil.copyfileobj(source, target, 1 << 20)


def _complain(program: str, code: int, errors: IO[bytes]) -> None:
    if code != 0:
        errors.seek(0)
        raise Unavailable(f"{program}: {clients.first_line(errors.read().decode(errors='replace'), code)}")
