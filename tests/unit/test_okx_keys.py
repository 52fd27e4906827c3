"""Keys of an OKX account: where they come from, and that they go nowhere."""

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadInput
from pipelines.exchanges.ccxt.okx_private import open_private
from pipelines.exchanges.okx.keys import VARIABLES, Keys, forget_keys, load_keys, without_keys

DOCUMENT = {"api_key": "key-1", "secret": "secret-1", "passphrase": 'pass "1"'}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of keys that only its owner may read."""
    path = tmp_path / "okx.json"
    path.write_text(json.dumps(DOCUMENT))
    path.chmod(0o600)
    return path


def test_keys_come_from_the_environment_before_the_file(file):
    """All three variables, or the file."""
    assert load_keys(file, {}).secret == "secret-1"
    given = dict(zip(VARIABLES, ("a", "b", "c"), strict=True))
    assert load_keys(file, given).passphrase == "c"


def test_a_variable_that_is_missing_is_named(file):
    """Two of three are a mistake, and the file is no way out of it."""
    with pytest.raises(BadInput, match="TCP_OKX_API_PASSPHRASE: must be set too"):
        load_keys(file, {"TCP_OKX_API_KEY": "a", "TCP_OKX_API_SECRET": "b"})


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o644, 0o601])
def test_a_file_that_others_may_read_is_refused(file, mode):
    """The message has the mode and the remedy, and nothing of what is in the file."""
    file.chmod(mode)
    with pytest.raises(BadInput, match=f"mode {mode:04o} lets others read it: run `chmod 600") as caught:
        load_keys(file, {})
    assert "secret-1" not in str(caught.value)


def test_a_link_is_refused(file, tmp_path):
    """What a link means can be changed by whoever owns its folder."""
    link = tmp_path / "link.json"
    link.symlink_to(file)
    with pytest.raises(BadInput, match="a plain file of yours is needed"):
        load_keys(link, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no JSON", "must be JSON such as"),
        ('{"api_key": 1}', "must be JSON such as"),
        ('{"api_key": "a", "secret": "b"}', "passphrase: is missing"),
        ('{"api_key": "", "secret": "b", "passphrase": "c"}', "api_key: is missing"),
    ],
)
def test_a_file_that_is_no_keys_is_refused(file, text, said):
    """One line with the file, the field and an example."""
    file.write_text(text)
    with pytest.raises(BadInput, match=said):
        load_keys(file, {})


def test_a_missing_file_says_both_ways():
    """Variables, or a file of mode 0600."""
    with pytest.raises(BadInput, match=r"TCP_OKX_API_KEY.*mode 0600"):
        load_keys(Path("/nowhere/okx.json"), {})


def test_keys_have_no_text_and_cannot_be_pickled():
    """A log, a message or a queue of another process never gets them by accident."""
    keys = Keys(*DOCUMENT.values())
    assert repr(keys) == str(keys) == f"{keys}" == "Keys(hidden)"
    with pytest.raises(TypeError, match="not to be pickled"):
        pickle.dumps(keys)
    said = keys.hidden(f"got key-1, {json.dumps({'p': DOCUMENT['passphrase']})} and secret-1")
    assert not any(part in said for part in ("key-1", "secret-1", "pass")) and said.count("(hidden)") == 3


def test_children_do_not_inherit_keys():
    """They are taken out of an environment, and left out of a copy of it."""
    environment = dict(zip(VARIABLES, ("a", "b", "c"), strict=True)) | {"PATH": "/bin"}
    assert without_keys(environment) == {"PATH": "/bin"}
    forget_keys(environment)
    assert environment == {"PATH": "/bin"}


async def test_ccxt_has_nowhere_to_log_requests(caplog):
    """At level DEBUG it would write whole requests, with the keys in their headers."""
    caplog.set_level(logging.DEBUG)
    exchange = open_private(Keys("key-1", "secret-1", "pass-1"), True, {"rest": "http://127.0.0.1:9"})
    exchange.logger.critical("a request: %s", "secret-1")
    exchange.logger.debug("a request: %s", "secret-1")
    assert caplog.records == [] and not exchange.verbose
    signed: dict[str, Any] = exchange.sign("trade/order", "private", "POST", {"a": "b"}, {"expTime": "5"})
    assert signed["headers"]["expTime"] == "5" and signed["headers"]["OK-ACCESS-KEY"] == "key-1"
    await exchange.close()
