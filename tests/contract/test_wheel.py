"""The wheel: it builds, and what is unpacked from it works."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from config.settings import PROJECT_ROOT

PACKAGES = (
    "cli",
    "config",
    "core",
    "dashboards",
    "dbt_project",
    "live",
    "orchestration",
    "pipelines",
    "strategies",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that nothing of an earlier build gets in."""
    source = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(
            PROJECT_ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "target", "logs")
        )
    for name in ("pyproject.toml", "README.md"):
        shutil.copyfile(PROJECT_ROOT / name, source / name)
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "-w", str(source))
    command = [sys.executable, "-m", "pip", "wheel", *options, str(source)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (found,) = source.glob("*.whl")
    return found


def test_it_has_the_files_beside_the_code(wheel: Path) -> None:
    """Migrations, what pages load, schemas, models and configurations, and no test."""
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(["git", "ls-files", *PACKAGES], cwd=PROJECT_ROOT, capture_output=True, text=True)
    if tracked.returncode == 0:
        wanted = {name for name in tracked.stdout.splitlines() if not Path(name).name.startswith(".")}
        assert wanted - names == set()
    assert "config/dagster/dagster.yaml" in names
    assert not any(name.startswith("tests/") or name.endswith(".pyc") for name in names)


def test_command_runs_from_it(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, it lists the strategies that ship and their files."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "TCP_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-P", "-c", "from cli.main import main; main()", "strategies", "list"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "ema_crossover" in ran.stdout
