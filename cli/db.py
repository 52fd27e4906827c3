"""`tcp db`: the database in force."""

from pathlib import Path

import typer

app = typer.Typer(no_args_is_help=True)


@app.command()
def url() -> None:
    """Print the database URL in force, starting the embedded server if needed."""
    from cli.stack.ensure import ensure

    print(ensure(database=True).database_url)


@app.command()
def migrate() -> None:
    """Bring the schema to this version's."""
    from cli.stack.ensure import ensure

    ensure(database=True)
    print("the schema is up to date")


@app.command()
def backup(file: Path = typer.Argument(help="File to write; it must not exist yet.")) -> None:
    """Write the whole database to FILE, in pg_dump's compressed format."""
    from cli.stack.backup import dump
    from cli.stack.ensure import ensure

    settings = ensure(database=True)
    print(f"{file}: {dump(str(settings.database_url), file):,} bytes")


@app.command()
def restore(file: Path = typer.Argument(help="A file that `tcp db backup` wrote.")) -> None:
    """Replace the database's content by FILE's, all of it or nothing. Stop the stack first."""
    from cli.stack.backup import check_dump, load
    from cli.stack.ensure import ensure

    check_dump(file)
    settings = ensure(database=True)
    load(str(settings.database_url), file)
    print(f"restored from {file}")
