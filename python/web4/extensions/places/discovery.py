"""Where extensions are, by their manifests alone: nothing of them is imported or run (EXT-6)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from web4.extensions.errors import EnablingError, ExtensionError, ManifestError
from web4.extensions.manifests.manifest_file import JSON_NAME, TOML_NAME, shown_text
from web4.extensions.manifests.reading import read_manifest
from web4.extensions.places.installed import installed_directories

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from web4.extensions.manifests.manifest import Manifest

PlaceKind = Literal["configured", "project", "data", "installed"]
MAX_ENTRIES: Final = 4_096
"""Entries of one place (`=`)."""


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """What is searched, in this order.

    Args:
        configured: Paths in `web4.toml`: extensions, or directories that hold some. Absolute.
        project: The project's directory; its `.web4/extensions` is searched.
        data: The node's data directory; its `extensions` is searched.
        installed: Whether entry points of the group `web4.extensions` are.
        path: Where installed packages are looked for; None is `sys.path`.
    """

    configured: tuple[str, ...] = ()
    project: str | None = None
    data: str | None = None
    installed: bool = True
    path: tuple[str, ...] | None = None


class Found(NamedTuple):
    """A directory that is an extension, or would be one.

    Args:
        name: Of its manifest; when that cannot be read, of the directory or entry point.
        place: Which kind of place holds it.
        directory: Absolute and resolved; None for an entry point whose directory was not found.
        manifest: None when there is an error in it.
        error: Why it cannot be enabled or started: its manifest, or another of the same name.
    """

    name: str
    place: PlaceKind
    directory: str | None
    manifest: Manifest | None
    error: ExtensionError | None


def discover(places: Places) -> list[Found]:
    """Search all places. A broken extension is listed with its error and hides no other. Blocks.

    The same directory reached twice counts once, where it was found first. The same name in two directories is an
    error of both (EXT-6).
    """
    found: list[Found] = []
    seen: set[str] = set()
    for place, name, directory, error in _candidates(places):
        if directory is not None:
            if directory in seen:
                continue
            seen.add(directory)
        found.append(_read(place, name, directory, error))
    return _without_twins(found)


def find(found: Sequence[Found], name: str) -> Found:
    """The extension of this name.

    Raises:
        EnablingError: `not_found`, or `name_twice`.
        ManifestError: It is there, but does not fit.
    """
    named = [one for one in found if one.name == name]
    if not named:
        raise EnablingError(f"no place that is searched holds an extension {name!r}", code="not_found")
    whole = next((one for one in named if one.manifest is not None), named[0])
    if whole.error is not None:
        raise whole.error.again()
    return whole


_Candidate = tuple[PlaceKind, str, str | None, ExtensionError | None]


def _candidates(places: Places) -> Iterator[_Candidate]:
    for path in places.configured:
        if _holds_manifest(path):
            yield "configured", Path(path).name, os.path.realpath(path), None
        else:
            yield from _within("configured", path, wanted=True)
    if places.project is not None:
        yield from _within("project", str(Path(places.project, ".web4", "extensions")), wanted=False)
    if places.data is not None:
        yield from _within("data", str(Path(places.data, "extensions")), wanted=False)
    if places.installed:
        for name, directory, reason in installed_directories(places.path):
            error = ManifestError(reason) if directory is None else None
            yield "installed", name, directory, error


def _within(place: PlaceKind, path: str, *, wanted: bool) -> Iterator[_Candidate]:
    """The directories inside one that may hold extensions; `wanted` says that somebody named it."""
    try:
        with os.scandir(path) as entries:
            names: list[str] = []
            for entry in entries:
                if len(names) >= MAX_ENTRIES:
                    raise ManifestError(f"{path} holds more than {MAX_ENTRIES:,} entries")
                if not entry.name.startswith((".", "__")) and entry.is_dir():
                    names.append(entry.name)
    except FileNotFoundError:
        if wanted:
            yield place, Path(path).name, None, ManifestError(f"{shown_text(path)} is not there")
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        yield place, Path(path).name, None, ManifestError(f"{shown_text(path)} cannot be searched: {reason}")
        return
    except ManifestError as error:
        yield place, Path(path).name, None, error
        return
    for name in sorted(names):
        yield place, name, os.path.realpath(Path(path, name)), None


def _holds_manifest(path: str) -> bool:
    return any(os.path.lexists(Path(path, name)) for name in (TOML_NAME, JSON_NAME))


def _read(place: PlaceKind, name: str, directory: str | None, error: ExtensionError | None) -> Found:
    shown = shown_text(name)
    if directory is None:
        return Found(shown, place, None, None, error)
    if not directory.isprintable():
        error = ManifestError(f"{shown_text(directory)}: the path is no plain text, and could not be shown")
        return Found(shown, place, None, None, error)
    try:
        manifest = read_manifest(Path(directory))
    except ManifestError as broken:
        return Found(shown, place, directory, None, broken)
    return Found(manifest.name, place, directory, manifest, error)


def _without_twins(found: list[Found]) -> list[Found]:
    """Give extensions of one name the error that names all their places."""
    holders: dict[str, list[str]] = {}
    for one in found:
        if one.manifest is not None and one.directory is not None:
            holders.setdefault(one.name, []).append(one.directory)
    return [
        one._replace(
            error=EnablingError(
                f"{one.name} is there {len(holders[one.name])} times: {' and '.join(holders[one.name])}; remove one",
                code="name_twice",
            )
        )
        if one.manifest is not None and len(holders[one.name]) > 1
        else one
        for one in found
    ]
