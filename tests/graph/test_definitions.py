"""The shape of the asset graph, pinned."""

import json
from pathlib import Path

import pytest

from config.settings import PROJECT_ROOT
from dashboards.app import PAGES
from tests.graph.outside import run_outside

GOLDEN = Path(__file__).parent / "golden.json"


def load(home: Path, *command: str) -> str:
    """Standard output of a fresh interpreter with its own home and no server named."""
    return run_outside(*command, TCP_HOME=home)


@pytest.fixture(scope="module")
def found(parsed_home: Path) -> dict[str, dict[str, dict[str, object]]]:
    """The definitions as they are, loaded without a database."""
    document: dict[str, dict[str, dict[str, object]]] = json.loads(
        load(parsed_home, "-m", "tests.graph.describe")
    )
    return document


@pytest.mark.parametrize("part", ["assets", "checks", "jobs", "schedules", "sensors"])
def test_definitions_are_those_of_the_golden_file(found, part: str):
    """Every asset, edge, check, job, schedule and sensor is meant; see `tests.graph.describe` to renew it."""
    assert found[part] == json.loads(GOLDEN.read_text(encoding="utf-8"))[part]


def test_lineage_runs_from_market_data_to_the_pages(found):
    """Each page of the dashboard is downstream of a table of the daemon, through the dbt models."""
    upstream = {key: set(asset["deps"]) for key, asset in found["assets"].items()}

    def ancestors(key: str) -> set[str]:
        return upstream[key].union(*(ancestors(parent) for parent in upstream[key]))

    assert {"public/market_data", "staging/stg_market_data"} <= ancestors("dashboard/live_page")
    assert {"public/bot_performance", "marts/bot_daily_pnl"} <= ancestors("dashboard/portfolio_page")
    assert {"public/strategy_runs", "backtest", "sweeps"} <= ancestors("dashboard/backtests_page")


def test_every_page_of_the_dashboard_is_an_exposure(parsed_home: Path):
    """By its address and its name, pages that are added included."""
    manifest = json.loads((parsed_home / "dbt" / "manifest.json").read_text(encoding="utf-8"))
    exposed = {(found["url"], found["label"]) for found in manifest["exposures"].values()}
    assert exposed == {(f"http://127.0.0.1:8050{page.path}", page.title) for page in PAGES}


def test_models_are_built_when_the_tables_they_read_grew(parsed_home: Path, found):
    """All models are requested together at the first quarter of an hour and none at the second; when
    snapshots of bots grew after it, exactly the models below them, at the third and not before. Whether
    tables are late is looked at each hour, though nothing came."""
    requested, checked = json.loads(load(parsed_home, "-m", "tests.graph.automate"))
    models = [key for key in found["assets"] if key.startswith(("staging/", "intermediate/", "marts/"))]
    assert requested[:5] == [[], models, [], [], []]
    below = {"staging/stg_bot_performance"}
    while more := {key for key in models if below & set(found["assets"][key]["deps"])} - below:
        below |= more
    assert requested[5] == sorted(below)
    assert len(models) > len(below) > 10
    late = [
        f"{name}: dbt_source_is_fresh" for name in ("bot_performance", "market_data", "raw_trades", "signals")
    ]
    assert checked == [[], [], [], late, [], []]


LINKS = """
import dagster as dg
from orchestration.definitions import defs
graph = defs.get_repository_def().asset_graph
print(graph.get(dg.AssetKey(["dashboard", "data_page"])).metadata["page"].value)
print(graph.get(dg.AssetKey(["marts", "feed_quality_daily"])).metadata["pages"].value)
"""


def test_models_link_to_the_pages_that_show_them(parsed_home: Path):
    """Where the dashboard is configured to be, not where it usually is."""
    page, pages = run_outside("-c", LINKS, TCP_HOME=parsed_home, TCP_DASHBOARD_PORT=8999).splitlines()
    assert page == "http://127.0.0.1:8999/data"
    assert pages == f"[Data]({page})"


def test_every_deferred_import_of_an_asset_exists(parsed_home: Path):
    """The bodies of the assets import late; what they import is there."""
    lines = {
        line.strip()
        for path in (PROJECT_ROOT / "orchestration").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("    ") and line.strip().startswith("from pipelines.")
    }
    assert len(lines) >= 8
    load(parsed_home, "-c", "\n".join(sorted(lines)))


def test_the_load_leaves_heavy_modules_to_the_steps(found):
    """Definitions load in every run: polars, numba and the like are imported in the step that needs them."""
    assert found["heavy_imports"] == []


def test_a_fresh_home_parses_the_dbt_project_once(parsed_home: Path):
    """The manifest is made where there is none and kept while no file of the project is newer."""
    manifest = parsed_home / "dbt" / "manifest.json"
    before = manifest.stat().st_mtime_ns
    load(
        parsed_home,
        "-c",
        "from pathlib import Path; from orchestration.dbt_command import ensure_manifest; "
        f"assert ensure_manifest(Path({str(parsed_home)!r})) == Path({str(manifest)!r})",
    )
    assert manifest.stat().st_mtime_ns == before
