"""Looks on from outside: `python -m tests.bench.watcher DATABASE_URL REDIS_URL SYMBOL`.

When its standard input ends it prints how long trades of one symbol took from the time they carry to being
visible rows, and how long final candles of all symbols took from their boundary to being received from Redis.
"""

import json
import sys
import threading
import time
from datetime import UTC, datetime

import psycopg
import redis
from sqlalchemy.engine import make_url

POLL_S = 0.002
NEWER = """
    SELECT trade_id, extract(epoch FROM timestamp)::float8 FROM raw_trades
    WHERE exchange = 'okx' AND symbol = %s AND trade_id > %s ORDER BY trade_id
"""


class Watcher:
    """Two threads that write down what they see, in ms."""

    def __init__(self, database_url: str, redis_url: str, symbol: str) -> None:
        self.rows: list[float] = []
        self.finals: dict[float, list[float]] = {}
        self._database_url = make_url(database_url).set(drivername="postgresql")
        self._redis_url, self._symbol = redis_url, symbol
        self._stopping = threading.Event()

    def run(self) -> None:
        """Until the standard input ends."""
        threads = [threading.Thread(target=self._watch_rows), threading.Thread(target=self._watch_finals)]
        for thread in threads:
            thread.start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()
        self._stopping.set()
        for thread in threads:
            thread.join()

    def _watch_rows(self) -> None:
        last_id = 0
        url = self._database_url.render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:
            while not self._stopping.is_set():
                newer = connection.execute(NEWER, (self._symbol, last_id), prepare=True).fetchall()
                now = time.time()
                self.rows += [(now - at) * 1000 for _, at in newer]
                last_id = newer[-1][0] if newer else last_id
                time.sleep(POLL_S)

    def _watch_finals(self) -> None:
        with redis.Redis.from_url(self._redis_url) as client, client.pubsub() as channel:
            channel.psubscribe("market:*")
            while not self._stopping.is_set():
                message = channel.get_message(ignore_subscribe_messages=True, timeout=0.2)
                now = time.time()
                if message is None:
                    continue
                candle = json.loads(message["data"])
                boundary = datetime.fromisoformat(candle["timestamp"]).astimezone(UTC).timestamp()
                if candle["final"] and candle["revision"] == 0:
                    self.finals.setdefault(boundary, []).append((now - boundary) * 1000)


def main() -> None:
    """Watch, and print."""
    watcher = Watcher(*sys.argv[1:])
    watcher.run()
    sys.stdout.write(json.dumps({"rows": watcher.rows, "finals": list(watcher.finals.values())}) + "\n")


if __name__ == "__main__":
    main()
