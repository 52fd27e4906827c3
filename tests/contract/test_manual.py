"""The manual: built without the network, whole, and naming only commands and options that exist."""

import os
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from cli.main import COMMANDS, build_app
from cli.reference.manual import PAGES
from config.settings import PROJECT_ROOT

DOCS = sorted((PROJECT_ROOT / "docs").glob("*.md"))
SPAN = re.compile(r"`(tcp [^`]+)`|^\$ (tcp .+)$|^(tcp .+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Built strictly, as `make manual` does."""
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "mkdocs",
        "build",
        "--quiet",
        "--strict",
        "-d",
        str(folder),
    ]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "http_proxy": "http://127.0.0.1:9"}
    built = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


class Loaded(HTMLParser):
    """What a browser fetches by itself for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in {"script", "img", "iframe"} and given.get("src"):
            self.addresses.append(str(given["src"]))
        if tag == "link" and given.get("rel") in {"stylesheet", "icon", "preconnect"}:
            self.addresses.append(str(given.get("href")))


def test_every_page_is_there_and_loads_nothing_from_elsewhere(site):
    """The navigation's pages and the generated ones; all they load lies beside them."""
    pages = {str(page.relative_to(site)) for page in site.rglob("*.html")}
    wanted = {path.name for path in DOCS} | set(PAGES)
    assert {name.removesuffix(".md") + ".html" for name in wanted} <= pages
    for page in pages:
        loaded = Loaded()
        text = (site / page).read_text()
        assert "mermaid" not in text, f"{page}: a picture that needs a script is shown as text"
        loaded.feed(text)
        for address in loaded.addresses:
            assert not re.match(r"(https?:)?//", address), (page, address)
            below = site if address.startswith("/") else (site / page).parent
            assert (below / address.partition("?")[0].lstrip("/")).exists(), (page, address)


def test_every_page_is_in_the_navigation():
    """And each is there once."""
    text = re.findall(r": ([\w/-]+\.md)$", (PROJECT_ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    assert len(text) == len(set(text))
    assert {path.name for path in DOCS} | set(PAGES) <= set(text)


def test_generated_pages_have_what_they_are_of(site):
    """A command with its options, a setting, a column, a route, a field of a file."""
    for page, words in {
        "commands": ["tcp db recover", "--walk-forward", "--standby"],
        "settings": ["TCP_WAL_ARCHIVE", "TCP_NOTIFY_QUIET"],
        "tables": ["bot_crashes", "stack_trace"],
        "api": ["POST /api/kill-switch", "GET /metrics"],
        "files": ["max_drawdown", "strategy_file"],
    }.items():
        text = (site / "reference" / f"{page}.html").read_text()
        assert [word for word in words if word not in text] == [], page


@cache
def options_of(name: str, below: str) -> set[str] | None:
    """Options of a command; None where there is none of that name."""
    if name not in COMMANDS:
        return None
    root: Any = typer.main.get_command(build_app(name))
    command = root.commands[name]
    if hasattr(command, "commands"):
        if below not in command.commands:
            return set() if not below else None
        command = command.commands[below]
    return {one for parameter in command.params for one in (*parameter.opts, *parameter.secondary_opts)} | {
        "--help"
    }


@pytest.mark.parametrize("path", [*DOCS, PROJECT_ROOT / "README.md"], ids=lambda path: path.name)
def test_commands_and_options_that_a_page_names_exist(path: Path):
    """Everything that begins with `tcp`, in the text and in blocks."""
    text = re.sub(r"\\\n\s*", "", path.read_text())
    for found in SPAN.finditer(text):
        line = next(part for part in found.groups() if part).partition("#")[0]
        words = line.split()[1:]
        if not words or not re.fullmatch(r"[a-z-]+", words[0]):
            continue
        for below in words[1].split("\\|") if len(words) > 1 else [""]:
            known = options_of(words[0], below if re.fullmatch(r"[a-z-]+", below) else "")
            assert known is not None, line
            wrong = [word for word in re.findall(r"--[a-z][a-z-]+", line) if known and word not in known]
            assert wrong == [], line


def test_configuration_names_no_address_of_a_font_or_script():
    """The theme would ask a font server, and its offline plugin a script server."""
    settings = yaml.safe_load(re.sub(r"!!python\S*", "", (PROJECT_ROOT / "mkdocs.yml").read_text()))
    assert settings["theme"]["font"] is False
    assert settings["plugins"] == ["search"]
