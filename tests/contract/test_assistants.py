"""What assistants read over MCP from a dashboard that allows it."""

import pytest

from tests.dashboard_seed import seed
from tests.dashboard_server import running, until

pytestmark = pytest.mark.servers
NOW_MS = 1_790_000_000_000
MCP = "/_dash-mcp"


def _call(client, method, **params):
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return client.post(MCP, message).json


def test_assistants_read_rows_and_nothing_else_where_it_is_allowed(
    database_url, redis_url, unused_port, tmp_path
):
    """Described tools that read bots, candles and runs; no callback of a page; mistakes are told."""
    with running(database_url, redis_url, unused_port, tmp_path, dashboard_mcp=True) as client:
        seed(client.database, NOW_MS, minutes=30)
        until(lambda: client.get("/metrics").text.count("tcp_bot_value{") == 5, 20, "the bots")
        assert "result" in _call(client, "initialize")
        tools = {tool["name"]: tool for tool in _call(client, "tools/list")["result"]["tools"]}
        assert {"list_bots", "candles", "backtests", "data_gaps"} <= tools.keys()
        assert not any("update" in name or "layout" in name for name in tools)
        assert "balance" in tools["list_bots"]["description"]
        assert tools["candles"]["inputSchema"]["required"] == ["symbol"]
        assert _call(client, "resources/list")["result"]["resources"] == []

        bots = _call(client, "tools/call", name="list_bots", arguments={})["result"]
        assert [bot["bot_id"] for bot in bots["structuredContent"]["result"]] == [
            f"bot_00{n}" for n in range(1, 6)
        ]
        asked = {"symbol": "BTC-USDT", "timeframe": "1m", "limit": 3}
        candles = _call(client, "tools/call", name="candles", arguments=asked)["result"]
        assert len(candles["structuredContent"]["result"]) == 3
        wrong = _call(client, "tools/call", name="bot_trades", arguments={"bot_id": "nobody"})["result"]
        assert wrong["isError"]
        assert "no bot 'nobody'" in wrong["content"][0]["text"]
        foreign = client.request("POST", MCP, {"method": "initialize"}, {"origin": "http://elsewhere"})
        assert foreign.status == 403


def test_without_the_setting_there_is_nothing_to_call(database_url, redis_url, unused_port, tmp_path):
    """Off by default."""
    with running(database_url, redis_url, unused_port, tmp_path) as client:
        assert client.post(MCP, {"jsonrpc": "2.0", "id": 1, "method": "initialize"}).status in {404, 405}
