"""Alert rules and the Grafana dashboard, read as Prometheus reads them, on what /metrics says."""

import json
import operator
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import promql_parser as promql
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from config.settings import PROJECT_ROOT
from core.clock import ManualClock
from dashboards.api.operations import exposition
from dashboards.feed import Feed
from dashboards.hub import Hub
from pipelines.bus.memory import MemoryBus
from pipelines.warehouse.wal_archive import Archive
from tests.no_database import no_database

OBSERVE = PROJECT_ROOT / "deploy" / "observe"
RULES = yaml.safe_load((OBSERVE / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((OBSERVE / "grafana" / "tcp-dashboard.json").read_text())
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)
COMPARE = {">": operator.gt, "<": operator.lt, "==": operator.eq}
CONNECTION = {
    **dict.fromkeys(("trades", "lost_ids", "repeated", "unknown_frames", "reconnects", "silences"), 0),
    "connection": "trades 1",
    "state": "live",
    "latency_p50_ms": 20,
    "latency_p99_ms": 80,
}
SYMBOL = {"state": "live", "lag_ms": 900, "missing_ids": 0, "refilled": 4}
DAEMON = {
    "feed": "live",
    "clock_rate": 1,
    "rss_mb": 222.0,
    "cpu_s": 60.5,
    "received_trades": 900,
    "written_trades": 890,
    "refused_trades": 0,
    "pending_trades": 10,
    "last_commit_ms": 8.5,
    "postgres_away_s": 0,
    "spool": {"state": "empty", "trades": 0, "bytes": 0},
    "bus_away": False,
    "bus_waiting": 0,
    "published": 99,
    "reconciliation": {"differing": 0},
    "connections": [CONNECTION],
    "clock": {"offset_ms": -4},
    "disk_free_bytes": {"home": 50e9, "lake": 50e9},
    "symbols": {"BTC-USDT": SYMBOL},
}
BOT = {
    "bot_id": "bot_001",
    "symbol": "BTC-USDT",
    "shown": "running",
    "value": 1e4,
    "fills": 3,
    "heartbeat_ms": NOW_MS,
}

Sample = tuple[str, dict[str, str], float]


def samples(
    age_s: float = 1, bot: dict | None = None, broken: str | None = None, backup_age_s: float = 80_000, **said
) -> list[Sample]:
    """What Prometheus has after one scrape of a dashboard with this daemon and this bot."""
    hub = Hub(no_database(), MemoryBus(), Feed("okx"), ManualClock(NOW_MS))
    row = {"component": "live", "exchange_time": NOW, "details": DAEMON | said}
    others = [
        {
            "component": name,
            "timestamp": NOW - timedelta(seconds=601 if broken == name else 70),
            "details": {},
        }
        for name in ("dagster", "notify")
    ]
    hub.feed.components([row | {"timestamp": NOW - timedelta(seconds=age_s)}, *others])
    hub.feed.backup_age_s = backup_age_s
    hub.feed.market_message(NOW_MS, NOW_MS - 40)
    hub.prices = {"BTC-USDT": 64_000.0}
    hub.bots = [BOT | (bot or {})]
    hub.feed.archive = Archive(broken == "archive", 30 if broken == "archive that hangs" else 0, 0, None)
    hub.feed.kill_switch = broken == "kill switch"
    if broken == "database":
        hub.feed.database_lost(NOW_MS, OSError("refused"))
    families = text_string_to_metric_families("".join(exposition(hub)))
    found = [(one.name, one.labels, one.value) for family in families for one in family.samples]
    return [*found, ("up", {"job": "tcp-dashboard"}, 0 if broken == "dashboard" else 1)]


def selectors(node) -> list[promql.VectorSelector]:
    """Every selector in an expression."""
    if isinstance(node, promql.VectorSelector):
        return [node]
    children = [getattr(node, name, None) for name in ("lhs", "rhs", "expr", "vector_selector")]
    children += getattr(node, "args", None) or []
    return [one for child in children if child is not None for one in selectors(child)]


def chosen(node: promql.VectorSelector, scraped: list[Sample]) -> list[Sample]:
    """The samples that it selects."""
    wanted = {match.name: match.value for match in node.matchers.matchers}
    return [
        one
        for one in scraped
        if one[0] == node.name and all(one[1].get(name) == value for name, value in wanted.items())
    ]


def firing(node, scraped: list[Sample]) -> list[Sample]:
    """The value of a rule: comparisons of a selector with a number, and `or` of such."""
    assert isinstance(node, promql.BinaryExpr), "a rule is a comparison"
    if str(node.op) == "or":
        return firing(node.lhs, scraped) + firing(node.rhs, scraped)
    number = node.rhs.val if isinstance(node.rhs, promql.NumberLiteral) else -node.rhs.expr.val
    return [one for one in chosen(node.lhs, scraped) if COMPARE[str(node.op)](one[2], number)]


def alerts(scraped: list[Sample]) -> set[str]:
    """Names of the rules that fire."""
    return {rule["alert"] for rule in RULES if firing(promql.parse(rule["expr"]), scraped)}


def test_a_healthy_stack_raises_no_alert():
    """Nothing is told while nothing is wrong."""
    assert alerts(samples()) == set()


def test_an_archive_of_wal_that_hangs_is_an_alert_as_one_that_fails():
    """Nothing is refused then, and segments wait."""
    assert alerts(samples(broken="archive that hangs")) == {"TcpWalArchiveFails"}


BROKEN: dict[str, Callable[[], list[Sample]]] = {
    "TcpDashboardDown": lambda: samples(broken="dashboard"),
    "TcpDaemonSilent": lambda: samples(age_s=90),
    "TcpDatabaseAway": lambda: samples(broken="database"),
    "TcpWritesWait": lambda: samples(postgres_away_s=61),
    "TcpSpoolFills": lambda: samples(spool={"trades": 1, "bytes": 90}),
    "TcpDagsterSilent": lambda: samples(broken="dagster"),
    "TcpNotifySilent": lambda: samples(broken="notify"),
    "TcpBackupOld": lambda: samples(backup_age_s=172_801),
    "TcpDiskFills": lambda: samples(disk_free_bytes={"home": 9e9, "lake": 4e9}),
    "TcpWalArchiveFails": lambda: samples(broken="archive"),
    "TcpRedisAway": lambda: samples(bus_away=True),
    "TcpFeedNotLive": lambda: samples(feed="down"),
    "TcpSymbolNotCollected": lambda: samples(symbols={"X-USDT": {"state": "unlisted"}}),
    "TcpSymbolLate": lambda: samples(symbols={"BTC-USDT": SYMBOL | {"lag_ms": 301_000}}),
    "TcpTradesMissing": lambda: samples(symbols={"BTC-USDT": SYMBOL | {"missing_ids": 3}}),
    "TcpConnectionDown": lambda: samples(connections=[CONNECTION | {"state": "dialling"}]),
    "TcpConnectionSlow": lambda: samples(connections=[CONNECTION | {"latency_p99_ms": 2_100}]),
    "TcpClockOff": lambda: samples(clock={"offset_ms": -1_500}),
    "TcpBotError": lambda: samples(bot={"shown": "error"}),
    "TcpKillSwitch": lambda: samples(broken="kill switch"),
    "TcpDaemonGrows": lambda: samples(rss_mb=700),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_fires_where_its_thing_is_wrong(rule):
    """And it says what is wrong and what helps."""
    assert rule["alert"] in alerts(BROKEN[rule["alert"]]())
    assert rule["annotations"]["summary"] and rule["annotations"]["remedy"]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"])
def test_each_panel_shows_a_metric_that_is_there(panel):
    """Every expression parses, and selects something on a healthy stack."""
    for target in panel["targets"]:
        found = selectors(promql.parse(target["expr"]))
        assert found and all(chosen(one, samples()) for one in found), target["expr"]


def test_panels_do_not_lie_on_each_other():
    """Each cell of the grid belongs to one."""
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
