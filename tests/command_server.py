"""Many commands of `tcp`, each in a child of a process that has imported what they need: a second less each.

`python -m tests.command_server` reads a JSON list of arguments a line, and answers with exit code and output.
"""

import importlib
import json
import os
import sys
import tempfile
import traceback

PRELOADED = (
    "alembic.command",
    "cli.backtest",
    "cli.problems",
    "cli.stack.doctor",
    "cli.stack.ensure",
    "cli.sweep",
    "pipelines.backtest.run",
    "pipelines.sweep.run",
    "pipelines.warehouse.bots",
    "polars",
    "sqlalchemy.dialects.postgresql.psycopg",
    "strategies.catalogue",
)


def main() -> None:
    """Until the end of the input."""
    for name in PRELOADED:
        importlib.import_module(name)
    for line in sys.stdin:
        with tempfile.TemporaryFile() as output:
            code = run(json.loads(line), output.fileno())
            output.seek(0)
            text = output.read().decode(errors="replace")
        sys.stdout.write(json.dumps({"code": code, "output": text}) + "\n")
        sys.stdout.flush()


def run(arguments: list[str], output: int) -> int:
    """The exit code of one command, whose streams both go to a file descriptor."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        from cli.main import main as tcp

        tcp(arguments)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
