"""All bots as one account, over HTTP, on a real PostgreSQL."""

import json
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from dashboards.api.portfolio import Curve, Portfolio
from tests.dashboard_seed import seed
from tests.dashboard_server import running, until

pytestmark = pytest.mark.servers
NOW_MS = 1_790_000_000_000
NEWEST = sa.text("""
    select sum(total_value) from (
        select distinct on (bot_id) total_value from bot_performance join bots on bots.id = bot_id
        where deleted_at is null order by bot_id, timestamp desc) last
""")


def exact(text: str) -> Any:
    """JSON whose numbers keep all their digits."""
    return json.loads(text, parse_float=Decimal)


def test_the_portfolio_is_the_sum_of_the_bots_to_the_last_digit(
    database_url, redis_url, unused_port, tmp_path
):
    """Cash, coins, profit and fees equal sums by SQL; positions are summed by symbol; the curve ends at the
    bots' newest values; a deleted bot no longer counts in either."""
    with running(database_url, redis_url, unused_port, tmp_path) as api:
        seed(api.database, NOW_MS, minutes=150)
        until(lambda: api.get("/metrics").text.count("tcp_bot_value{") == 5, 20, "the bots")
        (total,) = Portfolio.model_validate(exact(api.get("/api/portfolio").text)).items
        with api.database.connect() as connection:
            summed = connection.execute(
                sa.text("select sum(cash), sum(cost), sum(realised_pnl), sum(fees), count(*) from positions")
            ).one()
            newest = connection.execute(NEWEST).scalar_one()
        cost = sum(position.cost for position in total.positions)
        assert (total.cash, cost, total.realised_pnl, total.fees, total.bots) == tuple(summed)
        assert total.quote == "USDT" and total.capital == 5 * 10_000
        assert total.value == total.cash + total.coins
        assert total.unrealised_pnl == total.coins - cost
        assert [position.symbol for position in total.positions] == ["BTC-USDT", "ETH-USDT", "SOL-USDT"]
        curve = Curve.model_validate(exact(api.get("/api/portfolio/equity?points=50").text)).items
        assert 2 < len(curve) <= 60 and curve == sorted(curve, key=lambda one: one.at)
        assert curve[-1].equity == Decimal(newest) and {one.quote for one in curve} == {"USDT"}
        assert api.get("/api/portfolio/equity?points=1").status == 422
        assert api.get("/api/portfolio/equity?format=csv").text.startswith("at,quote,equity,cash")
        with api.database.begin() as connection:
            connection.execute(sa.text("update bots set deleted_at = now() where name = 'bot_004'"))
            fewer = connection.execute(NEWEST).scalar_one()
        assert Portfolio.model_validate(exact(api.get("/api/portfolio").text)).items[0].bots == 4
        curve = Curve.model_validate(exact(api.get("/api/portfolio/equity?points=50").text)).items
        assert 0 < fewer < newest and curve[-1].equity == Decimal(fewer)
