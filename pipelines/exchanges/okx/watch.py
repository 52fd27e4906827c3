"""Is every subscription alive? A subscription can be acknowledged and yet stay silent for ever."""

from collections.abc import Iterable
from enum import Enum, auto

ACK_S = 10.0
FIRST_PATIENCE_S = 60.0
LONGEST_PATIENCE_S = 960.0
PROBE_S = 15.0


class _State(Enum):
    ASKED = auto()
    LIVE = auto()
    PROBED = auto()


class Patience:
    """How long each symbol may be silent: 60 s at first, doubled each time the watchdog acted in vain, back
    to 60 s when it trades again. Outlives connections, so that a dead market causes no reconnect storm.

    probe_s: how long the answer to a new subscription may take."""

    def __init__(
        self,
        first_s: float = FIRST_PATIENCE_S,
        longest_s: float = LONGEST_PATIENCE_S,
        probe_s: float = PROBE_S,
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self.probe_s = probe_s
        self._by_symbol: dict[str, float] = {}

    def seconds(self, symbol: str) -> float:
        """Silence allowed for that symbol."""
        return self._by_symbol.get(symbol, self._first_s)

    def extend(self, symbol: str) -> None:
        """The watchdog acted: wait longer the next time."""
        self._by_symbol[symbol] = min(self.seconds(symbol) * 2, self._longest_s)

    def reset(self, symbol: str) -> None:
        """The symbol trades."""
        self._by_symbol.pop(symbol, None)


class Watch:
    """The subscriptions of one connection. Times are monotonic seconds, handed in.

    asked ─ack→ live ─silent too long→ probed (subscribed again) ─push→ live; probed ─still silent→ reconnect;
    asked ─no ack→ reconnect. A new subscription is answered with the last trade, so silence after a probe is
    a fault and not a quiet market.
    """

    def __init__(self, symbols: Iterable[str], patience: Patience, now: float) -> None:
        self._patience = patience
        self._states = dict.fromkeys(symbols, _State.ASKED)
        self._since = dict.fromkeys(self._states, now)

    @property
    def symbols(self) -> frozenset[str]:
        """What is watched: every symbol that was not refused."""
        return frozenset(self._states)

    @property
    def complete(self) -> bool:
        """Every subscription that was not refused has been acknowledged at least once."""
        return all(state is not _State.ASKED for state in self._states.values())

    def acknowledged(self, symbol: str, now: float) -> None:
        """An acknowledgement came; a second one for the same symbol changes nothing."""
        if self._states.get(symbol) is _State.ASKED:
            self._states[symbol] = _State.LIVE
            self._since[symbol] = now

    def refused(self, symbol: str) -> None:
        """The exchange does not serve that symbol: nothing to watch."""
        self._states.pop(symbol, None)
        self._since.pop(symbol, None)

    def heard(self, symbol: str, now: float) -> None:
        """A push came."""
        since = self._since.get(symbol)
        if since is None:
            return
        if self._states[symbol] is _State.LIVE and now - since < FIRST_PATIENCE_S / 2:
            self._patience.reset(symbol)
        self._states[symbol] = _State.LIVE
        self._since[symbol] = now

    def probed(self, symbol: str, now: float) -> None:
        """It was subscribed again."""
        self._states[symbol] = _State.PROBED
        self._since[symbol] = now

    def silent(self, now: float) -> list[str]:
        """Symbols to subscribe again."""
        return [
            symbol
            for symbol, state in self._states.items()
            if state is _State.LIVE and now - self._since[symbol] > self._patience.seconds(symbol)
        ]

    def fault(self, now: float) -> str | None:
        """Why this connection has to be replaced, or None."""
        for symbol, state in self._states.items():
            waited = now - self._since[symbol]
            if state is _State.ASKED and waited > ACK_S:
                return f"{symbol}: subscription not acknowledged in {ACK_S:.0f} s"
            if state is _State.PROBED and waited > self._patience.probe_s:
                self._patience.extend(symbol)
                return f"{symbol}: silent, also after subscribing again"
        return None
