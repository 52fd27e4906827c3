"""Reads of large tables: what the server did for each, on tables made as large as a test can afford."""

import pytest
from sqlalchemy import text

from pipelines.warehouse.database import engine
from tests.big_tables import fill
from tests.plans import explained
from tests.warehouse_reads import LARGE_TABLES, reads

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]

ROWS = 100_000


def test_no_read_of_the_product_goes_through_a_large_table(database_url):
    own = engine(database_url)
    fill(own, ROWS)
    wrong = []
    for name, read in reads().items():
        with explained(own) as plans:
            read(own)
        assert plans, f"{name} sent no statement"
        wrong += [
            f"{name}: {plan.scans} in {plan.statement}"
            for plan in plans
            if any(table.startswith(LARGE_TABLES) for table in plan.scans)
        ]
    assert not wrong, "\n".join(wrong)


def test_a_read_without_an_index_is_seen(database_url):
    """The test above can fail."""
    own = engine(database_url)
    fill(own, 5_000)
    with explained(own) as plans, own.connect() as connection:
        connection.execute(text("SELECT count(*) FROM market_data WHERE volume = 3"))
    assert plans[0].scans == ["market_data"]
