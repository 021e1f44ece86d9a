"""Bundles that somebody made up: whatever they say, verifying one ends, and reads nothing beside it (JRN-21c)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import trio
from msgspec.structs import replace

from tests.journal.ledger import DEFINITION, LANE, Writer, opened
from web4.foundation.digest import canonical
from web4.journal.bundle import BundleSource, Manifest, Selector, export_bundle, verify_bundle
from web4.journal.bundle.manifest import MANIFESTS
from web4.journal.compaction import compact
from web4.journal.errors import CorruptJournalError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from web4.journal.bundle.manifest import Base


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A sound one that nobody signed, with a base and its state."""
    target = tmp_path / "bundle"

    async def export() -> None:
        async with opened() as journal:
            await Writer(journal).notes(9)
            await compact(journal, LANE, seq=5, definition=DEFINITION)
            await export_bundle(journal, Selector(lanes=(str(LANE),)), target)

    trio.run(export)
    manifest = read(target)
    write(target, replace(manifest, node=None, public_key=None, signed=False, signature=None))
    assert verify_bundle(target).clean
    return target


def read(bundle: Path) -> Manifest:
    return MANIFESTS.decode((bundle / "manifest.json").read_bytes())


def write(bundle: Path, manifest: Manifest) -> None:
    """Put it in the other's place, with the digest that belongs to it."""
    (bundle / "manifest.json").write_bytes(canonical(manifest.sealed(None)) + b"\n")


def findings(bundle: Path) -> list[tuple[str, str]]:
    """What is found; replaying is refused upon it."""
    report = verify_bundle(bundle)
    assert not report.clean
    with pytest.raises(CorruptJournalError):
        BundleSource(bundle)
    return report.findings


def entry(manifest: Manifest, **changes: Any) -> Manifest:
    """With another entry of the lane."""
    return replace(manifest, lanes=(replace(manifest.lanes[0], **changes),))


def based(manifest: Manifest, **changes: Any) -> Manifest:
    """With another base of the lane."""
    base: Base | None = manifest.lanes[0].base
    assert base is not None
    return entry(manifest, base=replace(base, **changes))


def renamed(manifest: Manifest, name: str) -> Manifest:
    """With a file that is called so."""
    files = tuple(replace(one, path=name) if "blobs/" in one.path else one for one in manifest.files)
    return replace(manifest, files=files)


LIES: dict[str, Callable[[Manifest], Manifest]] = {
    "state elsewhere": lambda one: based(one, state="b3:../../../../../../etc/passwd"),
    "state absolute": lambda one: based(one, state="/etc/passwd"),
    "state missing": lambda one: based(one, state="b3:" + "0" * 64),
    "base at nothing": lambda one: based(one, seq=0),
    "base of no hash": lambda one: based(one, record_hash="zz"),
    "a file elsewhere": lambda one: renamed(one, "../../../../../../etc/passwd"),
    "a file twice": lambda one: replace(one, files=one.files * 2),
    "a lane twice": lambda one: replace(one, lanes=one.lanes * 2),
    "beginning before one": lambda one: entry(one, first_seq=-3),
    "ending before the beginning": lambda one: entry(one, last_seq=1),
    "a head before the end": lambda one: entry(one, head_seq=1),
    "no lane": lambda one: entry(one, lane="../x"),
    "a hash of other letters": lambda one: entry(one, head_hash="zz"),
    "a short id": lambda one: replace(one, journal_id="00"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies(bundle: Path, lie: str) -> None:
    write(bundle, LIES[lie](read(bundle)))
    assert findings(bundle)


@pytest.mark.parametrize("name", ["manifest.json", "records.ndjson", "blob"])
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_is_no_plain_file_is_not_read(bundle: Path, name: str, kind: str) -> None:
    """A pipe, or a link to a device, has no end."""
    path = next((bundle / "blobs").iterdir()) if name == "blob" else bundle / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    assert findings(bundle)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 1_000_000,
        b'{"lanes":' * 100_000,
        b'{"commit":1,"erased":false,"hash":"00","header":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
    ],
)
@pytest.mark.parametrize("name", ["manifest.json", "records.ndjson"])
def test_what_is_nested_without_end_is_not_followed(bundle: Path, name: str, data: bytes) -> None:
    (bundle / name).write_bytes(data)
    assert findings(bundle)


async def test_without_types_nothing_of_a_state_is_handed_out(tmp_path: Path) -> None:
    """Nobody knows the classes of what went into it (JRN-21a)."""
    async with opened() as journal:
        await Writer(journal).notes(9)
        await compact(journal, LANE, seq=5, definition=DEFINITION)
        manifest = await export_bundle(journal.backend, Selector(lanes=(str(LANE),)), tmp_path / "bundle")
    assert manifest.lanes[0].base is not None
    assert manifest.lanes[0].base.state is None
    assert not list((tmp_path / "bundle" / "blobs").iterdir())
    assert b"note 1" not in (tmp_path / "bundle" / "records.ndjson").read_bytes()
