"""Budgets and back-off on a clock of their own."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.exchanges.okx.backoff import Backoff
from pipelines.exchanges.okx.limits import REST_LIMITS, Budget, rest_budgets


class Monotonic:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(
    limit=st.integers(1, 8),
    pauses=st.lists(st.floats(0, 3, allow_nan=False), min_size=1, max_size=60),
)
def test_no_window_holds_more_than_the_limit(limit: int, pauses: list[float]):
    """Wherever a window of 2 s begins, at most `limit` uses fall into it, whatever the callers' pauses."""
    clock = Monotonic()
    budget = Budget(limit, 2.0, clock)
    uses = []
    for pause in pauses:
        clock.now += pause
        uses.append(clock.now + budget.reserve())
    for start in uses:
        assert sum(1 for at in uses if start <= at < start + 2.0 - 1e-9) <= limit


def test_a_free_budget_does_not_wait():
    """The first `limit` uses are at once; the next waits for the first to leave the window."""
    clock = Monotonic()
    budget = Budget(3, 2.0, clock)
    assert [budget.reserve() for _ in range(3)] == [0, 0, 0]
    assert budget.available() == 0
    clock.now += 0.5
    assert budget.reserve() == pytest.approx(1.5)


def test_uses_leave_the_window():
    """After the window has passed everything is available again."""
    clock = Monotonic()
    budget = Budget(3, 2.0, clock)
    for _ in range(3):
        budget.reserve()
    clock.now += 2.0
    assert budget.available() == 3


def test_a_host_has_one_set_of_budgets():
    """Two adapters of the same host in one process count together, of different hosts apart."""
    assert rest_budgets("http://a.example") is rest_budgets("http://a.example")
    assert rest_budgets("http://a.example") is not rest_budgets("http://b.example")
    assert set(rest_budgets("http://a.example")) == set(REST_LIMITS)


def test_delays_double_to_a_minute():
    """Without jitter: 1, 2, 4 … 60, 60; after a success 1 again."""
    backoff = Backoff(uniform=lambda: 1.0)
    assert [backoff.next_delay_s() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff.failures == 8
    backoff.reset()
    assert backoff.next_delay_s() == 1


def test_jitter_takes_off_up_to_half():
    """Each delay is between half of it and the whole."""
    backoff = Backoff(uniform=random.Random(1).random)
    for whole in (1, 2, 4, 8, 16, 32, 60, 60):
        assert whole / 2 <= backoff.next_delay_s() <= whole


def test_thousands_of_failures_are_survived():
    """An outage of days does not overflow."""
    backoff = Backoff(uniform=lambda: 1.0)
    assert {backoff.next_delay_s() for _ in range(5_000)} == {1, 2, 4, 8, 16, 32, 60}
