"""Where Dagster keeps its own state: a database beside the data, on the same server."""

from sqlalchemy.engine import make_url


def storage_url(database_url: str, database: str = "dagster") -> str:
    """TCP_DAGSTER_PG_URL for a `postgresql+psycopg://…` URL: the same server and account, another database.

    The driver is psycopg2, which is what dagster-postgres speaks.
    """
    url = make_url(database_url).set(drivername="postgresql+psycopg2", database=database)
    return url.render_as_string(hide_password=False)
