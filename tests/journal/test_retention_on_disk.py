"""What was erased or replaced is in no file of a real store (JRN-16, JRN-18)."""

from __future__ import annotations

import base64
import shutil
from typing import TYPE_CHECKING, Any

import apsw
import pytest
import trio

from tests.journal.ledger import DEFINITION, DEFINITIONS, LANE, NODE, Noted, Placed, Writer, sequence
from tests.journal.stores import OnDisk, registry, writing
from web4.journal.bundle import Selector, export_bundle
from web4.journal.compaction import compact
from web4.journal.draft import NewEvent
from web4.journal.errors import JournalUnavailable, RedactionError
from web4.journal.hashed import Hashed
from web4.journal.lane import Lane
from web4.journal.redaction import Redactor
from web4.journal.replay import replay
from web4.journal.retention import Bounds, RetentionPolicy, retain
from web4.journal.verify import verify

if TYPE_CHECKING:
    from pathlib import Path


def found(directory: Path, *needles: bytes) -> list[tuple[str, bytes]]:
    """Every file in which one of the needles stands, in any form that a program would store it in."""
    hits = []
    for file in directory.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            for needle in needles:
                forms = (
                    needle,
                    needle.hex().encode(),
                    base64.b64encode(needle),
                    needle.decode().encode("utf-16-le"),
                )
                hits += [(file.name, form) for form in forms if form in data]
    return hits


def holding(directory: Path, data: bytes) -> list[str]:
    """Every file in which the bytes stand as they are."""
    return [file.name for file in directory.rglob("*") if file.is_file() and data in file.read_bytes()]


@pytest.mark.parametrize("compacting", [False, True])
async def test_erase_and_verify(tmp_path: Path, compacting: bool) -> None:
    """Scenario 20: erase payloads by age: the chain verifies, the values are nowhere in the directory.

    It is looked while the node still runs: the WAL, freed pages and slack included.
    """
    store = OnDisk(tmp_path / "journal")
    bounds = Bounds(max_age_ms=1_000)
    policy = RetentionPolicy(records=bounds) if compacting else RetentionPolicy(payloads=bounds)
    old, young = b"the old words of ann", b"the young words of bob"
    async with writing(store) as journal:
        writer = Writer(journal)
        for at in range(300):
            # The state remembers the last five notes, and the base of a compacted lane is a state.
            text = f"{old.decode()} {at}" + "." * (at % 5) * 400 if at < 295 else "nothing"
            events = [journal.prepare(NewEvent(Noted(text), at))]
            writer.seq = (await journal.append(LANE, events, expected_seq=writer.seq)).last_seq
            writer.state = DEFINITION.logic.apply(writer.state, events[0].event)
        await writer.snapshot()
        for at in range(5_000, 5_010):
            event = journal.prepare(NewEvent(Noted(young.decode()), at))
            writer.seq = (await journal.append(LANE, [event], expected_seq=writer.seq)).last_seq
            writer.state = DEFINITION.logic.apply(writer.state, event.event)
        for _ in range(3):  # the older snapshots have the old words in them, and give way
            await writer.notes(1, start=writer.seq, at=5_000)
            await writer.snapshot()
        assert found(store.directory, old)
        (result,) = await retain(journal, {"session": policy}, definitions=DEFINITIONS, now=6_000)
        assert (result.removed if compacting else result.erased) == 300
        report = await verify(journal.backend, journal.registry)
        assert report.findings == []
        assert report.erased == (0 if compacting else 300)
        assert found(store.directory, old) == []
        assert found(store.directory, young)
        result_now = await replay(journal.backend, DEFINITIONS, journal.registry, lane=LANE)
        assert result_now.lanes[0].stopped is None
    async with store.backend(read_only=True) as backend:
        assert (await verify(backend, registry(), fingerprint=NODE.fingerprint)).findings == []


async def test_planted_secret(tmp_path: Path) -> None:
    """Scenario 21: planted in arguments, tool output, blob and error text, they occur in no file and no bundle."""
    store = OnDisk(tmp_path / "journal")
    token, key = "sk-planted/0123+456789", bytes(range(100, 132))
    async with store.backend() as backend:
        redactor = Redactor(backend.hash_key, {"token": token, "key": key})
    told = [
        f'{{"authorization": "Bearer {token}"}}',
        f"Traceback: cannot log in with {token!r}",
        base64.b64encode(f"user:{token}".encode()).decode(),
        f"key {key.hex()}",
        base64.b64encode(key).decode(),
    ]
    async with writing(store, redactor=redactor) as journal:
        writer = Writer(journal)
        for number, text in enumerate(told):
            for command in sequence(f"place o{number}", "note", f"finish o{number}", text=text):
                await writer.handle(command)
        blob = await journal.put_blob(f"output\n{told[0]}\n".encode() + key + told[2].encode())
        await writer.handle(sequence("note", text=f"see {blob}")[0])
        await writer.snapshot()
        assert b"[redacted:token]" in await journal.get_blob(blob)
        assert "[redacted:key]" in "".join(
            (record.payload or b"").decode() for record in await journal.read(LANE)
        )
        await export_bundle(journal, Selector(), tmp_path / "bundle")
        plain = (token.encode(), key.hex().encode())
        assert found(tmp_path, *plain) == []
    assert found(tmp_path, *plain, base64.b64encode(key), base64.b64encode(token.encode())[:-2]) == []
    assert holding(tmp_path, key) == []
    async with store.backend(read_only=True) as backend:
        assert (await verify(backend, registry())).findings == []
        (lane,) = (await replay(backend, DEFINITIONS, registry())).lanes
        assert lane.digest is not None
        assert lane.stopped is None
    assert writer.state.outcomes


async def test_hashed_only_values_are_in_no_file(tmp_path: Path) -> None:
    """JRN-18b, d."""
    store = OnDisk(tmp_path / "journal")
    async with writing(store) as journal:
        assert journal.redactor is not None
        event = Placed("a", "item", "an-idempotency-key")
        await journal.append(LANE, [NewEvent(event, 1)], expected_seq=0)
        (record,) = await journal.read(LANE)
        assert journal.registry.decode(record).key == journal.redactor.hashed("an-idempotency-key")
        assert isinstance(journal.registry.decode(record).key, Hashed)
    assert found(store.directory, b"an-idempotency-key") == []


async def test_hook_raises(tmp_path: Path) -> None:
    """Scenario 22, on the way in: the append is refused, nothing is written, and others are not held up."""

    def failing(one: Any, event: Any) -> Any:
        if "delicate" in getattr(event, "text", ""):
            raise LookupError(event.text)
        return event

    store = OnDisk(tmp_path / "journal")
    async with writing(store, redactor=Redactor(bytes(32), before_persist=[failing])) as journal:
        for batch in (["delicate words"], ["fine", "delicate words"]):
            with pytest.raises(RedactionError) as caught:
                await journal.append(LANE, [NewEvent(Noted(text), 1) for text in batch], expected_seq=0)
            assert "delicate" not in str(caught.value)
        assert (await journal.head(LANE)).seq == 0
        with trio.fail_after(60):
            await journal.append(Lane("human", "ann"), [NewEvent(Noted("fine"), 1)], expected_seq=0)
    assert found(store.directory, b"delicate words") == []


async def until_scrubbed(directory: Path, needle: bytes) -> None:
    """Wait until no file holds it; nothing is asked of the store."""
    with trio.fail_after(60):
        while holding(directory, needle):  # noqa: ASYNC110 - the store does it in its own time
            await trio.sleep(0.05)


async def test_a_reader_delays_scrubbing_and_nothing_else(tmp_path: Path) -> None:
    """Commits go on meanwhile, compacting says so, and the store makes up for it (JRN-16, JRN-17c)."""
    store = OnDisk(tmp_path / "journal")
    async with writing(store) as journal:
        writer = Writer(journal)
        await writer.handle(sequence("note a", text="the old words of ann")[0])
        await writer.notes(5, start=1)
        reader = apsw.Connection(str(store.directory / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM record").fetchall()
        commits = 0

        async def append() -> None:
            nonlocal commits
            while True:
                event = NewEvent(Noted("more"), 9_000)
                await journal.append(Lane("human", "ann"), [event], expected_seq=commits)
                commits += 1
                await trio.sleep(0.02)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(append)
            with pytest.raises(JournalUnavailable) as error:
                await compact(journal, LANE, definition=DEFINITION)
            nursery.cancel_scope.cancel()
        assert error.value.code == "suspended"
        assert (await journal.head(LANE)).base_seq == 6
        assert commits > 2
        assert holding(store.directory, b"the old words of ann")
        reader.close()
        await until_scrubbed(store.directory, b"the old words of ann")


async def test_a_crash_before_scrubbing_is_made_up_for(tmp_path: Path) -> None:
    """Whoever opens the store next leaves nothing of what was erased (JRN-16)."""
    store, crashed = OnDisk(tmp_path / "journal"), OnDisk(tmp_path / "crashed")
    async with writing(store) as journal:
        writer = Writer(journal)
        await writer.handle(sequence("note a", text="the old words of ann")[0])
        await writer.notes(9, start=1)
        await journal.change(erasures=[(LANE, 1)])
        shutil.copytree(store.directory, crashed.directory)
    assert holding(crashed.directory, b"the old words of ann")
    async with writing(crashed) as journal:
        await until_scrubbed(crashed.directory, b"the old words of ann")
        assert (await verify(journal.backend, journal.registry)).erased == 1
