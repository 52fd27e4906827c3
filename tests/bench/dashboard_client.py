"""A browser without the pixels: opens the live page as one does, keeps its websocket, counts what comes."""

import asyncio
import json
import time
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.bench.lateness import Painted


def _asked(request: urllib.request.Request | str) -> Any:
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def _find(tree: Any, name: str) -> dict[str, Any] | None:
    """The component with that id, in a layout as JSON."""
    if isinstance(tree, list):
        return next((found for part in tree if (found := _find(part, name))), None)
    if not isinstance(tree, dict):
        return None
    if tree.get("props", {}).get("id") == name:
        return tree
    return _find(tree.get("props", {}).get("children"), name)


@dataclass
class Client:
    """One open live page at `url` that shows the bot. bytes_in: of its websocket, since it was opened; came:
    candles of the bot as they arrive, if it trades the symbol."""

    url: str
    bot: str
    bytes_in: int = 0
    messages: int = 0
    prices: int = 0
    symbol: str = ""
    came: list[Painted] = field(default_factory=list)
    _session: str = field(default="", init=False)
    _push: str = field(default="", init=False)

    def put(self, path: str, document: Any) -> Any:
        """Send a document to the API."""
        data, kind = json.dumps(document).encode(), {"Content-Type": "application/json"}
        return _asked(urllib.request.Request(self.url + path, data, kind, method="PUT"))

    async def live(self) -> None:
        """Open the page and listen until cancelled."""
        await asyncio.to_thread(self._open)
        address = self.url.replace("http", "ws") + "/_dash-ws-callback"
        async with connect(address, origin=self.url, max_size=None) as socket:  # type: ignore[arg-type]
            await socket.send(json.dumps(self._asking()))
            try:
                async for text in socket:
                    await self._take(socket, str(text))
            except ConnectionClosed:
                return

    def _open(self) -> None:
        """What a browser asks for before it can draw: layout, callbacks, the page, its chart."""
        layout = _asked(f"{self.url}/_dash-layout")
        session = _find(layout, "session")
        assert session is not None
        self._session = session["props"]["data"]
        callbacks = _asked(f"{self.url}/_dash-dependencies")
        self._push = next(each["output"] for each in callbacks if each.get("persistent"))
        chart = next(each for each in callbacks if "price-chart.figure" in each["output"])
        given = {"url.search": f"?bot={self.bot}", "session.data": self._session, "scheme.data": "dark"}
        body = {
            "output": chart["output"],
            "outputs": [
                dict(zip(("id", "property"), part.rsplit(".", 1), strict=True))
                for part in chart["output"].strip(".").split("...")
            ],
            "inputs": [_value(part, given) for part in chart["inputs"]],
            "state": [_value(part, given) for part in chart["state"]],
            "changedPropIds": ["url.search"],
        }
        data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        _asked(urllib.request.Request(f"{self.url}/_dash-update-component", data, kind))

    def _asking(self) -> dict[str, Any]:
        payload = {"output": self._push, "outputs": [], "inputs": [], "state": [], "changedPropIds": []}
        names = {"rendererId": self._session, "requestId": "1"}
        return {"type": "callback_request", **names, "payload": payload}

    def _note(self, push: dict[str, Any]) -> None:
        """When which newest candle came, if the page shows that market."""
        if push["symbol"] == self.symbol and push.get("candles"):
            candle = push["candles"][-1]
            self.came.append(Painted(time.time() * 1000, candle["t"], candle["v"], str(candle["c"])))

    async def _take(self, socket: Any, text: str) -> None:
        self.bytes_in += len(text)
        found = json.loads(text)
        for message in found if isinstance(found, list) else [found]:
            self.messages += 1
            if message["type"] == "get_props_request":
                said = {"type": "get_props_response", "requestId": message["requestId"]}
                await socket.send(json.dumps({**said, "payload": {"data": self._session}}))
            elif message["type"] == "set_props" and message["payload"]["componentId"] == "live-chart":
                self.prices += 1
                self._note(message["payload"]["props"]["data"])


def _value(part: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    value = given.get(f"{part['id']}.{part['property']}")
    return {"id": part["id"], "property": part["property"], "value": value}
