"""The process that bots are forked from: `python -m live.bots.nursery`, started by the supervisor.

Loading the libraries of a bot takes seconds of processor time and 80 MB. The nursery does it once; a bot
is then a fork of it, running within a tenth of a second and sharing those pages. It has one thread, opens
neither sockets nor files, and loads no strategy: a bot reads those itself, so that an edited strategy is in
force when its bot is started again.

Lines of JSON. In: {"start": NAME, "log": PATH}, with "read" (live.bots.files.Order) for a process that reads
the files of bots in place of a bot. Out: {"ready": true}, {"started": NAME, "pid": PID}, or with null for a
PID and "why" when it could not be, {"ended": PID, "code": CODE} with −n for signal n. It ends when its input
does, and the bots with it.
"""

import contextlib
import gc
import os
import select
import signal
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec

from live.bots import files, runner
from live.bots.lifeline import PARENT_VARIABLE, tie_to_parent
from live.bots.runner_codes import CRASHED

CHILD_ENDED = b"\0"
_CHUNK = 65_536


class Command(msgspec.Struct, frozen=True):
    """A line of the input."""

    start: str
    log: str
    read: files.Order | None = None


class Nursery:
    """Reads commands and the ends of children from one place, one after the other."""

    def __init__(self) -> None:
        # A signal writes a byte into this pipe, so that one `select` waits for both.
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the supervisor closes the input instead

    def run(self) -> None:
        """Until the input ends."""
        self._say({"ready": True})
        for line in self._lines():
            if line is not None:
                self._start(msgspec.json.decode(line, type=Command))
            self._bury()

    def _lines(self) -> Iterator[bytes | None]:
        """Command lines; None when something else woke us."""
        pending = b""
        while True:
            readable, _, _ = select.select([sys.stdin.fileno(), self._wake_read], [], [])
            if self._wake_read in readable:
                os.read(self._wake_read, _CHUNK)
                yield None
            if sys.stdin.fileno() in readable:
                data = os.read(sys.stdin.fileno(), _CHUNK)
                if not data:
                    return
                *lines, pending = (pending + data).split(b"\n")
                yield from lines

    def _start(self, command: Command) -> None:
        own_pid = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:  # as many processes as there may be, or no memory: the others live on
            self._say({"started": command.start, "pid": None, "why": f"no process for it: {error.strerror}"})
            return
        if pid == 0:
            self._become(command, own_pid)
        self._say({"started": command.start, "pid": pid})

    def _bury(self) -> None:
        """Report every child that has ended; what it started and left ends with it."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            # As long as nobody has asked for its end, its number is nobody else's.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(ended.si_pid, signal.SIGKILL)
            pid, status = os.waitpid(ended.si_pid, 0)
            self._say({"ended": pid, "code": os.waitstatus_to_exitcode(status)})

    def _become(self, command: Command, parent: int) -> NoReturn:
        """In the child: shed everything of the nursery's and be the bot, or the reader."""
        code = CRASHED
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            output = os.open(command.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            nothing = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((nothing, 0), (output, 1), (output, 2)):
                os.dup2(source, target)
            for unused in (output, nothing, self._wake_read, self._wake_write):
                os.close(unused)
            os.environ[PARENT_VARIABLE] = str(parent)
            code = runner.run_bot(command.start) if command.read is None else files.read_files(command.read)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _say(self, message: dict[str, Any]) -> None:
        os.write(sys.stdout.fileno(), msgspec.json.encode(message) + b"\n")


def main() -> None:
    """Be the nursery of the daemon that started this process."""
    tie_to_parent()
    # Children must not touch these objects' pages while collecting garbage: they would be copied.
    gc.collect()
    gc.freeze()
    Nursery().run()


if __name__ == "__main__":
    main()
