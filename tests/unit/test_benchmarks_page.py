"""The page of benchmarks says what was found, and nothing else."""

import os
import re
import subprocess

import msgspec
import pytest

from config.settings import PROJECT_ROOT
from tests.bench.figures import (
    FOUND,
    PAGE,
    Figure,
    Found,
    add,
    asked,
    bench_command,
    commit,
    found,
    measured,
    newest,
)
from tests.bench.page import TABLE, row, written

FOLDER = PROJECT_ROOT / "tests" / "bench"


def test_page_has_the_figures_of_the_files():
    """`make figures` would change nothing."""
    text = PAGE.read_text(encoding="utf-8")
    assert text == written(text, asked(), found())


def test_figures_are_asked_once_and_each_is_on_the_page():
    """A finding is of a figure that is asked, a section of one that has a table."""
    names = [one.id for one in asked()]
    assert len(names) == len(set(names))
    assert {one.figure for one in found()} <= set(names)
    assert {one.section for one in asked()} == {marks[2] for marks in TABLE.finditer(PAGE.read_text())}


def test_benches_tell_figures_that_are_asked():
    """Every name that a bench hands to `tell` is one of figures.toml, and most benches tell some."""
    told: dict[str, set[str]] = {}
    for path in sorted(FOLDER.glob("bench_*.py")):
        calls = re.findall(r"\btell\(\n?(.*?)\)\n", path.read_text(), re.DOTALL)
        told[path.name] = {name for call in calls for name in re.findall(r'"([a-z]+(?:-[a-z]+)+)"', call)}
    assert set().union(*told.values()) <= {one.id for one in asked()}
    assert sum(bool(names) for names in told.values()) >= 9


def test_what_was_found_last_counts_with_all_its_cases():
    """Cases of one day and commit stand together; a later commit takes their place; others stay."""
    old = Found("exits", "9 ns", "`x`", "2026-11-20", case="stop")
    first, second = (msgspec.structs.replace(old, date="2026-11-21", case=case) for case in ("stop", "both"))
    again = msgspec.structs.replace(first, found="8 ns")
    other = Found("sweep", "1 ns", "`y`", "2026-11-01")
    assert newest([old, other, first, second, again]) == {"exits": [again, second], "sweep": [other]}
    assert row(Figure("exits", "Research", "under 10 ns"), [again, second]) == (
        "| under 10 ns | `x`; 2026-11-21 | stop: 8 ns; both: 9 ns |\n"
    )
    assert row(Figure("week", "Deploy", "99.9 %"), []) == "| 99.9 % | | not measured |\n"


def test_finding_has_command_day_load_and_commit(tmp_path, monkeypatch):
    """A line of JSON each, after those before; the text of several lines is one."""
    monkeypatch.setenv("BENCH_CANDLES", "1000")
    command = bench_command("tests/bench/bench_sweep.py::test_sweep_speed[1]")
    assert command == "`BENCH_CANDLES=1000 bench_sweep.py`, `test_sweep_speed`"
    for text in ("0.31 ns  wall\n\n 0.5 | GB\n", "again"):
        add(measured("sweep-year", text, command, 1.26), tmp_path / "found.jsonl")
    one, two = found(tmp_path / "found.jsonl")
    assert (one.found, two.found) == ("0.31 ns wall; 0.5 \\| GB", "again")
    assert (one.load, one.command) == ("1.3", command)
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", one.date)
    if (PROJECT_ROOT / ".git").exists():
        assert re.fullmatch(r"[0-9a-f]{7,}( with changes)?", one.commit or "")


def test_findings_of_a_run_have_one_commit(tmp_path):
    """What the benches write themselves is no change of the checkout they measure; anything else is."""
    ours = [tmp_path / path.relative_to(PROJECT_ROOT) for path in (FOUND, PAGE)]
    files = [*ours, tmp_path / "core" / "prices.py"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("before\n")
    who = {
        f"GIT_{role}_{what}": "x@example.com"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    for command in ("init -q", "add .", "commit -q -m all"):
        subprocess.run(["git", "-C", str(tmp_path), *command.split()], check=True, env=os.environ | who)
    clean = commit(tmp_path)
    assert re.fullmatch(r"[0-9a-f]{7,}", clean)
    for file in files:
        assert commit(tmp_path) == clean
        file.write_text("after\n")
    assert commit(tmp_path) == f"{clean} with changes"


def test_table_without_marks_is_left_alone():
    """Text around the tables stays as it is written; what is not asked in a section is not in its table."""
    mark = "before\n<!-- figures: A, written by a command -->\n"
    text = f"{mark}old\n<!-- end -->\nafter\n"
    made = written(text, [Figure("x", "A", "fast"), Figure("y", "B", "small")], [])
    assert made.startswith(f"{mark}| asked |") and made.endswith("<!-- end -->\nafter\n")
    assert "fast" in made and "small" not in made and "old" not in made


@pytest.mark.parametrize("line", [b'{"figure": "x"}', b'{"figure": "x", "found": "1", "when": "now"}'])
def test_line_that_is_no_finding_is_refused(tmp_path, line):
    """A field is missing, or is none."""
    (tmp_path / "found.jsonl").write_bytes(line + b"\n")
    with pytest.raises(msgspec.ValidationError):
        found(tmp_path / "found.jsonl")
