"""`python -m tests.bench.page` writes the tables of docs/benchmarks.md from the figures.

With FIGURE FOUND COMMAND it first adds what was measured by hand.
"""

import os
import re
import sys
from collections.abc import Sequence

from tests.bench import figures
from tests.bench.figures import FOUND, PAGE, Figure, Found

TABLE = re.compile(r"(<!-- figures: ([^,\n]+?)(?:,[^\n]*)? -->\n).*?(<!-- end -->)", re.DOTALL)
HEAD = "| asked | command, date, load, commit | found |\n|---|---|---|\n"


def written(text: str, asked: Sequence[Figure], measurements: Sequence[Found]) -> str:
    """The page's text with its tables made anew."""
    newest = figures.newest(measurements)

    def table(marks: re.Match[str]) -> str:
        rows = [row(one, newest.get(one.id, [])) for one in asked if one.section == marks[2]]
        return marks[1] + HEAD + "".join(rows) + marks[3]

    return TABLE.sub(table, text)


def row(figure: Figure, cases: Sequence[Found]) -> str:
    """A line of a table."""
    if not cases:
        return f"| {figure.asked} | | not measured |\n"
    last = cases[-1]
    known = [last.date, last.load and f"load {last.load}", last.commit]
    when = f"{last.command}; {', '.join(part for part in known if part)}"
    said = "; ".join(f"{one.case}: {one.found}" if one.case else one.found for one in cases)
    return f"| {figure.asked} | {when} | {said} |\n"


def main(arguments: Sequence[str]) -> None:
    """Add what was measured by hand, if it is given, and write the page."""
    asked = figures.asked()
    if arguments:
        figure, found, command = arguments
        if figure not in {one.id for one in asked}:
            sys.exit(f"{figure}: is none of {', '.join(one.id for one in asked)}")
        figures.add(figures.measured(figure, found, command, os.getloadavg()[0]), FOUND)
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(written(text, asked, figures.found()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
