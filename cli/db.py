"""`tcp db`: the database in force."""

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command()
def url() -> None:
    """Print the database URL in force, starting the embedded server if needed."""
    from cli.stack.ensure import ensure

    print(ensure(database=True).database_url)


@app.command()
def migrate(
    backup: bool = typer.Option(True, help="Write a backup to TCP_HOME/backups first, where there is data."),
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="Wait for the server of TCP_DATABASE_URL, however long or often it is away."
        ),
    ] = False,
) -> None:
    """Bring the schema to this version's. A newer schema is refused."""
    from cli.stack.ensure import ensure
    from cli.stack.upgrade import upgrade, upgrade_when_it_answers
    from config.settings import settings

    if wait and settings().database_url is not None:
        upgrade_when_it_answers(backup)
    else:
        upgrade(ensure(database=True, migrated=False), backup)
    print("the schema is up to date")


@app.command()
def backup(
    file: Annotated[
        Path | None,
        typer.Argument(help="File to write, not there yet; default: TCP_HOME/backups/backup-TIME.dump."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Restore it into a scratch server, and compare the rows.")
    ] = False,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Remove older backups of TCP_HOME/backups but for so many.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the whole database to FILE, in pg_dump's compressed format."""
    from cli.stack.backup import back_up, prune, usual_name
    from cli.stack.ensure import ensure
    from pipelines.warehouse.backups import note_backup
    from pipelines.warehouse.database import engine

    settings = ensure(database=True, must_exist=True)
    made = back_up(str(settings.database_url), file or usual_name(settings.home), settings.home, verify)
    if verify:
        note_backup(engine(str(settings.database_url)), str(made.file))
    removed = [] if keep is None else prune(settings.home / "backups", keep)
    if as_json:
        print(json.dumps({**made.document(), "removed": [str(path) for path in removed]}))
        return
    tried = "" if made.rows is None else f", restored and compared: {sum(made.rows.values()):,} rows"
    print(f"{made.file}: {made.bytes:,} bytes{tried}")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A file that `tcp db backup` wrote.")], as_json: AsJson = False
) -> None:
    """Restore FILE into a scratch server, and say what is in it. Changes nothing."""
    from cli.stack.backup import check_restorable
    from cli.stack.restore import check_dump
    from config.settings import settings

    check_dump(file)
    rows = check_restorable(file, settings().home, url=settings().database_url)
    if as_json:
        print(json.dumps({"file": str(file), "rows": sum(rows.values()), "tables": dict(rows)}))
    else:
        print(f"{file} can be restored: {sum(rows.values()):,} rows in {len(rows)} tables")


@app.command()
def restore(file: Path = typer.Argument(help="A file that `tcp db backup` wrote.")) -> None:
    """Replace the database's content by FILE's, all of it or nothing. Stop the stack first, on every host."""
    from cli.stack.ensure import ensure
    from cli.stack.restore import check_dump, load
    from pipelines.warehouse.lock import kept_from_running

    check_dump(file)
    # Not migrated: what is there is replaced, and may be of a newer program than this one.
    url = str(ensure(database=True, migrated=False).database_url)
    with kept_from_running(url):
        load(url, file)
    print(f"restored from {file}")


@app.command()
def base_backup(
    keep: Annotated[int, typer.Option(min=1, help="Base backups that stay, with the WAL since them.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Copy the embedded server's files to TCP_WAL_ARCHIVE: from there any later second can be recovered.

    Then the WAL that was archived since the older ones is read: what is missing or torn there is an error.
    """
    from cli.stack.archive import base_backup as copy_base
    from cli.stack.archive import prune
    from cli.stack.ensure import ensure
    from cli.stack.plan import make_plan
    from cli.stack.wal_check import check_wal
    from config.settings import settings

    plan = make_plan(settings())
    archive = plan.postgres.archive_in_use()
    ensure(database=True)
    made = copy_base(plan.postgres)
    removed = prune(plan.postgres, keep)
    segments = check_wal(plan.postgres)
    if as_json:
        names = [str(path) for path in removed]
        document = {"base": str(made), "archive": str(archive), "removed": names, "segments": segments}
        print(json.dumps(document))
    else:
        print(f"base backup: {made}; {segments} segments of WAL are whole")


@app.command()
def recover(
    to: Annotated[str, typer.Option(help="Last moment to keep, ISO 8601: 2026-11-20T09:59:59Z.")],
) -> None:
    """Take the embedded database back to a second, from a base backup and the archived WAL.

    Stop the stack first. The data as it is now stays beside it, under a name with the time.
    """
    from datetime import UTC, datetime

    from cli.stack.plan import make_plan
    from cli.stack.recovery import recover as recover_to
    from cli.stack.supervisor import Supervisor
    from cli.times import parse_time
    from config.settings import settings
    from core.errors import BadInput

    moment = datetime.fromtimestamp(parse_time(to, "--to") / 1000, UTC)
    plan = make_plan(settings())
    with plan.home.changing():
        if Supervisor(plan.home).answers():
            raise BadInput("TCP_HOME", f"the stack of {plan.home.path} runs: stop it first, `tcp down`")
        aside = recover_to(plan.postgres, moment, plan.home.log("recovery"))
    print(f"the database is as it was at {moment:%Y-%m-%dT%H:%M:%SZ}; as it was before: {aside}")
