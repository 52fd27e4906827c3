"""Where compiled kernels are kept. Import `njit` from here, before anything of numba's is decorated.

Numba keeps compiled code beside its source and notices when that file changes, but not when another one
changes whose functions were compiled in. So the code is kept under a name made of all kernel sources.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import cgutils
from numba.extending import intrinsic

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
)


def cache_folder() -> Path:
    """The folder for the sources as they are now."""
    digest = sha256(b"".join(source.read_bytes() for source in SOURCES)).hexdigest()[:12]
    return Path(__file__).parent / "__pycache__" / f"kernels-{digest}"


numba.config.CACHE_DIR = str(cache_folder())


def njit(function: F) -> F:
    """Compile for one thread, kept on disk."""
    return cast(F, numba.njit(cache=True, error_model="numpy")(function))


def njit_inlined(function: F) -> F:
    """Compile into its callers: with a dozen arrays as arguments the call costs more than the work."""
    return cast(F, numba.njit(cache=True, error_model="numpy", forceinline=True)(function))


def njit_parallel(function: F) -> F:
    """Compile for all cores (`numba.prange`), kept on disk."""
    return cast(F, numba.njit(cache=True, error_model="numpy", parallel=True)(function))


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
