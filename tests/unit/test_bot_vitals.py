"""What counts as hung, leaking or burning, look by look."""

from live.bots.vitals import Limits, Sign, Vitals

LIMITS = Limits(hung_s=30.0, memory_bytes=600_000_000, burn_s=30.0)


def _complaints(signs: list[Sign], reachable_since: float | None = -1000.0) -> list[str | None]:
    vitals = Vitals(LIMITS, born=-1000.0)
    return [vitals.complaint(sign, reachable_since) for sign in signs]


def _sign(
    at: float, silent_s: float | None = 1.0, memory: int = 1, processor_s: float = 0.0, judged: int = 0
):
    return Sign(at, silent_s, memory, processor_s, judged)


def test_silence_counts_when_heartbeats_could_be_written():
    """31 s without one is a hung bot, unless the database was away until less than 30 s ago."""
    assert _complaints([_sign(0, 29)]) == [None]
    assert _complaints([_sign(0, 31)]) == ["hung: no heartbeat for 30 s"]
    assert _complaints([_sign(0, 31)], reachable_since=None) == [None]
    assert _complaints([_sign(0, 31)], reachable_since=-29.0) == [None]


def test_a_bot_has_a_minute_for_its_first_heartbeat():
    """Starting takes longer than beating."""
    young = Vitals(LIMITS, born=0.0)
    assert young.complaint(_sign(59, None), -1000.0) is None
    assert young.complaint(_sign(61, None), -1000.0) == "hung: no heartbeat for 30 s"


def test_memory_past_the_limit_is_named():
    """Both sizes are said."""
    assert _complaints([_sign(0, memory=700_000_000)]) == ["used 700 MB of memory, more than 600 MB"]


def test_a_whole_core_for_long_is_too_much_and_a_tenth_of_one_is_not():
    """Beyond a tenth of a core the seconds add up to the limit; below it they never do."""
    busy = _complaints([_sign(at, processor_s=at) for at in range(0, 100, 2)])
    assert busy.index("burnt 31 s of processor time beyond 10 % of a core and its candles") == 17
    assert set(_complaints([_sign(at, processor_s=at * 0.1) for at in range(0, 1000, 2)])) == {None}


def test_a_bot_gives_way_before_it_is_ended():
    """At 10 s beyond what is free, while the limit of 30 is far."""
    vitals = Vitals(LIMITS, born=-1000.0)
    said = [(vitals.complaint(_sign(at, processor_s=at), -1000.0), vitals.is_busy) for at in range(0, 24, 2)]
    assert {complaint for complaint, _ in said} == {None}
    assert [busy for _, busy in said] == [False] * 6 + [True] * 6


def test_a_pause_makes_up_for_what_was_burnt():
    """A busy half minute a quarter of an hour is fine."""
    signs, used = [], 0.0
    for at in range(0, 3600, 2):
        used += 2.0 if at % 900 < 30 else 0.0
        signs.append(_sign(at, processor_s=used))
    assert set(_complaints(signs)) == {None}


def test_catching_up_is_work():
    """A quarter of a second for each judged candle is free."""
    signs = [_sign(at, processor_s=at, judged=40) for at in range(0, 300, 2)]
    assert set(_complaints(signs)) == {None}
