"""Constraints between parameters, such as `fast_period * 2 < slow_period`: parsed, never executed as code."""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import BadInput

LONGEST = 500
"""Characters of a constraint."""
LARGEST = 10**15
"""Numbers beyond it are no parameter's."""


def _over(divide: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """By zero it is not a number, so that comparisons with it are false: NumPy says 0 for whole numbers."""
    return lambda left, right: divide(left, np.where(np.equal(right, 0), np.nan, right))


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _over(operator.truediv),
    ast.FloorDiv: _over(operator.floordiv),
    ast.Mod: _over(operator.mod),
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda left, right: np.isin(left, right),
    ast.NotIn: lambda left, right: ~np.isin(left, right),
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"abs": np.abs, "min": np.minimum, "max": np.maximum}


class Constraint:
    """A condition on the parameters of a combination.

    It knows names, numbers, text, + - * / // %, comparisons (also chained), in, and, or, not, abs, min and
    max, and nothing else. A comparison with a parameter that is not set, or with what is divided by one that
    is 0, is false.
    """

    def __init__(self, text: str) -> None:
        """BadInput when the text is no such condition."""
        self.text = text
        self.tree = _parsed(text)
        self.names = frozenset(_names(text, self.tree))

    def holds(self, columns: Mapping[str, Any], count: int) -> NDArray[np.bool_]:
        """For each of `count` combinations whether it holds; columns: parameter → array, or one value for
        all. BadInput for an unknown name, or for kinds that do not go together."""
        unknown = self.names - columns.keys()
        if unknown:
            raise BadInput("where", f"{self.text!r}: no parameter {min(unknown)}; there are {_list(columns)}")
        try:
            with np.errstate(all="ignore"):
                found = np.asarray(_value(self.tree, columns))
        except (TypeError, ValueError, OverflowError) as error:
            raise BadInput("where", f"{self.text!r} cannot be told: {error}") from None
        if found.dtype != np.bool_:
            raise BadInput("where", f"{self.text!r} is no condition, such as fast_period < slow_period")
        return np.broadcast_to(found, (count,))


def _parsed(text: str) -> ast.expr:
    if len(text) > LONGEST:
        raise BadInput("where", f"{text[:40]!r}… is longer than {LONGEST} characters")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise BadInput(
            "where", f"{text!r} is no condition between parameters, such as fast_period < slow_period"
        ) from None


def _names(text: str, node: ast.expr, depth: int = 0) -> list[str]:
    """The parameters it reads; BadInput when there is anything in it that the grammar has not."""
    if depth > 40:
        raise BadInput("where", f"{text!r} is nested too deeply")
    match node:
        case ast.Name(id=name):
            return [name]
        case ast.Constant(value=bool() | str()):
            return []
        case ast.Constant(value=int() | float() as number) if abs(number) <= LARGEST:
            return []
        case ast.BoolOp(values=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts):
            pass
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=one):
            parts = [one]
        case ast.BinOp(op=ast.Div() | ast.FloorDiv() | ast.Mod(), right=ast.Constant(value=0)):
            raise BadInput("where", f"{text!r}: {ast.unparse(node)[:60]!r} divides by zero")
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _ARITHMETIC:
            parts = [left, right]
        case ast.Compare(left=left, ops=signs, comparators=others) if all(
            type(s) in _COMPARISONS for s in signs
        ):
            parts = [left, *others]
        case ast.Call(func=ast.Name(id="abs"), args=[_] as parts, keywords=[]):
            pass
        case ast.Call(func=ast.Name(id="min" | "max"), args=[_, _] as parts, keywords=[]):
            pass
        case _:
            raise BadInput("where", f"{text!r}: {ast.unparse(node)[:60]!r} is not allowed in a constraint")
    return [name for part in parts for name in _names(text, part, depth + 1)]


def _value(node: ast.expr, columns: Mapping[str, Any]) -> Any:
    match node:
        case ast.Name(id=name):
            return columns[name]
        case ast.Constant(value=value):
            return value
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return [_value(part, columns) for part in parts]
        case ast.UnaryOp(op=ast.Not(), operand=one):
            return np.logical_not(_value(one, columns))
        case ast.UnaryOp(op=ast.USub(), operand=one):
            return -_value(one, columns)
        case ast.UnaryOp(operand=one):
            return _value(one, columns)
        case ast.BinOp(left=left, op=sign, right=right):
            return _ARITHMETIC[type(sign)](np.asarray(_value(left, columns)), _value(right, columns))
        case ast.BoolOp(op=joined, values=parts):
            join = np.logical_and if isinstance(joined, ast.And) else np.logical_or
            return join.reduce(np.broadcast_arrays(*(_value(part, columns) for part in parts)))
        case ast.Call(func=ast.Name(id=name), args=parts):
            return _FUNCTIONS[name](*(_value(part, columns) for part in parts))
        case ast.Compare(left=left, ops=signs, comparators=others):
            values = [_value(part, columns) for part in (left, *others)]
            return _chained([type(sign) for sign in signs], values)
    raise AssertionError(f"{ast.dump(node)} went through the grammar")


def _chained(signs: list[type[ast.cmpop]], values: list[Any]) -> Any:
    held: Any = np.True_
    for sign, left, right in zip(signs, values, values[1:], strict=False):
        held = held & _COMPARISONS[sign](np.asarray(left), right)
    return held


def _list(columns: Mapping[str, Any]) -> str:
    return ", ".join(columns)
