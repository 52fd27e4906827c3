"""The simulated exchange's frames carry what recorded frames of the real one carry."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pipelines.exchanges.sim.instruments import instrument
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import serve
from pipelines.exchanges.sim.specs import MODEL_SPECS

CHANNELS = {
    "public": ("trades", "tickers", "books5", "bbo-tbt", "books"),
    "business": ("candle1m",),
}


def shape(push: dict[str, Any]) -> set[str] | int:
    """The names of a push's row, or the length of one that is a list."""
    row = push["data"][0]
    return set(row) if isinstance(row, dict) else len(row)


def recorded_pushes(folder: Path) -> Iterator[dict[str, Any]]:
    for path in (*sorted(folder.glob("*.jsonl.gz")), folder / "wsAllTrades.json"):
        text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
        for line in text.splitlines():
            entry = json.loads(line)
            raw = entry.get("raw") if "raw" in entry else line
            if entry.get("dir", "in") == "in" and raw.startswith("{"):
                push = json.loads(raw)
                if push.get("data") and "arg" in push:
                    yield push


async def simulated_pushes() -> dict[str, dict[str, Any]]:
    """The first push of each channel."""
    running = await serve(SimOptions(speed=60))
    found: dict[str, dict[str, Any]] = {}
    async with aiohttp.ClientSession() as session:
        for access, channels in CHANNELS.items():
            async with session.ws_connect(f"{running.ws_url}/{access}") as socket:
                args = [{"channel": channel, "instId": "BTC-USDT"} for channel in channels]
                await socket.send_json({"op": "subscribe", "args": args})
                while not set(channels) <= found.keys():
                    message = await socket.receive_json(timeout=10)
                    if "data" in message:
                        found.setdefault(message["arg"]["channel"], message)
    await running.close()
    return found


@pytest.mark.real_data
async def test_every_field_of_recorded_pushes_is_in_ours(shared_data: Path):
    """Real sessions of 2021 to 2025: no field of theirs is missing, and candle rows are as long."""
    ours = await simulated_pushes()
    compared: dict[str, int] = dict.fromkeys(ours, 0)
    for push in recorded_pushes(shared_data / "okx_ws"):
        channel = push["arg"]["channel"]
        if channel not in ours:
            continue
        theirs, mine = shape(push), shape(ours[channel])
        if isinstance(theirs, set) and isinstance(mine, set):
            assert theirs <= mine
        else:
            assert theirs in (7, 9) and mine == 9  # rows had 7 columns before 2022
        assert set(push) <= set(ours[channel])
        compared[channel] += 1
    assert all(compared[channel] for channel in ("trades", "tickers", "books", "candle1m"))


@pytest.mark.real_data
def test_every_field_of_a_recorded_instrument_is_in_ours(shared_data: Path):
    """OKX's answer of 2022 for BTC-USDT: the same fields, ticks, lots and smallest size."""
    path = shared_data / "okx_rest" / "2022-05-13_public_instruments_instType_SPOT.json.gz"
    rows = {row["instId"]: row for row in json.loads(gzip.decompress(path.read_bytes()))["body"]["data"]}
    for spec in MODEL_SPECS[:2]:
        ours, theirs = instrument(spec, 0, 1), rows[spec.symbol]
        assert theirs.keys() <= ours.keys()
        steps = ("tickSz", "lotSz", "minSz") if spec.symbol == "BTC-USDT" else ("tickSz",)
        assert all(ours[name] == theirs[name] for name in steps)
