"""The exchange's clock as followed from here."""

import pytest

from pipelines.clock import ExchangeClock


class Monotonic:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


@pytest.mark.parametrize("rate", [1.0, 60.0, 3600.0])
def test_it_runs_on_at_the_rate_of_the_samples(rate):
    wall = Monotonic()
    clock = ExchangeClock(wall)
    for second in range(5):
        wall.s = 100.0 + second
        clock.sample(1_000_000 + int(second * 1000 * rate))
    wall.s += 0.5
    assert clock.rate == pytest.approx(rate)
    assert clock.now_ms() == 1_000_000 + int(4.5 * 1000 * rate)


def test_it_never_goes_back():
    wall = Monotonic()
    clock = ExchangeClock(wall)
    clock.sample(10_000)
    wall.s += 1
    clock.sample(11_000)
    wall.s += 1
    assert clock.now_ms() == 12_000
    clock.sample(11_500)
    assert clock.now_ms() == 12_000


def test_one_late_answer_moves_the_rate_by_little():
    wall = Monotonic()
    clock = ExchangeClock(wall)
    for second in range(8):
        wall.s = 100.0 + second
        clock.sample(second * 60_000)
    wall.s = 108.0
    clock.sample(8 * 60_000 - 3_000)
    assert clock.rate == pytest.approx(60, rel=0.01)


def test_a_changed_speed_is_followed_at_the_second_sample():
    wall = Monotonic()
    clock = ExchangeClock(wall)
    for second in range(8):
        wall.s = 100.0 + second
        clock.sample(second * 1_000)
    wall.s = 108.0
    clock.sample(7_000 + 60_000)
    assert clock.rate == pytest.approx(60)


def test_a_trade_from_ahead_moves_it_up():
    wall = Monotonic()
    clock = ExchangeClock(wall)
    clock.sample(1_000)
    clock.observe(1_800)
    assert clock.now_ms() == 1_800
    clock.observe(1_200)
    assert clock.now_ms() == 1_800


def test_a_trade_from_more_than_a_day_ahead_does_not_move_it():
    clock = ExchangeClock(Monotonic())
    clock.sample(1_000)
    clock.observe(253_402_300_799_999)
    assert clock.now_ms() == 1_000
