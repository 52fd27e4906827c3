"""Where compiled kernels are kept. Import `njit` from here, before anything of numba's is decorated.

Numba keeps compiled code beside its source and notices when that file changes, but not when another one
changes whose functions were compiled in. So the code is kept under a name made of all kernel sources.
"""

import os
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.dispatcher import Dispatcher
from numba.extending import intrinsic
from numpy.typing import NDArray

Floats = NDArray[np.float64]
F = TypeVar("F", bound=Callable[..., Any])
SOURCES = (
    Path(__file__),
    Path(__file__).parent / "account.py",
    Path(__file__).parent / "exits.py",
    Path(__file__).parent / "filling.py",
    Path(__file__).parent / "gate.py",
    Path(__file__).parent / "orders.py",
    Path(__file__).parents[1] / "sweep" / "walk.py",
    Path(__file__).parents[1] / "sweep" / "events.py",
    Path(__file__).parents[1] / "sweep" / "machine.py",
    Path(__file__).parents[1] / "sweep" / "operations.py",
    Path(__file__).parents[1] / "sweep" / "prices.py",
    Path(__file__).parents[1] / "sweep" / "rolling.py",
)


def cache_folder() -> Path:
    """The folder for the sources as they are now."""
    digest = sha256(b"".join(source.read_bytes() for source in SOURCES)).hexdigest()[:12]
    return Path(__file__).parent / "__pycache__" / f"kernels-{digest}"


numba.config.CACHE_DIR = str(cache_folder())
# Threads that are done sleep. By default they ask for more for some milliseconds, on a core that Polars, or
# another process, could have.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def njit(function: F) -> F:
    """Compile for one thread, beside which others run; kept on disk."""
    return cast(F, numba.njit(cache=True, error_model="numpy", nogil=True)(function))


def njit_inlined(function: F) -> F:
    """Compile into its callers: with a dozen arrays as arguments the call costs more than the work."""
    return cast(F, numba.njit(cache=True, error_model="numpy", forceinline=True)(function))


def njit_parallel(function: F) -> F:
    """Compile for all cores (`numba.prange`), kept on disk."""
    return cast(F, numba.njit(cache=True, error_model="numpy", parallel=True)(function))


SHORT = 50_000
"""Bars that are walked by Python in less time than it takes to load a compiled walk, some 1.5 s."""
_walked: Counter[Any] = Counter()


def chosen(kernel: F, bars: int) -> F:
    """The kernel; or the function that it was written as, unless it is loaded already or this process walked
    so many bars with it that loading would have paid."""
    dispatcher: Any = kernel
    _walked[kernel] += bars
    if dispatcher.signatures or _walked[kernel] > SHORT:
        return kernel
    return _quiet(cast(F, interpreted(kernel)))


@lru_cache
def interpreted(kernel: Any) -> Any:
    """A kernel as plain Python, with all that it calls: the same numbers, without anything to load."""
    function = kernel.py_func
    names = {
        name: interpreted(value) if isinstance(value, Dispatcher) else value
        for name, value in function.__globals__.items()
        if name in function.__code__.co_names
    }
    made = FunctionType(function.__code__, {**function.__globals__, **names}, function.__name__)
    made.__defaults__ = function.__defaults__
    return made


def _quiet(function: F) -> F:
    """Divides by zero without a word, as compiled code does."""

    def called(*arguments: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*arguments)

    return cast(F, called)


def _borrowed(typing: Any, array: Any) -> Any:
    def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = cgutils.create_struct_proxy(array)(context, builder, value=arguments[0])
        found.meminfo = cgutils.get_null_value(found.meminfo.type)
        found.parent = cgutils.get_null_value(found.parent.type)
        return found._getvalue()

    return array(array), made


borrowed: Callable[[Any], Any] = intrinsic(_borrowed)
"""In a kernel: the same array without an owner. Numba counts references to an array wherever it is passed on,
in atomic steps that cost more than a trade (375 ns of one, 23 without); to what is borrowed it counts none.
The caller keeps the array alive: never borrow what the kernel made itself."""


def _sides(typing: Any, first: Any, second: Any, begin: Any) -> Any:
    def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, word, eight = ir.IntType(8), ir.IntType(64), ir.VectorType(ir.DoubleType(), 8)
        found = [word(0), word(0)]
        for k in range(8):
            lines = []
            for line, kind in zip(arguments, signature.args[:2], strict=False):
                data = context.make_array(kind)(context, builder, value=line).data
                at = builder.gep(data, [builder.add(arguments[2], word(8 * k))])
                eight_at = builder.bitcast(at, eight.as_pointer())
                lines.append(builder.load(eight_at, align=8, typ=eight))
            for n, sign in enumerate((">", "<")):
                flags = builder.bitcast(builder.fcmp_ordered(sign, *lines), byte)
                shifted = builder.shl(builder.zext(flags, word), word(8 * k))
                found[n] = builder.or_(found[n], shifted)
        return context.make_tuple(builder, signature.return_type, found)

    words = types.UniTuple(types.uint64, 2)  # type: ignore[attr-defined]
    return words(first, second, types.int64), made


sides: Callable[[Floats, Floats, int], tuple[np.uint64, np.uint64]] = intrinsic(_sides)
"""In a kernel: of 64 candles from `begin` on a bit each where `first` is above `second`, and where below. The
compiler packs comparisons of floats into bytes, which takes longer than to compare them."""


def _lowest(typing: Any, word: Any) -> Any:
    def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(1))

    return types.int64(types.uint64), made


lowest: Callable[[np.uint64], int] = intrinsic(_lowest)
"""In a kernel: the place of the lowest bit of a word that is not 0."""


def _highest(typing: Any, word: Any) -> Any:
    def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.sub(ir.IntType(64)(63), builder.ctlz(arguments[0], ir.IntType(1)(1)))

    return types.int64(types.int64), made


highest: Callable[[int], int] = intrinsic(_highest)
"""In a kernel: the place of the highest bit of a number above 0."""
