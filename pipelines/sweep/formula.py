"""Polars expressions as formulas that the sweep computes itself, block by block (see `machine`).

A value is a float, or yes, no or unknown. Null is NaN here. What Polars would make of a NaN that is none of
its nulls, or of an infinity, is not imitated: where a division could leave one to something that minds, it is
checked, and a formula in which one is found is left to Polars. So is all that is not known here.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import polars as pl

from core.errors import TcpError

CANDLES = ("open", "high", "low", "close", "volume")
Document = Any


class Unknown(TcpError):
    """An expression that is left to Polars."""


class Node:
    """A part of a formula. Equal keys mean equal values.

    op, args, numbers: what is done to what · condition: yes, no or unknown rather than a float · since: row
    before which it is null · risky: keys of the divisors that may have put NaN or infinity into it; wild: of
    those that may have put infinity, but no NaN
    """

    __slots__ = ("args", "condition", "key", "numbers", "op", "risky", "since", "wild")

    def __init__(
        self,
        op: str,
        args: Sequence["Node"] = (),
        numbers: Sequence[Any] = (),
        *,
        condition: bool = False,
        since: int = 0,
        risky: frozenset[bytes] = frozenset(),
        wild: frozenset[bytes] = frozenset(),
    ) -> None:
        self.op, self.args, self.numbers = op, tuple(args), tuple(numbers)
        self.condition, self.since, self.risky, self.wild = condition, since, risky, wild
        text = repr((op, self.numbers)).encode()
        self.key = blake2b(b"".join((text, *(arg.key for arg in args))), digest_size=16).digest()

    @property
    def constant(self) -> bool:
        """Whether it is a number, or null, that was written down."""
        return self.op == "number"


def column(name: str) -> Node:
    """A column of the candles."""
    return Node("candle", numbers=(name,))


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


def number(value: float) -> Node:
    """A number that was written down; NaN is null."""
    return Node("number", numbers=(float(value),))


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


def careful(node: Node) -> Node:
    """The same for something that minds NaN and infinity: checked where a division may have left one."""
    return _checked(node) if node.risky or node.wild else _float(node)


def _comparable(node: Node) -> Node:
    """The same for something that only minds NaN."""
    return _checked(node) if node.risky else _float(node)


def _checked(node: Node) -> Node:
    return Node("check", (_float(node),), (node.since,), since=node.since)


def _float(node: Node) -> Node:
    if node.condition:
        raise Unknown("a condition where a number is needed")
    return node


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


def compared(op: str, one: Node, two: Node) -> Node:
    """A comparison; all are told by `gt`, `eq` and `not`, unknown where a side is null."""
    one, two = _comparable(one), _comparable(two)
    if op in ("Eq", "NotEq"):
        found = Node("eq", (one, two), condition=True)
    else:
        found = Node("gt", (one, two) if op in ("Gt", "LtEq") else (two, one), condition=True)
    return negated(found) if op in ("NotEq", "GtEq", "LtEq") else found


def negated(condition: Node) -> Node:
    """Not that."""
    if not condition.condition:
        raise Unknown("not of a number")
    return Node("not", (condition,), condition=True)


def _ternary(document: Document, names: Mapping[str, Node]) -> Node:
    told, yes, no = document["predicate"], document["truthy"], document["falsy"]
    if told == _is_number(yes) and no == {"Literal": {"Scalar": {"Null": "Null"}}}:
        return clean(_float(_read(yes, names)))
    predicate, one, two = (_read(part, names) for part in (told, yes, no))
    if not predicate.condition or one.condition != two.condition:
        raise Unknown("when")
    risky = (one.risky - _not_zero(predicate)) | (two.risky - _not_zero(predicate, otherwise=True))
    nulls = [branch.since for branch in (one, two) if not _null(branch)]
    return Node(
        "when",
        (_simpler(predicate), one, two),
        condition=one.condition,
        since=min(nulls, default=0),
        risky=risky,
    )


def _null(node: Node) -> bool:
    return node.constant and bool(node.numbers[0] != node.numbers[0])


def _is_number(document: Document) -> Document:
    """How `fill_nan(None)` asks whether to keep a value."""
    tests = (
        {"Function": {"input": [document], "function": {"Boolean": name}}} for name in ("IsNotNan", "IsNull")
    )
    left, right = tests
    return {"BinaryExpr": {"left": left, "op": "Or", "right": right}}


def clean(node: Node) -> Node:
    """What `fill_nan(None)` makes of it: NaN and null are both null; infinities stay."""
    return Node(node.op, node.args, node.numbers, since=node.since, wild=node.risky | node.wild)


def _not_zero(predicate: Node, otherwise: bool = False) -> frozenset[bytes]:
    """What cannot be zero where the predicate is true, or where it is not true."""
    op, args = predicate.op, predicate.args
    if op == "not":
        return _not_zero(args[0], not otherwise)
    if op == "eq" and otherwise:
        return frozenset(one.key for one, two in (args, args[::-1]) if two.constant and two.numbers[0] == 0)
    if op == "gt" and not otherwise and args[1].constant and args[1].numbers[0] >= 0:
        return frozenset((args[0].key,))
    return frozenset()


def _simpler(predicate: Node) -> Node:
    """Whether the highest and the lowest of a window are the same: whether as many values in a row are. Where
    that is unknown it is no here, which is the same to `when`."""
    if predicate.op != "eq" or {arg.op for arg in predicate.args} != {"rolling"}:
        return predicate
    one, two = predicate.args
    window = one.numbers[1]
    same = one.args == two.args or one.args[0].key == two.args[0].key
    if not same or {one.numbers[0], two.numbers[0]} != {"Max", "Min"} or one.numbers[1:] != two.numbers[1:]:
        return predicate
    streak = Node("streak", one.args, since=one.args[0].since)
    return Node("not", (Node("gt", (number(window), streak), condition=True),), condition=True)


def _cast(document: Document, names: Mapping[str, Node]) -> Node:
    inside = _read(document["expr"], names)
    if document["dtype"] != {"Literal": "Float64"} or inside.condition:
        raise Unknown("cast")
    return inside


def _function(document: Document, names: Mapping[str, Node]) -> Node:
    function, given = document["function"], document["input"]
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
    if node.condition or not value.constant or _null(value):
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
    "Diff": _diff,
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
