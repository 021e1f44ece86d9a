"""Incident bundles: whole or not at all, redacted, and verified by themselves (JRN-21)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio

import web4
from tests.journal.ledger import DEFINITION, LANE, NODE, Noted, Writer, opened, sequence
from web4.foundation.digest import canonical
from web4.journal.backends.memory import MemoryStore, open_memory
from web4.journal.bundle import BundleSource, Manifest, Selector, export_bundle, verify_bundle
from web4.journal.bundle.files import digest_of
from web4.journal.bundle.manifest import MANIFESTS
from web4.journal.compaction import compact
from web4.journal.draft import NewEvent
from web4.journal.errors import (
    CorruptJournalError,
    ExportError,
    InvalidEventError,
    ProhibitedDataError,
    RedactionError,
)
from web4.journal.lane import Lane
from web4.journal.redaction import Redactor

if TYPE_CHECKING:
    from web4.journal.journal import Journal
    from web4.journal.record import Record

ALL = Selector()
ANN = Lane("human", "ann")
STRIDE = int(os.environ.get("WEB4_BUNDLE_STRIDE", "37"))


async def filled(journal: Journal) -> str:
    """Orders, notes and a blob; its name."""
    writer = Writer(journal)
    blob = await journal.put_blob(b"the output of a tool")
    for command in sequence("place a", "start a", "finish a", text=f"see {blob}"):
        await writer.handle(command)
    await journal.append(ANN, [NewEvent(Noted("private words"), 2_000)], expected_seq=0)
    return blob


def mask(record: Record, payload: dict[str, Any]) -> dict[str, Any] | None:
    """Hides what people say, and withholds what orders say at their end."""
    if record.type == "order.done":
        return None
    return payload | {"text": "masked"} if "text" in payload else payload


def list_of(path: Path) -> set[str]:
    return {found.name for found in path.iterdir()}


def lines(path: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in (path / "records.ndjson").read_bytes().splitlines()]


async def test_a_bundle_says_what_it_is(tmp_path: Path) -> None:
    """JRN-21b."""
    async with opened() as journal:
        blob = await filled(journal)
        manifest = await export_bundle(journal, ALL, tmp_path / "b")
        assert MANIFESTS.decode((tmp_path / "b" / "manifest.json").read_bytes()) == manifest
        assert (manifest.journal_id, manifest.node) == (journal.journal_id.hex(), NODE.fingerprint)
        assert manifest.exported_at == journal.clock.wall_ms()
        assert manifest.versions["order.placed"] == 1
        entry = {one.lane: one for one in manifest.lanes}[str(LANE)]
        head = await journal.head(LANE)
        assert (entry.first_seq, entry.last_seq, entry.last_hash) == (1, 3, head.hash.hex())
        assert [file.path for file in manifest.files] == [f"blobs/{blob[3:]}", "records.ndjson"]
        assert (tmp_path / "b" / "blobs" / blob[3:]).read_bytes() == b"the output of a tool"
        assert manifest.redactions == ()
        report = verify_bundle(tmp_path / "b")
        assert report.findings == []
        assert (report.lanes, report.records, report.blobs) == (2, 4, 1)
        assert report.signed_by == NODE.fingerprint
        assert [line["redacted"] for line in lines(tmp_path / "b")] == [False] * 4
        assert list_of(tmp_path) == {"b"}
        assert (tmp_path / "b").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "b" / "records.ndjson").stat().st_mode & 0o077 == 0


async def test_a_bundle_without_an_identity_says_that_nobody_signed_it(tmp_path: Path) -> None:
    async with opened(identity=None) as journal:
        await filled(journal)
        manifest = await export_bundle(journal, ALL, tmp_path / "b")
    assert (manifest.signed, manifest.signature, manifest.node) == (False, None, None)
    report = verify_bundle(tmp_path / "b")
    assert (report.clean, report.signed_by) == (True, None)


def elsewhere(path: Path) -> subprocess.CompletedProcess[str]:
    """Verify in a process of its own that has nothing but the bundle."""
    program = (
        "import sys; from web4.journal.bundle import verify_bundle\n"
        "report = verify_bundle(sys.argv[1]); print(report.records, report.redacted, report.findings)\n"
        "sys.exit(not report.clean)"
    )
    return subprocess.run(
        [sys.executable, "-c", program, str(path)],
        env={"PYTHONPATH": str(Path(web4.__file__).parent.parent), "PATH": ""},
        cwd=path.parent,
        capture_output=True,
        text=True,
        check=False,
    )


async def test_bundle_stands_alone(tmp_path: Path) -> None:
    """Scenario 24: a redacted bundle verifies elsewhere; changing one character anywhere is found."""
    redactor = Redactor(bytes(32), before_export=[mask])
    async with opened() as journal:
        await filled(journal)
        manifest = await export_bundle(journal, ALL, tmp_path / "first", redactor=redactor)
    told = {(one.type, one.field, one.rule): one.count for one in manifest.redactions}
    assert told == {("noted", "text", "hook:mask"): 1, ("order.done", "payload", "hook:mask"): 1}
    (tmp_path / "far").mkdir()
    bundle = tmp_path / "far" / "away"
    shutil.move(tmp_path / "first", bundle)
    assert b"private words" not in (bundle / "records.ndjson").read_bytes()
    told_elsewhere = elsewhere(bundle)
    assert (told_elsewhere.returncode, told_elsewhere.stdout) == (0, "4 2 []\n"), told_elsewhere.stderr

    changed = 0
    for file in sorted(path for path in bundle.rglob("*") if path.is_file()):
        data = file.read_bytes()
        for at in range(changed % STRIDE, len(data), STRIDE):
            file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            assert not verify_bundle(bundle).clean, (file, at)
            changed += 1
        for other in (data[:-1], data + b" ", data + b"\n", b" " + data, b""):
            file.write_bytes(other)
            assert not verify_bundle(bundle).clean, (file, other)
        file.unlink()
        if file.name == "manifest.json":
            with pytest.raises(OSError, match="manifest"):
                verify_bundle(bundle)
        else:
            assert not verify_bundle(bundle).clean
        file.write_bytes(data)
    (bundle / "more").write_bytes(b"")
    assert verify_bundle(bundle).findings == [("more", "the manifest does not list it")]
    (bundle / "more").unlink()
    (bundle / "blobs" / "link").symlink_to("/etc/passwd")
    assert not verify_bundle(bundle).clean
    (bundle / "blobs" / "link").unlink()
    assert verify_bundle(bundle).clean
    assert changed > 2_000 // STRIDE


def resealed(bundle: Path, change: Any) -> None:
    """Rewrite records and manifest as somebody would who has no key but knows the format."""
    written = [change(line) for line in lines(bundle)]
    data = b"".join(canonical(line) + b"\n" for line in written if line is not None)
    (bundle / "records.ndjson").write_bytes(data)
    manifest: Manifest = MANIFESTS.decode((bundle / "manifest.json").read_bytes())
    digest, size = digest_of(bundle / "records.ndjson")
    replace = msgspec.structs.replace
    files = tuple(
        replace(one, blake3=digest, bytes=size) if one.path == "records.ndjson" else one
        for one in manifest.files
    )
    manifest = replace(manifest, files=files, signed=False, node=None, public_key=None).sealed(None)
    (bundle / "manifest.json").write_bytes(canonical(manifest) + b"\n")


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line | {"payload": {"text": "forged"}} if line["lane"] == "human:ann" else line,
        lambda line: line | {"salt": None} if line["seq"] == 2 else line,
        lambda line: line | {"header": line["header"] | {"principal": "somebody"}},
        lambda line: line | {"seq": line["seq"] + 1, "header": line["header"] | {"seq": line["seq"] + 1}},
        lambda line: line | {"hash": "00" * 32} if line["seq"] == 1 else line,
        lambda line: line | {"lane": "human:bob"} if line["lane"] == "human:ann" else line,
        lambda line: None if line["seq"] == 2 else line,
        lambda line: None if line["seq"] == 3 else line,
        lambda line: line | {"header": {}},
        lambda line: line | {"hash": "zz"},
        lambda line: line | {"lane": "../x"},
    ],
)
async def test_forging_files_and_digests_breaks_the_chain(tmp_path: Path, change: Any) -> None:
    """Who makes manifest and digests agree again still meets the chain, and has lost the signature."""
    async with opened() as journal:
        await filled(journal)
        await export_bundle(journal, ALL, tmp_path / "b")
    resealed(tmp_path / "b", lambda line: line)
    report = verify_bundle(tmp_path / "b")
    assert (report.clean, report.signed_by) == (True, None)
    resealed(tmp_path / "b", change)
    report = verify_bundle(tmp_path / "b")
    assert not report.clean
    with pytest.raises(CorruptJournalError) as caught:
        BundleSource(tmp_path / "b")
    assert caught.value.code == "bundle"


async def test_selectors(tmp_path: Path) -> None:
    async with opened() as journal:
        writer = Writer(journal)
        await writer.notes(20)  # at 1 000, 1 001, ...
        await journal.append(ANN, [NewEvent(Noted("x"), 5_000)], expected_seq=0)

        async def seqs(name: str, **fields: Any) -> list[tuple[str, int]]:
            await export_bundle(journal, Selector(**fields), tmp_path / name)
            assert verify_bundle(tmp_path / name).findings == []
            return [(line["lane"], line["seq"]) for line in lines(tmp_path / name)]

        lane = str(LANE)
        assert await seqs("a", since=1_005, until=1_007) == [(lane, 6), (lane, 7), (lane, 8)]
        assert await seqs("b", lanes=("human:ann",)) == [("human:ann", 1)]
        assert await seqs("c", lanes=("human:nobody",)) == []
        assert await seqs("d", since=9_999) == []
        with pytest.raises(InvalidEventError):
            await seqs("e", lanes=("nothing",))
        assert not (tmp_path / "e").exists()


async def test_payloads_of_others_are_withheld(tmp_path: Path) -> None:
    """A selector by command gives headers of the whole piece, so that it verifies, and payloads of its own."""
    async with opened() as journal:
        writer = Writer(journal)
        for command in sequence("place a", "place b", "finish a"):
            await writer.handle(command)
        manifest = await export_bundle(journal, Selector(command="a"), tmp_path / "b")
    assert [(line["redacted"], line["payload"] is None) for line in lines(tmp_path / "b")] == [
        (False, False),
        (True, True),
        (False, False),
    ]
    assert [(one.type, one.rule) for one in manifest.redactions] == [("order.placed", "selector")]
    assert verify_bundle(tmp_path / "b").clean


async def test_erased_payloads_and_compacted_lanes(tmp_path: Path) -> None:
    async with opened() as journal:
        writer = Writer(journal)
        await writer.notes(10)
        await compact(journal, LANE, seq=4, definition=DEFINITION)
        await writer.snapshot()
        await journal.change(erasures=[(LANE, 6)])
        manifest = await export_bundle(journal, Selector(lanes=(str(LANE),)), tmp_path / "b")
        (entry,) = manifest.lanes
        assert (entry.first_seq, entry.last_seq) == (5, 10)
        assert entry.base is not None
        assert entry.base.state is not None
        assert [line["erased"] for line in lines(tmp_path / "b")] == [True, True, False, False, False, False]
        assert verify_bundle(tmp_path / "b").findings == []
        hooked = Redactor(bytes(32), before_export=[mask])
        manifest = await export_bundle(journal, ALL, tmp_path / "c", redactor=hooked)
        assert [one.base.state for one in manifest.lanes if one.base is not None] == [None]
        assert verify_bundle(tmp_path / "c").findings == []


async def test_blobs_that_are_not_there_are_named(tmp_path: Path) -> None:
    async with opened() as journal:
        blob = await filled(journal)
        await journal.backend.delete_blob(blob)
        manifest = await export_bundle(journal, ALL, tmp_path / "b")
    assert manifest.missing_blobs == (blob,)
    assert verify_bundle(tmp_path / "b").clean


async def test_planted_secret_in_a_bundle(tmp_path: Path) -> None:
    """Scenario 21, the bundle's part: a secret that became known after it was stored is in no file of a bundle."""
    secret = "sk-planted-0123456789"
    async with opened() as journal:
        assert journal.redactor is not None
        writer = Writer(journal)
        blob = await journal.put_blob(b"before " + secret.encode() + b" after")
        await writer.handle(sequence("note", text=f"{secret} and {blob}")[0])
        journal.redactor.learn("api", secret)
        manifest = await export_bundle(journal, ALL, tmp_path / "b")
        told = {(one.type, one.rule) for one in manifest.redactions}
        assert told == {("noted", "secret"), ("blob", "secret")}
    assert verify_bundle(tmp_path / "b").findings == []
    for file in (tmp_path / "b").rglob("*"):
        assert file.is_dir() or secret.encode() not in file.read_bytes()


async def test_hook_raises_at_export_and_leaves_no_file(tmp_path: Path) -> None:
    """Scenario 22, the export's part."""

    def failing(record: Record, payload: dict[str, Any]) -> Any:
        if record.type == "order.done":
            raise LookupError("delicate")
        return payload

    async with opened() as journal:
        await filled(journal)
        with pytest.raises(RedactionError) as caught:
            await export_bundle(
                journal, ALL, tmp_path / "b", redactor=Redactor(bytes(32), before_export=[failing])
            )
        assert caught.value.code == "hook_raised"
        assert list_of(tmp_path) == set()
        await journal.append(ANN, [NewEvent(Noted("x"), 1, None, "principal-x")], expected_seq=1)
        with pytest.raises(ProhibitedDataError):
            await export_bundle(
                journal, ALL, tmp_path / "b", redactor=Redactor(bytes(32), {"p": "principal-x"})
            )
        assert list_of(tmp_path) == set()


async def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    async with opened() as journal:
        await filled(journal)
        (tmp_path / "file").write_text("mine")
        (tmp_path / "empty").mkdir()
        (tmp_path / "link").symlink_to("nowhere")
        for name in ("file", "empty", "link"):
            with pytest.raises(ExportError) as caught:
                await export_bundle(journal, ALL, tmp_path / name)
            assert caught.value.code == "target_exists"
        with pytest.raises(ExportError) as caught:
            await export_bundle(journal, ALL, tmp_path / "no" / "such")
        assert caught.value.code == "unwritable"
        assert list_of(tmp_path) == {"file", "empty", "link"}
        assert (tmp_path / "file").read_text() == "mine"


async def test_a_cancelled_export_leaves_nothing(tmp_path: Path) -> None:
    async with opened() as journal:
        await filled(journal)
        backend: Any = journal.backend
        read = backend.read
        begun = trio.Event()

        async def stuck(*args: Any, **options: Any) -> Any:
            if options.get("after", 0) == 0 and args[0] == LANE:
                begun.set()
                await trio.sleep_forever()
            return await read(*args, **options)

        backend.read = stuck
        async with trio.open_nursery() as nursery:
            nursery.start_soon(export_bundle, journal, ALL, tmp_path / "b")
            await begun.wait()
            assert list_of(tmp_path)
            nursery.cancel_scope.cancel()
        assert list_of(tmp_path) == set()


async def test_writing_goes_on_and_is_not_exported(tmp_path: Path) -> None:
    """JRN-21c: what the lanes held at the beginning; a lane that is compacted meanwhile is asked for again."""
    async with opened() as journal:
        writer = Writer(journal)
        await writer.notes(500)
        backend: Any = journal.backend
        read = backend.read
        meddle: list[Any] = []

        async def meddling(*args: Any, **options: Any) -> Any:
            if meddle and options.get("after", 0) >= 200:
                await meddle.pop()()
            return await read(*args, **options)

        backend.read = meddling

        async def write() -> None:
            await writer.notes(100, start=500)

        async def compacting() -> None:
            await compact(journal, LANE, definition=DEFINITION)

        meddle.append(write)
        await export_bundle(journal, ALL, tmp_path / "b")
        assert len(lines(tmp_path / "b")) == 500
        assert verify_bundle(tmp_path / "b").clean
        meddle.append(compacting)
        with pytest.raises(ExportError) as caught:
            await export_bundle(journal, ALL, tmp_path / "c")
        assert caught.value.code == "moved"
        assert list_of(tmp_path) == {"b"}


async def test_a_store_that_another_writes_can_be_exported(tmp_path: Path) -> None:
    store = MemoryStore()
    async with opened(store) as journal:
        await filled(journal)
        async with open_memory(store, read_only=True) as reader:
            manifest = await export_bundle(reader, ALL, tmp_path / "b", registry=journal.registry)
            assert not manifest.signed
            await export_bundle(reader, ALL, tmp_path / "c")
    assert verify_bundle(tmp_path / "b").clean
    assert all(line["redacted"] for line in lines(tmp_path / "c"))  # types that nobody knows are withheld
