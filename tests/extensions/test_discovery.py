"""Finding extensions: order, twins, broken ones, and nothing imported (EXT-5, EXT-6)."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.extensions.making import make_extension
from web4.extensions.errors import EnablingError, ManifestError
from web4.extensions.places import discovery, installed
from web4.extensions.places.discovery import Found, Places, discover, find
from web4.extensions.places.pinning import read_pinned

if TYPE_CHECKING:
    from pathlib import Path


def places(base: Path, **more: object) -> Places:
    return Places(
        project=str(base / "project"),
        data=str(base / "data"),
        path=(str(base / "site"),),
        **more,  # type: ignore[arg-type]
    )


def install(site: Path, project: str, *points: str) -> None:
    """What an installer writes of a wheel, as far as it announces anything."""
    info = site / f"{project}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[web4.extensions]\n" + "\n".join(points) + "\n")


def names(found: list[Found]) -> list[tuple[str, str]]:
    return [(one.place, one.name) for one in found]


def test_places_in_their_order(tmp_path: Path) -> None:
    """EXT-6: paths of the configuration, the project's, the data directory's, installed ones."""
    make_extension(tmp_path / "one", name="zeta")
    make_extension(tmp_path / "many" / "b", name="b")
    make_extension(tmp_path / "many" / "a", name="a")
    make_extension(tmp_path / "project" / ".web4" / "extensions" / "p", name="p")
    make_extension(tmp_path / "data" / "extensions" / "d", name="d")
    make_extension(tmp_path / "site" / "acme_notes", name="acme.notes")
    install(tmp_path / "site", "acme-notes", "acme.notes = acme_notes")
    found = discover(places(tmp_path, configured=(str(tmp_path / "one"), str(tmp_path / "many"))))
    assert names(found) == [
        ("configured", "zeta"),
        ("configured", "a"),
        ("configured", "b"),
        ("project", "p"),
        ("data", "d"),
        ("installed", "acme.notes"),
    ]
    assert all(one.error is None and one.manifest is not None for one in found)
    assert find(found, "d").directory == str((tmp_path / "data" / "extensions" / "d").resolve())
    with pytest.raises(EnablingError) as caught:
        find(found, "q")
    assert caught.value.code == "not_found"


def test_same_name_in_two_places_names_both(tmp_path: Path) -> None:
    """EXT-6: neither is usable, and the error says where both are."""
    one = make_extension(tmp_path / "project" / ".web4" / "extensions" / "x")
    two = make_extension(tmp_path / "data" / "extensions" / "y")
    make_extension(tmp_path / "data" / "extensions" / "z", name="z")
    found = discover(places(tmp_path))
    for twin in found[:2]:
        assert isinstance(twin.error, EnablingError)
        assert twin.error.code == "name_twice"
        assert str(one.resolve()) in str(twin.error)
        assert str(two.resolve()) in str(twin.error)
    assert found[2].error is None
    with pytest.raises(EnablingError) as caught:
        find(found, "acme.notes")
    assert caught.value.code == "name_twice"


def test_one_directory_reached_twice_counts_once(tmp_path: Path) -> None:
    real = make_extension(tmp_path / "data" / "extensions" / "x")
    (tmp_path / "project" / ".web4" / "extensions").mkdir(parents=True)
    (tmp_path / "project" / ".web4" / "extensions" / "x").symlink_to(real)
    found = discover(places(tmp_path, configured=(str(real), str(real.parent))))
    assert names(found) == [("configured", "acme.notes")]
    assert found[0].error is None


def test_broken_ones_hide_nobody(tmp_path: Path) -> None:
    """EXT-6: each is listed with its own error, and a broken twin does not disable a good one."""
    base = tmp_path / "data" / "extensions"
    make_extension(base / "bad", name="NO")
    make_extension(base / "good", name="good")
    make_extension(base / "loud", name="acme.notes", tols=[])
    make_extension(base / "notes")
    (base / "empty").mkdir()
    (base / ".hidden").mkdir()
    (base / "__pycache__").mkdir()
    (base / "file").touch()
    (base / "dangling").symlink_to("nowhere")
    found = discover(places(tmp_path, configured=(str(tmp_path / "missing"), "/dev/null", "bad\0path")))
    by_name = {one.name: one for one in found}
    assert [one.name for one in found if one.error is None] == ["good", "acme.notes"]
    assert set(by_name) == {"missing", "null", "bad?path", "bad", "good", "loud", "acme.notes", "empty"}
    assert "holds neither" in str(by_name["empty"].error)
    assert "is not there" in str(by_name["missing"].error)
    assert by_name["bad"].directory == str((base / "bad").resolve())
    with pytest.raises(ManifestError):
        find(found, "loud")


def test_a_path_that_cannot_be_shown_is_no_place(tmp_path: Path) -> None:
    """What is listed goes to terminals."""
    make_extension(tmp_path / "data" / "extensions" / "\x1b[2Jx")
    make_extension(tmp_path / "evil\u202etxt", name="other")
    (tmp_path / "data" / "extensions" / "plain").symlink_to(tmp_path / "evil\u202etxt")
    found = discover(places(tmp_path))
    assert [(one.name, one.directory, one.manifest) for one in found] == [
        ("?[2Jx", None, None),
        ("plain", None, None),
    ]
    assert all(str(one.error).isprintable() for one in found)
    with pytest.raises(ManifestError, match="plain text"):
        read_pinned(tmp_path / "data" / "extensions" / "plain")


def test_places_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "MAX_ENTRIES", 3)
    for number in range(4):
        make_extension(tmp_path / "data" / "extensions" / f"e{number}", name=f"e{number}")
    (found,) = discover(places(tmp_path))
    assert "more than 3 entries" in str(found.error)


def test_entry_points_are_found_without_importing(tmp_path: Path) -> None:
    """EXT-6: discovery starts nothing: a package that would raise when imported is found, its parents unread."""
    site = tmp_path / "site"
    make_extension(site / "outer" / "inner", name="inner")
    for package in (site / "outer", site / "outer" / "inner"):
        (package / "__init__.py").write_text("raise SystemExit('imported')")
    make_extension(site / "space" / "deep", name="deep")  # a namespace package has no `__init__`
    install(site, "outer", "inner = outer.inner")
    install(site, "space", "deep = space.deep", "gone = space.gone", "odd = space.deep:attr", "worse = a b")
    (site / "module.py").write_text("raise SystemExit('imported')")
    install(site, "module", "module = module")
    install(site, "broken")
    (site / "broken-1.0.dist-info" / "METADATA").write_bytes(b"\xff\xfe")
    (site / "broken-1.0.dist-info" / "entry_points.txt").write_bytes(b"[\xff")
    before = set(sys.modules)
    found = {one.name: one for one in discover(places(tmp_path))}
    assert not [
        name for name in set(sys.modules) - before if name.split(".")[0] in {"outer", "space", "module"}
    ]
    assert {name for name, one in found.items() if one.error is None} == {"inner", "deep"}
    assert found["inner"].directory == str((site / "outer" / "inner").resolve())
    assert "not found without importing" in str(found["gone"].error)
    assert "names no package" in str(found["odd"].error)
    assert "names no package" in str(found["worse"].error)
    assert "not found" in str(found["module"].error)
    with pytest.raises(ManifestError):
        find(list(found.values()), "gone")


def test_first_distribution_of_a_project_wins(tmp_path: Path) -> None:
    """As it does for imports: an older copy further down the path is not a second extension."""
    for site in ("one", "two"):
        make_extension(tmp_path / site / "acme_notes")
        install(tmp_path / site, "Acme_Notes" if site == "one" else "acme.notes", "acme.notes = acme_notes")
    found = discover(Places(path=(str(tmp_path / "one"), str(tmp_path / "two"))))
    assert [one.directory for one in found] == [os.path.realpath(tmp_path / "one" / "acme_notes")]


def test_installed_can_be_left_out_and_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_extension(tmp_path / "site" / "a", name="a")
    install(tmp_path / "site", "a", "a = a", "b = a", "c = a")
    assert discover(places(tmp_path, installed=False)) == []
    monkeypatch.setattr(installed, "MAX_INSTALLED", 2)
    found = discover(places(tmp_path))
    assert "more than 2" in str(found[-1].error)
    assert isinstance(discover(Places(data=str(tmp_path))), list)  # the interpreter's own path
