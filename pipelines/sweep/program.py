"""From formulas to code of the `machine`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.backtest.account import Floats, Ints
from pipelines.sweep.formula import Node

CODE, NUMBERS = 5, 2
SERIAL = ("smooth", "seeded", "follow")
"""Operations that take long: each candle waits for the one before."""


def parts_of(roots: Sequence[Node], known: Mapping[bytes, int]) -> list[Node]:
    """All parts of some formulas, each once and after what it is made of; what is `known` already comes
    without its own parts."""
    order: dict[bytes, Node] = {}
    waiting = [(root, False) for root in reversed(roots)]
    while waiting:
        node, made = waiting.pop()
        if node.key in order:
            continue
        if made or node.key in known or not node.args:
            order[node.key] = node
            continue
        waiting.append((node, True))
        waiting.extend((arg, False) for arg in reversed(node.args))
    return list(order.values())


@dataclass
class Program:
    """Code of one or several formulas. registers, conditions: how many it needs."""

    code: list[tuple[int, ...]] = field(default_factory=list)
    numbers: list[tuple[float, float]] = field(default_factory=list)
    registers: int = 1
    conditions: int = 2


class _Registers:
    """Numbers that are given out, from `most` on, and taken back."""

    def __init__(self, most: int = 0) -> None:
        self._free: list[int] = []
        self.most = most

    def take(self) -> int:
        return self._free.pop() if self._free else self.fresh()

    def fresh(self) -> int:
        self.most += 1
        return self.most - 1

    def give(self, number: int) -> None:
        self._free.append(number)


def to_column(root: Node, rows: Mapping[bytes, int]) -> Program:
    """A program that writes a formula to its row of the columns."""
    return _Compiler(rows, root).compiled([root])


def to_signals(buy: Node, sell: Node, rows: Mapping[bytes, int]) -> Program:
    """A program whose first two conditions are `buy` and `sell`. rows: of what is in a column already."""
    return _Compiler(rows, None).compiled([buy, sell], flags=True)


def _serial_last(order: Sequence[Node]) -> list[Node]:
    """Recursions next to each other, where they do not wait for each other: the machine takes two at once."""
    depth: dict[bytes, int] = {}
    for node in order:
        below = max((depth.get(arg.key, 0) for arg in node.args), default=0)
        depth[node.key] = below + (node.op in SERIAL)
    return sorted(order, key=lambda node: (depth[node.key], node.op not in SERIAL))


class _Compiler:
    def __init__(self, rows: Mapping[bytes, int], target: Node | None) -> None:
        self._rows, self._target = rows, target
        self._program = Program()
        self._floats, self._flags = _Registers(), _Registers(2)
        self._place: dict[bytes, int] = {}
        self._uses: dict[bytes, int] = {}

    def compiled(self, roots: Sequence[Node], flags: bool = False) -> Program:
        """The program of these formulas."""
        known = {key: row for key, row in self._rows.items() if not self._target or key != self._target.key}
        order = _serial_last(parts_of(roots, known))
        for node in order:
            for arg in () if node.key in known else node.args:
                self._uses[arg.key] = self._uses.get(arg.key, 0) + 1
        for root in roots:
            self._uses[root.key] = self._uses.get(root.key, 0) + 1
        for node in order:
            if node.key in known:
                self._place[node.key] = known[node.key]
            else:
                self._emit(node)
        program = self._program
        if flags:  # "or" with itself is a copy
            from pipelines.sweep.operations import OR

            places = [self._place[root.key] for root in roots]
            program.code.extend((OR, n, place, place, place) for n, place in enumerate(places))
            program.numbers.extend([(0.0, 0.0)] * len(places))
        program.registers, program.conditions = max(1, self._floats.most), self._flags.most
        return program

    def _emit(self, node: Node) -> None:
        from pipelines.sweep.operations import OPERATIONS

        name = f"{node.op}condition" if node.op in ("when", "shift") and node.condition else node.op
        places = [self._place[arg.key] for arg in node.args]
        to = self._target_of(node)  # before its operands are given back: it is never one of them
        self._place[node.key] = to
        for arg in {arg.key: arg for arg in node.args}.values():
            self._release(arg, node)
        a, b, c = (*places, *([places[0] if places else to] * (3 - len(places))))
        one, two = (*(float(value) for value in node.numbers), 0.0, 0.0)[:2]
        self._program.code.append((OPERATIONS.index(name), to, a, b, c))
        self._program.numbers.append((one, two))

    def _target_of(self, node: Node) -> int:
        if node.condition:
            return self._flags.take()
        if self._target is not None and node.key == self._target.key:
            return self._rows[node.key]
        # A number is written once, not once a block: nothing else may be where it is.
        return -1 - (self._floats.fresh() if node.constant else self._floats.take())

    def _release(self, arg: Node, user: Node) -> None:
        self._uses[arg.key] -= sum(other.key == arg.key for other in user.args)
        place = self._place[arg.key]
        if self._uses[arg.key] or arg.constant:
            return
        if arg.condition:
            self._flags.give(place)
        elif place < 0:
            self._floats.give(-1 - place)


def joined(programs: Sequence[Program]) -> tuple[Ints, Floats, Ints, int, int]:
    """Code, numbers, where each program begins (and the last ends), and the most registers and conditions
    that one of them needs."""
    code = np.array([row for program in programs for row in program.code], np.int64).reshape(-1, CODE)
    numbers = np.array([row for program in programs for row in program.numbers]).reshape(-1, NUMBERS)
    starts = np.cumsum([0, *(len(program.code) for program in programs)])
    registers = max(program.registers for program in programs)
    conditions = max(program.conditions for program in programs)
    return code, numbers, starts.astype(np.int64), registers, conditions


def inputs(nodes: Sequence[Node]) -> Iterator[Node]:
    """Those of which another needs the whole column: its past is further away than a block."""
    for node in nodes:
        if node.op in ("rolling", "streak") or (node.op == "shift" and not node.condition):
            yield node.args[0]
