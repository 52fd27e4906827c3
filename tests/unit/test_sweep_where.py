"""Constraints: what they mean, and what they are not."""

from typing import Any

import numpy as np
import pytest

from core.errors import BadInput
from pipelines.sweep.where import Constraint

COLUMNS: dict[str, Any] = {
    "fast": np.array([5, 10, 20]),
    "slow": np.array([10, 20, 20]),
    "stop": np.array([0.01, np.nan, 0.05]),
    "kind": np.array(["a", "b", "a"]),
    "size": 3,
}


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("fast < slow", [True, True, False]),
        ("fast * 2 <= slow", [True, True, False]),
        ("5 <= fast < 20", [True, True, False]),
        ("fast == 5 or slow - fast == 0", [True, False, True]),
        ("not (fast > 5 and slow > 10)", [True, False, False]),
        ("slow % fast == 0", [True, True, True]),
        ("slow / fast > 1.5", [True, True, False]),
        ("slow // 3 == size", [True, False, False]),
        ("-fast < -5", [False, True, True]),
        ("abs(fast - slow) == 10", [False, True, False]),
        ("max(fast, 10) == min(slow, 10)", [True, True, False]),
        ("fast in (5, 20)", [True, False, True]),
        ("fast not in [5, 20]", [False, True, False]),
        ("kind == 'a'", [True, False, True]),
        ("stop < 1", [True, False, True]),
        ("size == 3", [True, True, True]),
        ("fast / (size - 3) > 1", [False, False, False]),
        ("slow // (size - 3) == 0", [False, False, False]),
        ("slow % (fast - 10) == 0", [True, False, True]),
    ],
)
def test_a_condition_is_told_for_each_combination(text: str, held: list[bool]) -> None:
    """Arithmetic, comparisons and logic are Python's; a comparison with what is not set is false."""
    assert Constraint(text).holds(COLUMNS, 3).tolist() == held


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fast <",
        "fast",
        "fast + 1",
        "5",
        "fast < other",
        "fast < 'a'",
        "kind < 5",
        "__import__('os').system('true')",
        "fast.__class__ == 1",
        "fast[0] < 1",
        "(lambda: 1)() < 2",
        "[x for x in (1, 2)] == fast",
        "fast ** 99999 < 1",
        "fast < 10**9",
        "1 if fast else 2",
        "fast := 5",
        "print(fast) < 1",
        "min(fast) < 1",
        "max(*kind) < 1",
        "min(fast, slow, key=fast) < 1",
        "f'{fast}' == kind",
        "fast is slow",
        "fast / 0 > 1",
        "fast // 0 == 0",
        "fast % 0.0 == 0",
        "fast << 60 > 1",
        "fast < 99999999999999999999999",
        "fast < None",
        "fast < 1j",
        "(" * 300 + "fast" + ")" * 300 + " < 1",
        "-" * 490 + "fast < 1",
        "fast < 1" + " and fast < 1" * 60,
        "fast < 1; slow < 2",
        "fast < 1\nslow",
        "fast \0< 1",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """Code, unknown names, kinds that do not go together and endless texts are one clear error."""
    with pytest.raises(BadInput, match=r"^where: "):
        Constraint(text).holds(COLUMNS, 3)
