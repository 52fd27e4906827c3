"""The dialog that makes a bot of a sweep's row, asked as a browser does, while Redis is away."""

import time

import pytest
import sqlalchemy as sa

from core.errors import Unavailable
from pipelines.bus.memory import MemoryBus
from tests.dashboard_seed import seed
from tests.dashboard_server import running
from tests.research_seed import SWEEP, fill_research

pytestmark = pytest.mark.servers
NOBODY = "redis://127.0.0.1:1/0"
GIVEN = {
    "sweep-shown.data": SWEEP,
    "sweep-market.value": "BTC-USDT 1m",
    "sweep-metric.value": "sharpe",
    "sweep-x.value": "fast_period",
    "sweep-y.value": "slow_period",
    "promote-row.data": 0,
    "promote-cash.value": 1_000,
    "promote-start.checked": True,
}


class Away(MemoryBus):
    """A bus that went away after the dashboard had begun."""

    async def publish(self, channel, message):
        """As Redis' where nobody listens."""
        raise Unavailable("Redis does not answer")


@pytest.fixture
def dashboard(database_url, unused_port, tmp_path):
    """A dashboard whose bus is away, over a sweep."""
    with running(database_url, NOBODY, unused_port, tmp_path, Away()) as client:
        now_ms = time.time_ns() // 1_000_000
        seed(client.database, now_ms, minutes=60)
        fill_research(client.database, now_ms)
        yield client


def asked(dashboard, trigger, output, **given):
    """What the callback of that input and output answers: output's id → its properties."""
    found = dashboard.get("/_dash-dependencies").json
    [callback] = [
        each
        for each in found
        if output in each["output"] and any(_name(part) == trigger for part in each["inputs"])
    ]
    values = GIVEN | {trigger: 1} | given
    outputs = [part.rsplit(".", 1) for part in callback["output"].strip(".").split("...")]
    body = {
        "output": callback["output"],
        "outputs": [{"id": name, "property": prop} for name, prop in outputs],
        "inputs": [part | {"value": values.get(_name(part))} for part in callback["inputs"]],
        "state": [part | {"value": values.get(_name(part))} for part in callback["state"]],
        "changedPropIds": [trigger],
    }
    answer = dashboard.post("/_dash-update-component", body)
    assert answer.status == 200, answer.text
    return answer.json["response"]


def _name(part):
    return f"{part['id']}.{part['property']}"


def proposed(dashboard):
    """The name that the dialog proposes for a bot of the best row."""
    return asked(dashboard, "promote-best.n_clicks", "promote-name.value")["promote-name"]["value"]


def created(dashboard, name):
    """What a click on `Create bot` answers."""
    given = {"promote-name.value": name}
    return asked(dashboard, "promote-create.n_clicks", "promote-problem.children", **given)


def test_a_bot_is_made_without_the_bus_and_a_deleted_ones_name_is_not_proposed(dashboard):
    """The dialog closes and says so though nobody could be told; the name of a bot in no list is still its
    own, and a refusal says which of the two it is."""
    name = proposed(dashboard)
    assert name == "ema_crossover_1"
    said = created(dashboard, name)
    assert said["promote-dialog"] == {"opened": False} and "was created" in str(said["toasts"])
    assert "is a bot ema_crossover_1 already" in str(created(dashboard, name)["promote-problem"])
    assert dashboard.request("DELETE", f"/api/bot/{name}", None, {}).status == 200
    assert proposed(dashboard) == "ema_crossover_2"
    assert "was deleted: bring it back" in str(created(dashboard, name)["promote-problem"])


def test_without_the_sweeps_rows_the_page_says_so(dashboard):
    """Charts that could not be read are empty with the reason, and the dialog says what is wrong."""
    with dashboard.database.begin() as connection:
        connection.execute(sa.text("alter table sweep_results rename to hidden"))
    drawn = asked(dashboard, "sweep-metric.value", "sweep-heat.figure")
    assert "cannot be read" in str(drawn["sweep-cards"]) and drawn["sweep-heat"]["figure"]["data"] == []
    said = asked(dashboard, "promote-best.n_clicks", "promote-name.value")
    assert said["promote-dialog"] == {"opened": True} and "try again" in str(said["promote-problem"])
    shown = asked(dashboard, "promote-name.value", "promote-json.children")
    assert "does not answer" in str(shown["promote-problem"])
