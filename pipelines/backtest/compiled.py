"""Where compiled kernels are kept. Import `njit` from here, before anything of numba's is decorated.

Numba keeps compiled code beside its source and notices when that file changes, but not when another one
changes whose functions were compiled in. So the code is kept under a name made of all kernel sources.
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

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
