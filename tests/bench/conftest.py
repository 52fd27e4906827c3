"""How benches say what they found."""

import os
import sys
from pathlib import Path

import pytest

from tests.bench import figures
from tests.bench.figures import Tell


@pytest.fixture
def tell(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Tell:
    """`tell(text, *figures, case="")` prints it, and keeps it as the finding of these figures where
    BENCH_FIGURES names a file."""
    load, path = os.getloadavg()[0], os.environ.get(figures.VARIABLE)
    command = figures.bench_command(request.node.nodeid)

    def say(text: str, *names: str, case: str = "") -> None:
        assert set(names) <= {one.id for one in figures.asked()}, names
        with capsys.disabled():
            sys.stdout.write(f"\n{f'{case}: ' if case else ''}{text} (load {load:.1f})\n")
        for name in names if path else ():
            figures.add(figures.measured(name, text, command, load, case), Path(path or ""))

    return say
