"""How often a client may be wrong about the token: a few times a minute, then it waits."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable

WRONG_ALLOWED = 5
WINDOW_S = 60.0
KEPT_CLIENTS = 1000


class Attempts:
    """Wrong tokens by client address, of the login page and of bearer headers together.

    While a client waits, the right token is refused too: a guesser must not learn which one it was. Others
    are not held up, nor is a browser that is logged in.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        """Clients that are remembered."""
        return len(self._wrong)

    def must_wait(self, client: str) -> bool:
        """Whether the client was wrong too often within the last minute."""
        times = self._wrong.get(client)
        return times is not None and len(times) == WRONG_ALLOWED and self._now() - times[0] < WINDOW_S

    def wrong(self, client: str) -> None:
        """Note a wrong token; of many clients the one that has been quiet for longest is forgotten."""
        times = self._wrong.setdefault(client, deque(maxlen=WRONG_ALLOWED))
        times.append(self._now())
        self._wrong.move_to_end(client)
        while len(self._wrong) > KEPT_CLIENTS:
            self._wrong.popitem(last=False)
