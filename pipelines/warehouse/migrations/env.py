"""Run by alembic: migrate over the connection that `database.migrate` hands in."""

from alembic import context

from pipelines.warehouse.tables import metadata


def _run() -> None:
    context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()


_run()
