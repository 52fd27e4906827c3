"""What `tcp backfill trades --source bulk` says."""

from datetime import date

from cli.backfill import bulk_document, bulk_text
from pipelines.backfill.bulk import BulkReport

FIRST_MS = 1_763_164_800_000  # 2025-11-15


def days(*numbers: int) -> list[date]:
    return [date(2025, 11, number) for number in numbers]


REPORT = BulkReport(
    symbol="BTC-USDT",
    requested_start_ms=FIRST_MS,
    requested_end_ms=FIRST_MS + 10 * 86_400_000,
    end_ms=FIRST_MS + 9 * 86_400_000,
    rows=1_234_567,
    bytes=9_000_000,
    missing_ids=3,
    written=days(15, 16),
    already=days(17),
    pending=days(22, 23),
    missing=days(18, 19, 21),
    damaged=["quarantine/a.zip: not a whole zip"],
)


def test_people_read_days_as_stretches():
    """Counts, what is not there yet, what is missing and what is damaged, a line each."""
    assert bulk_text(REPORT).splitlines() == [
        "BTC-USDT trades of bulk files: days written 2, there before 1; 1,234,567 trades, 9,000,000 bytes",
        "3 trade ids are in no file",
        "not yet at the exchange: 2025-11-22 to 2025-11-23 (files come two days later)",
        "missing at the exchange: 2025-11-18 to 2025-11-19, 2025-11-21",
        "damaged: quarantine/a.zip: not a whole zip",
    ]


def test_programs_get_every_day():
    """One document, times ISO 8601, days as dates."""
    document = bulk_document(REPORT)
    assert (document["source"], document["to"]) == ("bulk", "2025-11-24T00:00:00Z")
    assert document["missing"] == ["2025-11-18", "2025-11-19", "2025-11-21"]
    assert (document["rows"], document["written"]) == (1_234_567, ["2025-11-15", "2025-11-16"])
