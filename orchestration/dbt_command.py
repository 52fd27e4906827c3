"""Running dbt: its connection as environment, all it writes under TCP_HOME/dbt. Knows no Dagster."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sqlalchemy.engine import make_url

from config.settings import PROJECT_ROOT
from core.errors import Unavailable

PROJECT = PROJECT_ROOT / "dbt_project"


def connection_environment(database_url: str) -> dict[str, str]:
    """The variables that `dbt_project/profiles.yml` reads, of a `postgresql+psycopg://…` URL.

    The host may be a socket folder (`?host=/run/postgresql`). dbt keeps the value of a variable that begins
    with DBT_ENV_SECRET_ out of its logs.
    """
    url = make_url(database_url)
    environment = {
        "TCP_DBT_HOST": url.host or _query(url.query, "host", "127.0.0.1"),
        "TCP_DBT_PORT": str(url.port or _query(url.query, "port", "5432")),
        "TCP_DBT_USER": url.username or "tcp",
        "DBT_ENV_SECRET_TCP_PASSWORD": url.password or "",
        "TCP_DBT_DBNAME": url.database or "tcp",
    }
    if "sslmode" in url.query:
        environment["TCP_DBT_SSLMODE"] = _query(url.query, "sslmode", "prefer")
    return environment


def _query(query: Mapping[str, str | tuple[str, ...]], key: str, otherwise: str) -> str:
    value = query.get(key, otherwise)
    return value if isinstance(value, str) else value[0]


def dbt_executable() -> str:
    """The `dbt` that pip put beside this interpreter; PATH need not name it."""
    beside = Path(sys.executable).parent / "dbt"
    return str(beside) if beside.exists() else "dbt"


def dbt_environment(home: Path, database_url: str | None) -> dict[str, str]:
    """This process's environment for a dbt that writes only under `home`/dbt.

    Without `database_url` dbt can parse, but not connect.
    """
    return {
        **os.environ,
        **({} if database_url is None else connection_environment(database_url)),
        "DBT_PROFILES_DIR": str(PROJECT),
        "DBT_LOG_PATH": str(home / "dbt" / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }


def run_dbt(
    arguments: Sequence[str],
    home: Path,
    database_url: str | None,
    target: str = "target",
    may_fail: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run `dbt ARGUMENTS`; its artifacts go to `home`/dbt/`target`. When it fails, and may not, Unavailable
    carries its last lines."""
    home = home.resolve()
    (home / "dbt").mkdir(parents=True, exist_ok=True)
    finished = subprocess.run(
        [dbt_executable(), *arguments, "--project-dir", str(PROJECT)],
        env={**dbt_environment(home, database_url), "DBT_TARGET_PATH": str(home / "dbt" / target)},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode and not may_fail:
        said = (finished.stdout + finished.stderr).strip().splitlines()
        raise Unavailable(f"dbt {arguments[0]} failed: " + "\n".join(said[-20:]))
    return finished


def ensure_manifest(home: Path) -> Path:
    """Path of a manifest no older than the project's files, parsed now (about 3 s, no database) if need be.

    Several processes may ask at once: each parses into a folder of its own and renames the result into place.
    """
    home = home.resolve()
    manifest = home / "dbt" / "manifest.json"
    newest = max(path.stat().st_mtime for path in _project_files())
    if manifest.exists() and manifest.stat().st_mtime >= newest:
        return manifest
    own = f"parse-{os.getpid()}"
    try:
        run_dbt(["parse", "--quiet"], home, None, own)
        (home / "dbt" / own / "manifest.json").replace(manifest)
    finally:
        shutil.rmtree(home / "dbt" / own, ignore_errors=True)
    return manifest


def _project_files() -> Iterator[Path]:
    yield from (PROJECT / name for name in ("dbt_project.yml", "profiles.yml"))
    for folder in ("models", "macros", "tests"):
        yield from (path for path in (PROJECT / folder).rglob("*") if path.suffix in {".sql", ".yml", ".md"})
