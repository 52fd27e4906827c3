"""Polars expressions as formulas that the sweep computes itself, block by block (see `machine`).

What is not known here is left to Polars: a part that is made of candles alone becomes a column of its own,
everything else an `Unknown`.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from pipelines.sweep.formula import (
    CANDLES,
    Node,
    Unknown,
    as_float,
    careful,
    clean,
    column,
    compared,
    is_null,
    negated,
    not_zero,
    number,
    simpler,
)

Document = Any


def read(expression: pl.Expr, names: Mapping[str, Node]) -> Node:
    """An expression over candle columns and what `names` stands for. Unknown when Polars has to do it."""
    try:
        return _read(json.loads(expression.meta.serialize(format="json")), names)
    except Unknown:
        raise
    except Exception as error:  # a function that cannot be written down, or a form that is new
        raise Unknown(str(error)) from error


def _read(document: Document, names: Mapping[str, Node]) -> Node:
    try:
        ((kind, inside),) = document.items()
        reader = _READERS.get(kind)
        if reader is None:
            raise Unknown(kind)
        return reader(inside, names)
    except Unknown:
        if _columns(document) <= set(CANDLES):
            return _by_polars(document)
        raise


def _by_polars(document: Document) -> Node:
    text = json.dumps(document)
    found = pl.Expr.deserialize(text.encode(), format="json")
    dtype = pl.DataFrame(schema=dict.fromkeys(CANDLES, pl.Float64)).select(found).dtypes[0]
    if dtype == pl.Boolean:
        return Node("gt", (Node("polars", numbers=(text,)), number(0.5)), condition=True)
    if dtype != pl.Float64:
        raise Unknown(str(dtype))
    return Node("polars", numbers=(text,))


def _columns(document: Document) -> set[str]:
    if isinstance(document, dict):
        own = document.get("Column")
        rest = set().union(*(_columns(value) for value in document.values()))
        return rest | {own} if isinstance(own, str) else rest
    return set().union(*(_columns(value) for value in document)) if isinstance(document, list) else set()


def _known_column(name: str, names: Mapping[str, Node]) -> Node:
    if name in names:
        return names[name]
    if name not in CANDLES:
        raise Unknown(name)
    return column(name)


def _literal(document: Document, names: Mapping[str, Node]) -> Node:
    ((kind, inside),) = document.items()
    ((kind, value),) = inside.items() if kind in ("Dyn", "Scalar") else ((kind, inside),)
    if kind == "Boolean":
        return Node("known", numbers=(bool(value),), condition=True)
    if kind == "Null":
        return number(float("nan"))
    if kind in ("Int", "Float", "Float64") and abs(value) < 2**53:
        return number(value)
    raise Unknown(kind)


_ARITHMETIC = {"Plus": "add", "Minus": "sub", "Multiply": "mul"}


def _binary(document: Document, names: Mapping[str, Node]) -> Node:
    one, two, op = _read(document["left"], names), _read(document["right"], names), document["op"]
    if op in ("And", "Or"):
        if not (one.condition and two.condition):
            raise Unknown(op)
        return Node(op.lower(), (one, two), condition=True)
    if op in ("Gt", "Lt", "GtEq", "LtEq", "Eq", "NotEq"):
        return compared(op, one, two)
    if one.condition or two.condition or (one.constant and two.constant):
        raise Unknown(op)
    since, risky = max(one.since, two.since), one.risky | one.wild | two.risky | two.wild
    if op in _ARITHMETIC:
        return Node(_ARITHMETIC[op], (one, two), since=since, risky=risky)
    if op != "TrueDivide":
        raise Unknown(op)
    if two.constant and two.numbers[0] != 0:  # Polars multiplies
        return Node("mul", (one, number(1.0 / two.numbers[0])), since=since, risky=risky)
    return Node("div", (one, two), since=since, risky=risky | {two.key})


def _ternary(document: Document, names: Mapping[str, Node]) -> Node:
    told, yes, no = document["predicate"], document["truthy"], document["falsy"]
    if told == _is_number(yes) and no == {"Literal": {"Scalar": {"Null": "Null"}}}:
        return clean(as_float(_read(yes, names)))
    predicate, one, two = (_read(part, names) for part in (told, yes, no))
    if not predicate.condition or one.condition != two.condition:
        raise Unknown("when")
    risky = (one.risky - not_zero(predicate)) | (two.risky - not_zero(predicate, otherwise=True))
    nulls = [branch.since for branch in (one, two) if not is_null(branch)]
    return Node(
        "when",
        (simpler(predicate), one, two),
        condition=one.condition,
        since=min(nulls, default=0),
        risky=risky,
    )


def _is_number(document: Document) -> Document:
    """How `fill_nan(None)` asks whether to keep a value."""
    tests = (
        {"Function": {"input": [document], "function": {"Boolean": name}}} for name in ("IsNotNan", "IsNull")
    )
    left, right = tests
    return {"BinaryExpr": {"left": left, "op": "Or", "right": right}}


def _cast(document: Document, names: Mapping[str, Node]) -> Node:
    inside = _read(document["expr"], names)
    if document["dtype"] != {"Literal": "Float64"} or inside.condition:
        raise Unknown("cast")
    return inside


def _function(document: Document, names: Mapping[str, Node]) -> Node:
    function, given = document["function"], document["input"]
    name: str
    options: Any
    name, options = (function, None) if isinstance(function, str) else next(iter(function.items()))
    if name == "EwmMean":
        return _smooth(options["options"], given[0], names)
    if name == "Boolean" and isinstance(options, dict):
        return _between(options, [_read(part, names) for part in given])
    reader = _FUNCTIONS.get(f"{name}.{options}" if isinstance(options, str) else name)
    if reader is None:
        raise Unknown(name)
    return reader(options, [_read(part, names) for part in given])


def _smooth(options: Any, document: Document, names: Mapping[str, Node]) -> Node:
    if options["adjust"] or not options["ignore_nulls"]:
        raise Unknown("another EWM")
    alpha, least = options["alpha"], options["min_periods"]
    if least == 1 and "Ternary" in document:
        values = document["Ternary"]["truthy"]
        period = document["Ternary"]["predicate"]["BinaryExpr"]["right"]["Literal"]["Dyn"]["Int"]
        if document == _seeded(values, period):
            inside = careful(_read(values, names))
            return Node("seeded", (inside,), (alpha, period), since=inside.since + period - 1)
    inside = careful(_read(document, names))
    return Node("smooth", (inside,), (alpha, least), since=inside.since + max(least, 1) - 1)


def _seeded(values: Document, period: int) -> Document:
    """How `strategies.indicators.base.seeded_ewm` begins with the mean of the first values."""

    def called(name: Any, document: Document) -> Document:
        return {"Function": {"input": [document], "function": name}}

    def ternary(op: str, then: Document, otherwise: Document) -> Document:
        seen = called({"CumSum": {"reverse": False}}, called({"Boolean": "IsNotNull"}, values))
        least = {"Literal": {"Dyn": {"Int": period}}}
        predicate = {"BinaryExpr": {"left": seen, "op": op, "right": least}}
        return {"Ternary": {"predicate": predicate, "truthy": then, "falsy": otherwise}}

    options = {
        "window_size": period,
        "min_periods": period,
        "weights": None,
        "center": False,
        "fn_params": None,
    }
    mean = called({"RollingExpr": {"function": "Mean", "options": options}}, values)
    return ternary("Gt", values, ternary("Eq", mean, {"Literal": {"Scalar": {"Null": "Null"}}}))


def _rolling(options: Any, given: list[Node]) -> Node:
    name, rest = options["function"], options["options"]
    window, least, extra = rest["window_size"], rest["min_periods"], rest["fn_params"]
    if name not in ("Mean", "Sum", "Std", "Var", "Max", "Min") or rest["weights"] or rest["center"]:
        raise Unknown(name)
    if least != window or (name in ("Max", "Min") and extra):
        raise Unknown("a window that is not full")
    inside = careful(given[0])
    freedom = extra["Var"]["ddof"] if extra else None
    return Node("rolling", (inside,), (name, window, freedom), since=inside.since + window - 1)


def _steps(given: list[Node]) -> int:
    if len(given) != 2 or not given[1].constant or not 0 < given[1].numbers[0] <= 1_000_000:
        raise Unknown("a shift by something else")
    return int(given[1].numbers[0])


MOST_KEPT = 64
"""Rows that a condition can be shifted by."""


def _shift(options: Any, given: list[Node]) -> Node:
    rows, node = _steps(given), given[0]
    if node.condition and rows > MOST_KEPT:
        raise Unknown("a long shift")
    return Node(
        "shift",
        (node,),
        (rows,),
        condition=node.condition,
        since=node.since + rows,
        risky=node.risky,
        wild=node.wild,
    )


def _diff(options: Any, given: list[Node]) -> Node:
    if options != "Ignore" or given[0].condition:
        raise Unknown("diff")
    before = _shift(None, given)
    return Node("sub", (given[0], before), since=before.since, risky=given[0].risky | given[0].wild)


def _clip(options: Any, given: list[Node]) -> Node:
    node, bounds = careful(given[0]), given[1:]
    if not all(bound.constant for bound in bounds):
        raise Unknown("clip")
    for op, wanted in (("atleast", options["has_min"]), ("atmost", options["has_max"])):
        if wanted:
            node = Node(op, (node, bounds.pop(0)), since=node.since)
    return node


def _extreme(op: str) -> Callable[[Any, list[Node]], Node]:
    def made(options: Any, given: list[Node]) -> Node:
        node = careful(given[0])
        for other in given[1:]:
            other = careful(other)
            node = Node(op, (node, other), since=min(node.since, other.since))
        return node

    return made


def _unary(op: str) -> Callable[[Any, list[Node]], Node]:
    def made(options: Any, given: list[Node]) -> Node:
        (node,) = given
        if node.condition:
            raise Unknown(op)
        return Node(op, (node,), since=node.since, risky=node.risky, wild=node.wild)

    return made


def _is_null(op: str) -> Callable[[Any, list[Node]], Node]:
    def made(options: Any, given: list[Node]) -> Node:
        known = Node("isknown", (careful(given[0]),), condition=True)
        return known if op == "IsNotNull" else negated(known)

    return made


def _fill_null(options: Any, given: list[Node]) -> Node:
    node, value = given
    if node.condition and value.op == "known":
        return Node("fillcondition", (node,), value.numbers, condition=True)
    if node.condition or not value.constant or is_null(value):
        raise Unknown("fill_null")
    return Node("fill", (careful(node), value))


def _all_of(op: str) -> Callable[[Any, list[Node]], Node]:
    def made(options: Any, given: list[Node]) -> Node:
        if not all(node.condition for node in given):
            raise Unknown(op)
        node = given[0]
        for other in given[1:]:
            node = Node(op, (node, other), condition=True)
        return node

    return made


def _between(options: Any, given: list[Node]) -> Node:
    closed = options["IsBetween"]["closed"]
    value, low, high = given
    above = compared("GtEq" if closed in ("Both", "Left") else "Gt", value, low)
    below = compared("LtEq" if closed in ("Both", "Right") else "Lt", value, high)
    return Node("and", (above, below), condition=True)


_READERS: dict[str, Callable[[Any, Mapping[str, Node]], Node]] = {
    "Column": _known_column,
    "Literal": _literal,
    "BinaryExpr": _binary,
    "Ternary": _ternary,
    "Cast": _cast,
    "Function": _function,
    "Alias": lambda inside, names: _read(inside[0], names),
}
_FUNCTIONS: dict[str, Callable[[Any, list[Node]], Node]] = {
    "Abs": _unary("abs"),
    "Negate": _unary("neg"),
    "Clip": _clip,
    "Diff.Ignore": _diff,
    "Shift": _shift,
    "RollingExpr": _rolling,
    "MaxHorizontal": _extreme("max"),
    "MinHorizontal": _extreme("min"),
    "FillNull": _fill_null,
    "Boolean.Not": lambda options, given: negated(given[0]),
    "Boolean.IsNull": _is_null("IsNull"),
    "Boolean.IsNotNull": _is_null("IsNotNull"),
    "Boolean.AllHorizontal": _all_of("and"),
    "Boolean.AnyHorizontal": _all_of("or"),
}
