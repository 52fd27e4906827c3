"""What a formula is made of, and what has to be minded when a part is put on another.

A value is a float, or yes, no or unknown. Null is NaN here. What Polars would make of a NaN that is none of
its nulls, or of an infinity, is not imitated: where a division could leave one to something that minds, it is
checked, and a formula in which one is found is left to Polars.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from core.errors import TcpError

CANDLES = ("open", "high", "low", "close", "volume")


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
        self.key: bytes = blake2b(b"".join((text, *(arg.key for arg in args))), digest_size=16).digest()

    @property
    def constant(self) -> bool:
        """Whether it is a number, or null, that was written down."""
        return self.op == "number"


def column(name: str) -> Node:
    """A column of the candles."""
    return Node("candle", numbers=(name,))


def number(value: float) -> Node:
    """A number that was written down; NaN is null."""
    return Node("number", numbers=(float(value),))


def careful(node: Node) -> Node:
    """The same for something that minds NaN and infinity: checked where a division may have left one."""
    return _checked(node) if node.risky or node.wild else as_float(node)


def comparable(node: Node) -> Node:
    """The same for something that only minds NaN."""
    return _checked(node) if node.risky else as_float(node)


def _checked(node: Node) -> Node:
    return Node("check", (as_float(node),), (node.since,), since=node.since)


def as_float(node: Node) -> Node:
    if node.condition:
        raise Unknown("a condition where a number is needed")
    return node


def compared(op: str, one: Node, two: Node) -> Node:
    """A comparison; all are told by `gt`, `eq` and `not`, unknown where a side is null."""
    one, two = comparable(one), comparable(two)
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


def is_null(node: Node) -> bool:
    return node.constant and bool(node.numbers[0] != node.numbers[0])


def clean(node: Node) -> Node:
    """What `fill_nan(None)` makes of it: NaN and null are both null; infinities stay."""
    return Node(node.op, node.args, node.numbers, since=node.since, wild=node.risky | node.wild)


def not_zero(predicate: Node, otherwise: bool = False) -> frozenset[bytes]:
    """What cannot be zero where the predicate is true, or where it is not true."""
    op, args = predicate.op, predicate.args
    if op == "not":
        return not_zero(args[0], not otherwise)
    if op == "eq" and otherwise:
        return frozenset(one.key for one, two in (args, args[::-1]) if two.constant and two.numbers[0] == 0)
    if op == "gt" and not otherwise and args[1].constant and args[1].numbers[0] >= 0:
        return frozenset((args[0].key,))
    return frozenset()


def simpler(predicate: Node) -> Node:
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
