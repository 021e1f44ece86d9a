"""Where a run keeps what it makes, and how it knows what a dead one left (EXT-41)."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.extensions.processes.arrange import descriptors, groups
from tests.extensions.processes.sharing import shared_templates  # noqa: F401 - a fixture
from web4.extensions.errors import WorkerStartError
from web4.extensions.processes.runtime import Leftovers, Runtime

if TYPE_CHECKING:
    from pathlib import Path


def test_only_dead_runs_are_removed(tmp_path: Path) -> None:
    """What else lies in the directory is nobody's business here."""
    before = descriptors()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    (tmp_path / "run-file").write_text("x")
    (tmp_path / "run-link").symlink_to(tmp_path / "precious")
    dead = tmp_path / "run-dead"
    (dead / "tmp" / "worker" / "deep").mkdir(parents=True)
    (dead / "tmp" / "worker" / "deep" / "file").write_text("x")
    (dead / "groups").write_text(f"{tmp_path / 'precious'}\n/sys/fs/cgroup\n")
    (tmp_path / "run-hardly-begun").mkdir()
    living = Runtime(tmp_path, "living")
    beside = Runtime(tmp_path, "beside")
    assert living.remove_leftovers() == Leftovers(2, 1, 0)
    assert beside.remove_leftovers() == Leftovers(0, 0, 0)
    assert not dead.exists()
    assert (tmp_path / "run-living" / "tmp").exists()
    for one in (living, beside):
        one.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "precious", "run-file", "run-link"]
    assert (tmp_path / "precious" / "file").exists()
    assert not [one for one in groups() if "run-living" in one]
    assert descriptors() == before


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a directory that all share, anybody can have made ours first."""
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    place = tmp_path / f"web4-{os.getuid()}"
    place.symlink_to(tmp_path)
    with pytest.raises(WorkerStartError, match="not a directory of this user"):
        Runtime(None, "one")
    place.unlink()
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(WorkerStartError, match="others may write"):
        Runtime(None, "one")
    place.rmdir()
    Runtime(None, "one").close()
    assert place.stat().st_mode & 0o777 == 0o711
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkerStartError, match="cannot be used"):
        Runtime(tmp_path / "file" / "below", "one")


def test_a_private_directory_is_its_user_s_alone(tmp_path: Path) -> None:
    runtime = Runtime(tmp_path, "one")
    before = os.umask(0)
    try:
        made = runtime.make_tmp("worker", None)
    finally:
        os.umask(before)
    assert os.stat(made).st_mode & 0o777 == 0o700
    assert os.stat(os.path.dirname(made)).st_mode & 0o777 == 0o711
    if os.getuid() == 0:
        assert os.stat(runtime.make_tmp("other", (1234, 1235))).st_uid == 1234
    runtime.close()
