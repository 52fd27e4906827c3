"""The picture of a bot's states, in the docstring and in the manual, against what is enforced."""

import re
from xml.etree import ElementTree

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
    assert "](images/bot-states.svg)" in (PROJECT_ROOT / "docs" / "bots.md").read_text()
    drawing = ElementTree.parse(PROJECT_ROOT / "docs" / "images" / "bot-states.svg")
    titles = "\n".join(title.text or "" for title in drawing.iter("{http://www.w3.org/2000/svg}title"))
    for text in (bot_states.__doc__ or "", titles):
        assert set(ARROW.findall(text)) == _legal()
