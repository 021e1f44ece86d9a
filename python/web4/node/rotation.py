"""A new key for a node (ID-4): the identity before is set aside whole, with its journal; the new one begins empty.

A journal belongs to the key that lived it: envelopes that wait in it name their sender, its votes are that sender's
word, its mission has that signature. Under another key they would be forgeries, and peers would answer them so. The
one point of no return is the rename of the old key. Everything before it can be undone, and everything behind it is
taken up again by the next call; until then no node starts here.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from web4.foundation.identity import generate_identity, load_identity, save_identity, write_new
from web4.journal.backends.sqlite.directory import WriterLock, prepare_directory
from web4.node.directory import Places, open_directory
from web4.node.errors import DirectoryError

if TYPE_CHECKING:
    from pathlib import Path

    from web4.foundation.identity import Identity

NOTE: Final = "retired.json"
"""In the directory of a retired identity: why, when, in whose name, and which key came after it."""
_NUMBERED: Final = re.compile(r"([0-9]{3,9})-[0-9a-f]{16}")


class RotationNote(msgspec.Struct, frozen=True, kw_only=True):
    """Why an identity was retired.

    Args:
        reason: In words.
        by: In whose name.
        at_ms: When, Unix milliseconds.
    """

    reason: str
    by: str
    at_ms: int


class Rotated(NamedTuple):
    """What came of it.

    Args:
        old: The identity before.
        new: The one from now on.
        place: The data directory in which the one before lies, with its journal.
        resumed: Whether this finished what an earlier call had begun.
    """

    old: Identity
    new: Identity
    place: Path
    resumed: bool


def check_at_rest(places: Places) -> None:
    """See that nobody has the journal open for writing: no node, and no verb that writes. Blocks.

    Raises:
        JournalLocked, JournalOpenError: Somebody has, or its directory cannot be one.
    """
    if places.journal.exists():
        WriterLock(prepare_directory(places.journal, read_only=False)).release()


def rotate_identity(places: Places, note: RotationNote) -> Rotated:
    """Give a node that does not run a new key, and set the old one aside together with its journal. Blocks.

    Files named by the operator stay: `web4.toml` and `peers.toml`, of which the retired directory gets copies. Ended in
    the middle, by a crash too, the next call goes on; its note is that of the first.

    Raises:
        DirectoryError: `no_node`, `directory_permissions`; `rotation_unfinished` if it cannot be told whose the
            journal is.
        IdentityError: The key cannot be used, or the new one not be written.
        JournalLocked, JournalOpenError: The node runs, or the journal's directory cannot be one.
        OSError: Something cannot be moved; all is as before.
    """
    if not places.key.exists() and places.next_key.exists():
        return _finish(places)
    old = open_directory(places)
    lock = WriterLock(prepare_directory(places.journal, read_only=False))
    try:
        if not places.next_key.exists():
            save_identity(generate_identity(), places.next_key)
        new = load_identity(places.next_key)
        place = Places(_make_place(places, old, new, note))
        _move(places, place)
    except OSError:
        if places.key.exists():
            places.next_key.unlink(missing_ok=True)
        raise
    finally:
        lock.release()
    return Rotated(old, new, place.data, resumed=False)


def _make_place(places: Places, old: Identity, new: Identity, note: RotationNote) -> Path:
    for name in _names(places.retired):
        begun = Places(places.retired / name)
        if _NUMBERED.fullmatch(name) and not (begun.key.exists() or begun.journal.exists()):
            shutil.rmtree(begun.data)  # an earlier call ended before anything was moved
    numbers = [int(found[1]) for found in map(_NUMBERED.fullmatch, _names(places.retired)) if found]
    data = places.retired / f"{max(numbers, default=0) + 1:03}-{old.fingerprint[:16]}"
    data.mkdir(mode=0o700, parents=True)
    Places(data).key.parent.mkdir(mode=0o700)
    said = msgspec.to_builtins(note) | {"fingerprint": old.fingerprint, "successor": new.fingerprint}
    for path, content in (
        (data / NOTE, msgspec.json.encode(said) + b"\n"),
        *((data / one.name, one.read_bytes()) for one in (places.config, places.peers) if one.exists()),
    ):
        write_new(path, content)
    for directory in (places.key.parent, data, places.retired, places.data):
        _sync(directory)
    return data


def _move(places: Places, place: Places) -> None:
    """Set the key aside, then the journal; what cannot be moved is put back."""
    try:
        places.key.rename(place.key)
        _sync(place.key.parent, places.key.parent)
        try:
            places.journal.rename(place.journal)
        except OSError:
            place.key.rename(places.key)
            _sync(places.key.parent)
            raise
    except OSError:
        shutil.rmtree(place.data)
        raise
    _sync(place.data, places.data)
    places.next_key.rename(places.key)
    _sync(places.key.parent)


def _finish(places: Places) -> Rotated:
    """Go on behind the point of no return: of the identity that was retired last the journal may still be here."""
    latest = max(
        (one for one in _names(places.retired) if _NUMBERED.fullmatch(one)),
        key=lambda one: int(one.partition("-")[0]),
        default=None,
    )
    place = None if latest is None else Places(places.retired / latest)
    if place is None or not place.key.exists():
        raise DirectoryError(
            f"{places.next_key} waits for a rotation to end, and {places.retired} holds no key that it began with",
            code="rotation_unfinished",
        )
    old, new = load_identity(place.key), load_identity(places.next_key)
    if not place.journal.exists() and places.journal.exists():
        lock = WriterLock(prepare_directory(places.journal, read_only=False))
        try:
            places.journal.rename(place.journal)
        finally:
            lock.release()
        _sync(place.data, places.data)
    places.next_key.rename(places.key)
    _sync(places.key.parent)
    return Rotated(old, new, place.data, resumed=True)


def _names(directory: Path) -> list[str]:
    return [one.name for one in directory.iterdir()] if directory.exists() else []


def _sync(*directories: Path) -> None:
    """Make what was renamed there durable."""
    for directory in directories:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
