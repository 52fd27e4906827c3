"""The picture of a bot's states, in the docstring and in docs/bots.md, against what is enforced."""

import re

import core.bot_states as bot_states
from config.settings import PROJECT_ROOT
from core.bot_states import Actual, IllegalMove

ARROW = re.compile(r"^\s*(\w+) --> (\w+)(?:: .+)?$", re.MULTILINE)


def _legal() -> set[tuple[str, str]]:
    found = set()
    for current in Actual:
        for to in Actual:
            try:
                current.move(to)
            except IllegalMove:
                continue
            if to is not current:
                found.add((current.value, to.value))
    return found


def test_the_drawn_moves_are_the_enforced_ones():
    """Every arrow is a legal move and every legal move is an arrow, in both places."""
    page = (PROJECT_ROOT / "docs" / "bots.md").read_text()
    drawing = re.search(r"```mermaid\n(.*?)```", page, re.DOTALL)
    assert drawing is not None
    for text in (bot_states.__doc__ or "", drawing.group(1)):
        assert set(ARROW.findall(text)) == _legal()
