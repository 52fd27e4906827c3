"""What `tcp status` and `tcp doctor` say of the connections to the exchange."""

from typing import Any

import pytest

from cli.stack.connections import connections_text, problem


def said(*states: str, offset_ms: int | None = 12) -> dict[str, Any]:
    """What the daemon's heartbeat says."""
    rows = [
        {
            "connection": f"trades {number}",
            "state": state,
            "latency_p50_ms": 31.4,
            "latency_p99_ms": None if state == "connecting" else 95.0,
            "trades": 1200,
            "lost_ids": 3,
            "reconnects": 1,
            "silences": 0,
            "unknown_frames": 2,
            "url": "wss://ws.okx.com:8443/ws/v5/public",
        }
        for number, state in enumerate(states, 1)
    ]
    clock = {"offset_ms": offset_ms, "uncertainty_ms": 9.5, "round_trip_ms": 19.0}
    return {
        "connections": rows,
        "clock": clock,
        "rest_url": "https://www.okx.com",
        "books": {"channel": "books", "state": "live", "resyncs": 4, "url": "wss://ws.okx.com:8443/ws/v5"},
    }


def test_status_shows_each_connection_clock_and_books():
    """A line each: latency, losses, cuts, unknown frames and the address in use."""
    text = connections_text(said("live", "connecting", offset_ms=-12))
    first = next(line for line in text.splitlines() if line.startswith("trades 1"))
    assert first.split() == [
        *("trades", "1", "live", "31", "ms", "95", "ms", "1200", "3", "1", "0", "2"),
        "wss://ws.okx.com:8443/ws/v5/public",
    ]
    assert "12 ms behind this machine's, ± 9.5 ms (round trip 19.0 ms)" in text
    assert "REST: https://www.okx.com" in text
    assert "order books: live, books, 4 resyncs" in text


def test_a_simulation_has_no_offset_to_show():
    """Where the exchange's clock runs at a rate of its own, nothing is said of it."""
    assert "clock" not in connections_text(said("live", offset_ms=None))


@pytest.mark.parametrize(
    ("states", "offset_ms", "expected"),
    [
        (("live", "live"), 12, True),
        (("live", "reconnecting"), 12, None),
        (("reconnecting", "silent"), 12, False),
        (("live",), 2_500, None),
        (("live",), 90_000_000, True),
    ],
)
def test_doctor_judges(states: tuple[str, ...], offset_ms: int, expected: bool | None):
    """None live is wrong; some not live, or a machine whose clock is off by seconds, is worth a note."""
    verdict, text = problem(said(*states, offset_ms=offset_ms))
    assert verdict is expected
    assert ("NTP" in text) == (offset_ms == 2_500)
