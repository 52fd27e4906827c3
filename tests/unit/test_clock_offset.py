"""The offset of another clock from its answers, and the exchange's clock that lives by it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.clock import ExchangeClock
from pipelines.clock_offset import OffsetWindow

delays = st.floats(0, 2, allow_nan=False)


@given(
    offset_ms=st.floats(-1e7, 1e7, allow_nan=False),
    ways=st.lists(st.tuples(delays, delays, delays), min_size=2, max_size=30),
)
def test_the_true_offset_is_always_within_the_uncertainty(
    offset_ms: float, ways: list[tuple[float, float, float]]
):
    """However long and uneven the ways there and back: the offset told is wrong by no more than it says."""
    window, at = OffsetWindow(), 1_000.0
    for pause, there, back in ways:
        asked = at + pause
        read = asked + there
        at = read + back
        window.add(int(read * 1000 + offset_ms + 1e7) - int(1e7), asked, at)
    estimate = window.estimate()
    assert estimate is not None
    assert abs(estimate.offset_ms - offset_ms) <= estimate.uncertainty_ms + 1e-3
    quickest = min(there + back for _, there, back in ways[-16:]) * 1000
    assert estimate.uncertainty_ms <= quickest / 2 + 0.5 + 1e-3
    assert estimate.round_trip_ms == pytest.approx(quickest, abs=1e-3)


@pytest.mark.parametrize("rate", [0.0, 5.0, 60.0])
def test_a_clock_of_another_speed_has_no_offset(rate: float):
    """Its answers contradict each other."""
    window = OffsetWindow()
    for second in range(5):
        window.add(1_000_000 + int(second * 1000 * rate), 100 + second, 100.01 + second)
    assert window.estimate() is None


def test_after_a_jump_the_newest_answers_count():
    """Once two agree there is an offset again, of the clock as it is now."""
    window = OffsetWindow()
    for second in range(5):
        window.add(second * 1000 + (90_000 if second > 2 else 0), second - 0.01, second + 0.01)
    estimate = window.estimate()
    assert estimate is not None
    assert (estimate.answers, round(estimate.offset_ms, -1)) == (2, 90_000)


def test_the_exchanges_clock_is_right_behind_a_slow_and_uneven_line():
    """Round trips of 150 to 900 ms, most of it on the way back: where the middle of each answer was up to
    300 ms wrong, the clock is within the uncertainty it tells, and its rate is exactly 1."""

    class Monotonic:
        s = 500.0

        def __call__(self) -> float:
            return self.s

    machine, chance = Monotonic(), random.Random(3)
    clock = ExchangeClock(machine)
    for answers in range(40):
        asked = machine.s
        machine.s += chance.uniform(0.05, 0.1)
        exchange_ms = int(machine.s * 1000) + 70_000
        machine.s += chance.uniform(0.1, 0.8)
        clock.answer(exchange_ms, asked, machine.s, slowest_s=0.1)
        machine.s += 1
        if answers > 5:
            assert abs(clock.now_ms() - (machine.s * 1000 + 70_000)) <= clock.uncertainty_ms + 1
            assert clock.uncertainty_ms < 150
            assert clock.rate == 1.0
