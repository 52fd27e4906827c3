"""The JSON Schemas in config/schemas."""

import pytest

from config.settings import PROJECT_ROOT
from pipelines.schemas import FOLDER, schemas, text_of
from pipelines.sweep.sweepfile import request_of


@pytest.mark.parametrize("name", sorted(schemas()))
def test_a_schema_is_current(name: str) -> None:
    """The file is what the code says; if not: python -m pipelines.schemas."""
    assert (FOLDER / name).read_text(encoding="utf-8") == text_of(schemas()[name])


def test_no_schema_is_left_over() -> None:
    """There is no schema of a strategy that is gone."""
    files = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.json")}
    assert files == set(schemas())


@pytest.mark.parametrize("path", sorted((PROJECT_ROOT / "config" / "sweeps").glob("*.json")), ids=str)
def test_the_shipped_sweeps_can_be_run(path: object) -> None:
    """Every file in config/sweeps is a sweep with a valid grid."""
    from pipelines.sweep.space import Space

    request = request_of(path)  # type: ignore[arg-type]
    assert Space(request).reach(request.timeframe)[0] > 1
