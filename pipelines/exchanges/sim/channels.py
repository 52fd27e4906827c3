"""The WebSocket's request language: login, subscribe, unsubscribe, ping, and the exchange's error codes."""

import time
from typing import Any

import msgspec

from pipelines.exchanges.sim.bars import BARS
from pipelines.exchanges.sim.connection import Connection, Subscription
from pipelines.exchanges.sim.feed import Feed
from pipelines.exchanges.sim.trading.channels import PRIVATE_CHANNELS, PrivateChannels

PUBLIC = frozenset({"trades", "tickers", "books5", "bbo-tbt", "books"})
WITHOUT_INSTRUMENT = frozenset({"instruments", "status"})
VIP_ONLY = frozenset({"books-l2-tbt", "books50-l2-tbt"})
BUSINESS = frozenset({"trades-all"}) | {f"candle{name}" for name in BARS}
MOST_CHANNEL_BYTES = 64 << 10


class Channels:
    """Answers the requests of connections and keeps the feed's list of subscribers."""

    def __init__(self, feed: Feed, private: PrivateChannels, enforce_limits: bool) -> None:
        self._feed = feed
        self._private = private
        self._enforce_limits = enforce_limits

    def handle(self, connection: Connection, text: str) -> None:
        """Act on one text frame of a client."""
        connection.last_active = time.monotonic()
        if text == "ping":
            connection.reply(b"pong")
            return
        try:
            request = msgspec.json.decode(text)
            op, args, ident = request["op"], request["args"], request.get("id")
            valid = isinstance(op, str) and isinstance(args, list) and bool(args)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            op, args, ident, valid = "", [], None, False
        named = valid and all(isinstance(arg, dict) and "channel" in arg for arg in args)
        valid_change = op in ("subscribe", "unsubscribe") and named
        valid_login = op == "login" and valid and isinstance(args[0], dict)
        if valid and op in self._private.operations:
            self._private.operate(connection, op, args, ident)
        elif not (valid_change or valid_login):
            _error(connection, ident, "60012", f"Invalid request: {text}")
        elif len(text) > MOST_CHANNEL_BYTES:
            _error(connection, ident, "60012", "Invalid request: more than 64 KB of channels")
        elif self._enforce_limits and not connection.requests.allows(""):
            _error(connection, ident, "60014", "Requests too frequent.")
        elif op == "login":
            self._private.login(connection, args[0])
        else:
            for arg in args:
                self._change(connection, op, arg, ident)

    def leave(self, connection: Connection) -> None:
        """Forget a connection that ended."""
        self._private.leave(connection)
        for subscription in connection.subscriptions:
            self._feed.remove(connection, subscription)
        connection.subscriptions.clear()

    def _change(self, connection: Connection, op: str, arg: dict[str, Any], ident: str | None) -> None:
        channel, inst_id = str(arg["channel"]), str(arg.get("instId", ""))
        refusal = self._refusal(connection, channel, inst_id)
        if refusal:
            _error(connection, ident, *refusal)
            return
        if channel in PRIVATE_CHANNELS:
            _send(connection, {"event": op, "arg": arg, "connId": connection.ident}, ident)
            self._private.change(connection, op, arg)
            return
        subscription = Subscription(channel, "" if channel in WITHOUT_INSTRUMENT else inst_id)
        _send(connection, {"event": op, "arg": arg, "connId": connection.ident}, ident)
        if op == "subscribe":
            connection.subscriptions.add(subscription)
            self._feed.add(connection, subscription)
        else:
            connection.subscriptions.discard(subscription)
            self._feed.remove(connection, subscription)

    def _refusal(self, connection: Connection, channel: str, inst_id: str) -> tuple[str, str] | None:
        access = connection.access
        if channel in VIP_ONLY:
            return "64003", f"Your trading fee tier doesn't meet the requirement to access {channel}."
        if PRIVATE_CHANNELS.get(channel) == access:
            return None if connection.api_key else ("60011", "Please log in.")
        known = PUBLIC | WITHOUT_INSTRUMENT if access == "public" else BUSINESS
        listed = channel in WITHOUT_INSTRUMENT or inst_id in self._feed.specs
        if channel in known and listed and access != "private":
            return None
        what = f"channel:{channel},instId:{inst_id}"
        return (
            "60018",
            f"Wrong URL or {what} doesn't exist. Please use the correct URL, channel and parameters "
            "referring to API document.",
        )


def _error(connection: Connection, ident: str | None, code: str, message: str) -> None:
    document = {"event": "error", "code": code, "msg": message, "connId": connection.ident}
    _send(connection, document, ident)


def _send(connection: Connection, document: dict[str, Any], ident: str | None) -> None:
    if ident is not None:
        document = {"id": ident, **document}
    connection.reply(msgspec.json.encode(document))
