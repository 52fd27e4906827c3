"""The page System: which component is silent."""

from datetime import UTC, datetime, timedelta

import pytest

from dashboards.component_states import component_rows

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("details", "age_s", "word"),
    [
        ({}, 14, "Running"),
        ({}, 16, "Silent"),
        ({"every_s": 60}, 290, "Running"),
        ({"every_s": 60}, 301, "Silent"),
    ],
)
def test_a_component_is_silent_when_it_has_missed_five_of_its_beats(
    details: dict[str, int], age_s: int, word: str
) -> None:
    """A second apart they are a quarter of a minute that others are busy."""
    beat = {"component": "dagster", "timestamp": NOW - timedelta(seconds=age_s), "details": details}
    rows = component_rows([beat], round(NOW.timestamp() * 1000), None, None)
    assert [row[2] for row in rows if row[0] == "dagster"] == [word]
