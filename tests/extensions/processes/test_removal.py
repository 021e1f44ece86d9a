"""Private directories are removed whatever is in them (EXT-41)."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.extensions.processes.arrange import descriptors, opened, settled, spec, underway
from web4.extensions.processes.removal import Removal

if TYPE_CHECKING:
    from pathlib import Path


def removed(path: Path, step: int = 100) -> int:
    removal = Removal(str(path))
    steps = 1
    while not removal.step(step):
        steps += 1
    return steps


def deepen(path: Path, levels: int) -> None:
    here = os.open(".", os.O_RDONLY)
    os.chdir(path)
    for _ in range(levels):
        os.mkdir("d")
        os.chdir("d")
    os.fchdir(here)
    os.close(here)


@pytest.mark.parametrize("levels", [0, 1, 31, 32, 33, 65, 1001])
def test_any_depth(levels: int, tmp_path: Path) -> None:
    """Deeper than Python's stack, and than the descriptors that are open for it."""
    place = tmp_path / "place"
    place.mkdir()
    deepen(place, levels)
    before = descriptors()
    removed(place)
    assert not place.exists()
    assert descriptors() == before


def test_each_step_is_bounded(tmp_path: Path) -> None:
    place = tmp_path / "place"
    (place / "many").mkdir(parents=True)
    for number in range(500):
        (place / "many" / str(number)).touch()
    assert 5 <= removed(place, 100) <= 8


def test_what_it_links_to_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    place = tmp_path / "place"
    (place / "inner").mkdir(parents=True)
    for where in (place, place / "inner"):
        (where / "directory").symlink_to(kept)
        (where / "dangling").symlink_to("nowhere")
        (where / "loop").symlink_to(".")
        os.mkfifo(where / "fifo")
        os.link(kept / "file", where / "hard")
    removed(place)
    assert not place.exists()
    assert (kept / "file").read_text() == "x"


def test_a_place_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (tmp_path / "place").symlink_to(kept)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        removed(tmp_path / "place")
    assert (kept / "file").exists()
    assert removed(tmp_path / "missing") == 1


def test_names_no_text_can_hold(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    for name in (b"\xff\xfe", b"\n", b" ", b"x" * 255, "é".encode()):
        with suppress(OSError):
            os.mkdir(os.fsencode(place) + b"/" + name)
    removed(place)
    assert not place.exists()


def test_stopping_in_the_middle_gives_descriptors_back(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    deepen(place, 40)
    before = descriptors()
    removal = Removal(str(place))
    assert not removal.step(30)
    removal.close()
    assert descriptors() == before
    removed(place)


async def test_a_large_directory_does_not_hold_the_node_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is removed off the Trio thread, and the end of the worker does not wait for it."""
    asked_by: set[threading.Thread] = set()
    step = Removal.step

    def watched(removal: Removal, entries: int) -> bool:
        asked_by.add(threading.current_thread())
        return step(removal, entries)

    monkeypatch.setattr(Removal, "step", watched)
    async with opened(tmp_path) as processes:
        worker = await processes.start(spec("litter", level="none", environment={"MANY": "1000"}))
        await underway(worker)
        worker.close()
        await worker.wait()
        other = await processes.start(spec())
        other.close()
        await settled(processes)
        assert not os.path.exists(worker.tmp)
        assert asked_by
        assert threading.current_thread() not in asked_by
