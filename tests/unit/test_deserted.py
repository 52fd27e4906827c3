"""Databases whose home is gone are found; those in use, moved ones and strange folders are not."""

from pathlib import Path

import pytest

from cli.stack.deserted import deserted, sign


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """Where the databases of root's homes lie."""
    folder = tmp_path / "system"
    folder.mkdir()
    return folder


def _made(system: Path, home: Path, name: str) -> Path:
    folder = system / name
    folder.mkdir()
    home.mkdir()
    (home / "postgres").symlink_to(folder)
    sign(folder, home)
    return folder


def test_a_deleted_home_leaves_its_database(system, tmp_path):
    """Also one that was deleted and made again, with a database of its own."""
    _made(system, tmp_path / "kept", "a")
    for name in ("gone", "again"):
        folder = _made(system, tmp_path / name, f"of-{name}")
        (tmp_path / name / "postgres").unlink()
        (tmp_path / name).rmdir()
        assert folder in deserted(system)
    _made(system, tmp_path / "again", "new")
    assert [folder.name for folder in deserted(system)] == ["of-again", "of-gone"]


def test_a_moved_home_is_known_again_after_its_start(system, tmp_path):
    """Its link goes along; the database learns the new place when it is signed."""
    folder = _made(system, tmp_path / "old", "a")
    (tmp_path / "old").rename(tmp_path / "new")
    assert list(deserted(system)) == [folder]
    sign(folder, tmp_path / "new")
    assert list(deserted(system)) == []


def test_what_is_not_signed_is_nobodys_business(system, tmp_path):
    """Programs, and a system folder that is not there."""
    (system / "pgsql-18").mkdir()
    assert list(deserted(system)) == []
    assert list(deserted(tmp_path / "nowhere")) == []
