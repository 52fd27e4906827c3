"""Files of other people's making: whatever a bot's or a strategy's file holds, the answer is a bot or one
line that names the file, and it takes a moment."""

import json
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.files import MOST_BYTES, BotFile, ConfigError, RiskFile, StrategyFile, read_document
from config.settings import Settings
from pipelines.warehouse.bot_files import read_bot_file

GOOD = {
    "bot_id": "mine",
    "strategy": "EMA_Crossover",
    "parameters": {"fast_period": 3},
    "symbol": "BTC-USDT",
    "timeframe": "5m",
    "virtual_balance": 10000,
}
FIELDS = sorted({*BotFile.model_fields, *RiskFile.model_fields, *StrategyFile.model_fields, "slow_period"})
ODD = st.sampled_from(
    [
        "../../../etc/passwd",
        "/etc/passwd",
        "..",
        "",
        "a" * 5_000,
        "\x00",
        "'; DROP TABLE bots; --",
        "$(id)",
        "__import__('os')",
        "nan",
        "1e999999",
        "2026-01-01",
        "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
        10**300,
        -1,
        float("inf"),
        float("nan"),
        True,
        None,
    ]
)
VALUES = st.recursive(
    ODD | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
    max_leaves=8,
)
CHANGES = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4)
MOMENT_S = 5.0


@pytest.fixture
def folder(tmp_path: Path) -> Settings:
    for name in ("bots", "strategies"):
        (tmp_path / name).mkdir()
    return Settings(config_dir=tmp_path, home=tmp_path / "var", strategies_dir=tmp_path / "own")


def said(given_settings: Settings, name: str, content: bytes) -> str:
    """The refusal; empty when the file is a bot."""
    path = given_settings.config_dir / "bots" / name
    path.write_bytes(content)
    try:
        read_bot_file(path, given_settings)
    except ConfigError as error:
        assert str(error).startswith(str(path))
        assert "\n" not in str(error)
        return str(error)
    return ""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES, suffix=st.sampled_from(["json", "yaml"]))
def test_a_field_may_hold_anything(folder, changes, suffix):
    document = GOOD | changes
    text = json.dumps(document) if suffix == "json" else yaml.safe_dump(document)
    said(folder, f"mine.{suffix}", text.encode("utf-8", "surrogatepass"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=400) | st.text(max_size=400).map(lambda text: text.encode("utf-8", "replace"))
)
def test_bytes_that_are_no_document_are_refused(folder, content):
    for name in ("mine.json", "mine.yaml"):
        assert said(folder, name, content)


def test_a_file_that_would_fill_the_memory_is_refused_at_once(folder):
    """Ten lines of YAML that stand for a billion values, a list that holds itself, a thousand levels, numbers
    of five thousand digits and of a billion zeros, more than a megabyte."""
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
    )
    files = {
        "laughs.yaml": laughs,
        "wide.yaml": "a: &a [" + "x," * 20_000 + "]\nb: [" + "*a," * 20_000 + "]\n",
        "itself.yaml": "parameters: &p [*p]",
        "deep.json": "[" * 100_000,
        "closed.json": '{"a":' * 1_000 + "1" + "}" * 1_000,
        "deep.yaml": "[" * 3_000,
        "digits.json": json.dumps(GOOD | {"virtual_balance": 1}).replace(": 1}", ": " + "9" * 5_000 + "}"),
        "huge.json": json.dumps(GOOD).replace('"fast_period": 3', '"fast_period": 1e999999999'),
        "large.json": " " * MOST_BYTES + "{}",
    }
    for name, text in files.items():
        began = time.process_time()
        assert said(folder, name, text.encode()), name
        assert time.process_time() - began < MOMENT_S, name
    with pytest.raises(ConfigError, match="larger than 256 kB"):
        read_document(Path("/dev/zero"))


def test_a_strategy_file_lies_in_the_folder_of_strategies(folder, tmp_path):
    """Neither a path upwards nor an absolute one nor a link's name with a slash reaches another file."""
    outside = tmp_path.parent / "outside.json"
    outside.write_text('{"strategy_name": "EMA_Crossover"}')
    bot = {name: value for name, value in GOOD.items() if name not in {"strategy", "parameters"}}
    for path in ("../../outside.json", str(outside), "./x.json", "..", "x/../../../outside.json", "\x00"):
        refusal = said(folder, "mine.json", json.dumps(bot | {"strategy_file": path}).encode())
        assert "strategy_file" in refusal, path
