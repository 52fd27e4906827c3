"""Strategies in files: found in folders, loaded, and loaded anew when a file has changed.

Two folders: the package `strategies` and the user's own, whose files are the modules of `my_strategies` and
may import each other by that name. A file that cannot be loaded is a `Problem` with its line; whatever the
other files define stays usable. A name that two files define is refused, not guessed.

A changed file is in force at the next look: the next backtest, check or sweep, also in a service that runs
for weeks. A bot keeps the object it began with until its process starts again. Only files that define
strategies are loaded anew in the package; all files are in the user's folder.
"""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import FileFinder, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from inspect import getsourcefile, getsourcelines, isabstract
from pathlib import Path
from threading import RLock, current_thread, main_thread
from types import CodeType, ModuleType

from core.errors import BadInput
from strategies.base import Strategy, snake_case

LOAD_S = 20.0
"""Longest time to load a file."""
SHIPPED = "strategies"
OWN = "my_strategies"

_Version = tuple[int, int]
_Listing = dict[str, _Version]
_Found = dict[str, type[Strategy]]
_Places = dict[str, list[tuple[Path, type[Strategy]]]]


@dataclass(frozen=True)
class Problem:
    """A file that cannot be loaded, where, and why. is_slow: it took too long"""

    path: Path
    line: int | None
    message: str
    is_slow: bool = False

    def __str__(self) -> str:
        return f"{place(self.path, self.line)}: {self.message}"


class Catalogue:
    """The strategies of the package and of a user's folder.

    on_load: called with the path of each file before it is loaded

    Parameters
    ----------
    own: the user's folder; need not exist. None: only the package
    shipped: the package's folder
    load_s: longest time to load a file of the user's, kept in a process's main thread alone
    """

    def __init__(
        self, own: Path | None, shipped: Path = Path(__file__).parent, load_s: float = LOAD_S
    ) -> None:
        self.on_load: Callable[[Path], None] = _ignore
        self._load_s = load_s
        self._folders = {SHIPPED: shipped}
        if own is not None and own.resolve() != shipped.resolve():
            self._folders[OWN] = own.resolve()
        self._listed: dict[str, _Listing] = {}
        self._found: dict[Path, _Found] = {}
        self._broken: dict[Path, Problem] = {}
        self._places_seen: _Places = {}
        self._lock = RLock()

    @property
    def own_folder(self) -> Path:
        """The user's folder; the package's where there is no other."""
        return self._folders.get(OWN, self._folders[SHIPPED])

    def classes(self) -> dict[str, type[Strategy]]:
        """Name → class of every strategy that one file alone defines, sorted by name."""
        return {name: places[0][1] for name, places in self._places().items() if len(places) == 1}

    def shipped(self) -> list[str]:
        """Names of the strategies of the package, sorted."""
        with self._lock:
            shipped = self._folders[SHIPPED]
            everything = [
                (path.parent, name) for name, places in self._places().items() for path, _ in places
            ]
            return [name for folder, name in everything if folder == shipped]

    def problems(self) -> list[str]:
        """A line for each file that cannot be loaded and each name that is defined twice."""
        clashes = [_clash(name, places) for name, places in self._places().items() if len(places) > 1]
        return [*(str(problem) for problem in self._broken.values()), *clashes]

    def slow(self) -> list[str]:
        """A line for each file that took too long to load, as it does in every process that asks."""
        self._places()
        return [str(problem) for problem in self._broken.values() if problem.is_slow]

    def find(self, name: str) -> type[Strategy]:
        """The class of that name, in any of its spellings; BadInput says what is wrong with it, or lists the
        names there are."""
        places = self._places()
        wanted = next((known for known in (snake_case(name), name.lower()) if known in places), None)
        if wanted is not None and len(places[wanted]) == 1:
            return places[wanted][0][1]
        if wanted is not None:
            raise BadInput("strategy", _clash(wanted, places[wanted]))
        for problem in self._broken.values():
            if problem.path.stem in (snake_case(name), name.lower()):
                raise BadInput(place(problem.path, problem.line), problem.message)
        broken = "".join(f"; {problem}" for problem in self._broken.values())
        raise BadInput("strategy", f"{name!r} is not known; there are {', '.join(places)}{broken}")

    def _places(self) -> _Places:
        with self._lock:
            if self._refresh():
                places: _Places = {}
                for path, found in self._found.items():
                    for name, strategy in found.items():
                        places.setdefault(name, []).append((path, strategy))
                self._places_seen = dict(sorted(places.items()))
            return self._places_seen

    def _refresh(self) -> bool:
        """Load what is new or changed, forget what is gone; whether there was any."""
        anything = False
        for package, folder in self._folders.items():
            now, before = _listing(folder), self._listed.get(package, {})
            if now == before:
                continue
            anything = True
            changed = {name for name, version in now.items() if before.get(name) != version}
            for name in before.keys() - now.keys():
                self._found.pop(folder / name, None)
                self._broken.pop(folder / name, None)
            if package == OWN:
                _open_package(folder)
                changed = set(now)  # they may import each other
            for name in sorted(changed):
                self._load(package, folder / name, again=name in before)
            self._listed[package] = now
        return anything

    def _load(self, package: str, path: Path, again: bool) -> None:
        name = f"{package}.{path.stem}"
        if again and package == SHIPPED and not (self._found.get(path) or path in self._broken):
            return
        self.on_load(path)
        try:
            with _at_most(self._load_s) if package == OWN else nullcontext():
                module = _load_anew(name, path) if again and package == SHIPPED else import_module(name)
        except (Exception, SystemExit) as error:
            self._found.pop(path, None)
            self._broken[path] = Problem(
                path, line_of(error, path), said(error), isinstance(error, TimeoutError)
            )
            return
        self._broken.pop(path, None)
        self._found[path] = _defined(module)


def _ignore(path: Path) -> None:
    """Nobody wants to know."""


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """TimeoutError where the inside takes longer; only in the main thread, as others get no signals."""

    def over(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds:g} s to load")

    if current_thread() is not main_thread():
        yield
        return
    began, handler = time.monotonic(), signal.signal(signal.SIGALRM, over)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
        if left:  # somebody else waits for it too
            signal.setitimer(signal.ITIMER_REAL, max(left - time.monotonic() + began, 0.001), interval)


class _SourceLoader(SourceFileLoader):
    """Compiles the text that is there: bytecode files tell changes by the second, and people type faster."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return compile(self.get_data(path), path, "exec", dont_inherit=True)


def _open_package(folder: Path) -> None:
    """Make the folder the package `my_strategies`, with nothing of it loaded yet."""
    for name in [name for name in sys.modules if name == OWN or name.startswith(f"{OWN}.")]:
        del sys.modules[name]
    package = ModuleType(OWN)
    package.__path__ = [str(folder)]
    sys.modules[OWN] = package
    sys.path_importer_cache[str(folder)] = FileFinder(str(folder), (_SourceLoader, [".py"]))


def _load_anew(name: str, path: Path) -> ModuleType:
    spec = spec_from_file_location(name, path, loader=_SourceLoader(name, str(path)))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if before is not None:
            sys.modules[name] = before
        raise
    return module


def _listing(folder: Path) -> _Listing:
    """The modules of a folder by name."""
    found: _Listing = {}
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return found
    with entries:
        for entry in entries:
            if entry.name.endswith(".py") and entry.name[0] not in "._":
                with suppress(FileNotFoundError):  # removed between listing and looking
                    status = entry.stat()
                    found[entry.name] = status.st_mtime_ns, status.st_size
    return found


def _defined(module: ModuleType) -> _Found:
    return {
        value.name: value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Strategy)
        and not isabstract(value)
        and value.__module__ == module.__name__
    }


def line_of(error: BaseException, path: Path) -> int | None:
    """The line of that file where it went wrong; None if it was not there."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)


def place(path: Path, line: int | None) -> str:
    """Where in a file, for messages."""
    return str(path) if line is None else f"{path}, line {line}"


def failure(strategy: type[Strategy], error: BaseException) -> BadInput:
    """What a strategy's own code raised, with its file and line."""
    source = getsourcefile(strategy)
    line = line_of(error, Path(source)) if source else None
    where = f" at {place(Path(source), line)}" if source and line else ""
    return BadInput(f"strategy {strategy.name}", f"it failed{where}: {said(error)}")


def said(error: BaseException) -> str:
    """An exception on one line."""
    text = str(error.msg) if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {' '.join(text.split()) or 'no message'}"


def _clash(name: str, places: list[tuple[Path, type[Strategy]]]) -> str:
    where = " and ".join(place(path, _first_line(strategy)) for path, strategy in places)
    return f"{name!r} is defined twice, in {where}: rename one of the classes"


def _first_line(strategy: type[Strategy]) -> int | None:
    try:
        return getsourcelines(strategy)[1]
    except (OSError, TypeError):
        return None
