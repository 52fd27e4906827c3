"""The watchdog of subscriptions, in seconds that pass when told."""

from pipelines.exchanges.okx.watch import ACK_S, FIRST_PATIENCE_S, PROBE_S, Patience, Watch

SYMBOLS = ("BTC-USDT", "ETH-USDT")


def acknowledged(patience: Patience | None = None) -> Watch:
    watch = Watch(SYMBOLS, patience or Patience(), 0.0)
    for symbol in SYMBOLS:
        watch.acknowledged(symbol, 0.0)
    return watch


def test_complete_once_every_subscription_is_acknowledged():
    """One of two acks is not enough; a repeated ack counts once."""
    watch = Watch(SYMBOLS, Patience(), 0.0)
    watch.acknowledged("BTC-USDT", 0.1)
    watch.acknowledged("BTC-USDT", 0.2)
    assert not watch.complete
    watch.acknowledged("ETH-USDT", 0.3)
    assert watch.complete


def test_a_missing_acknowledgement_is_a_fault():
    """A subscription that nobody answers is named."""
    watch = Watch(SYMBOLS, Patience(), 0.0)
    watch.acknowledged("BTC-USDT", 0.1)
    assert watch.fault(ACK_S) is None
    assert "ETH-USDT" in str(watch.fault(ACK_S + 0.1))


def test_a_refused_symbol_is_not_waited_for():
    """What the exchange does not serve neither blocks nor alarms."""
    watch = Watch(SYMBOLS, Patience(), 0.0)
    watch.acknowledged("BTC-USDT", 0.1)
    watch.refused("ETH-USDT")
    assert watch.complete
    assert watch.fault(ACK_S * 2) is None
    watch.heard("ETH-USDT", 1.0)


def test_acknowledged_but_silent_is_probed_and_then_a_fault():
    """Silence beyond the patience asks for a new subscription; silence after that for a new connection."""
    watch = acknowledged()
    watch.heard("BTC-USDT", FIRST_PATIENCE_S)
    now = FIRST_PATIENCE_S + 1
    assert watch.silent(now) == ["ETH-USDT"]
    watch.probed("ETH-USDT", now)
    assert watch.silent(now + 1) == []
    assert watch.fault(now + PROBE_S) is None
    assert "ETH-USDT" in str(watch.fault(now + PROBE_S + 1))


def test_an_answered_probe_is_no_fault():
    """The last trade that follows a new subscription proves it alive."""
    watch = acknowledged()
    watch.probed("ETH-USDT", 61.0)
    watch.heard("ETH-USDT", 61.2)
    assert watch.fault(61.2 + PROBE_S + 1) is None


def test_a_quiet_market_is_given_more_and_more_time():
    """Each probe in vain doubles the patience, up to 16 minutes, until it trades again."""
    patience = Patience()
    for expected in (60, 120, 240, 480, 960, 960):
        assert patience.seconds("ETH-USDT") == expected
        patience.extend("ETH-USDT")
    watch = acknowledged(patience)
    watch.heard("ETH-USDT", 10.0)
    assert patience.seconds("ETH-USDT") == 60
    assert patience.seconds("BTC-USDT") == 60


def test_the_answer_to_a_probe_does_not_count_as_trading():
    """A market whose only message is the answer to the probe stays a quiet one."""
    patience = Patience()
    patience.extend("ETH-USDT")
    watch = acknowledged(patience)
    watch.probed("ETH-USDT", 121.0)
    watch.heard("ETH-USDT", 121.1)
    assert patience.seconds("ETH-USDT") == 120
