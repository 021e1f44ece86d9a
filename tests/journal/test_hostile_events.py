"""Events and arguments that do not fit: refused at the door, by a clear error, and the writer goes on (JRN-4e)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.journal.arrange import NOTED, ONE, Bench, Noted, note, texts
from web4.journal.errors import CorruptJournalError, InvalidEventError
from web4.journal.event_types import EventRegistry, EventType
from web4.journal.journal import Append, NewEvent
from web4.journal.lane import SERVER


class Anything(msgspec.Struct, frozen=True):
    number: float = 0.0
    value: Any = None


ANYTHING = EventType(
    name="test.anything", struct=Anything, classes={"number": "retainable", "value": "retainable"}
)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


BAD: list[tuple[Any, str]] = [
    (note("x", 1.5), "event"),  # type: ignore[arg-type]  # here and below: what a careless caller hands in
    (note("x", cause=(SERVER, -1)), "event"),
    (note("x", cause=(SERVER, 0)), "event"),
    (note("x", cause=(SERVER, 2**64)), "event"),
    (note("x", cause=(SERVER, 1.0)), "event"),
    (note("x", cause=(SERVER,)), "event"),
    (note("x", cause=("session:../..", 1)), "event"),
    (note("x", principal=b"bytes"), "event"),
    (note("x", principal=["list"]), "event"),
    (note("x", refs=((b"k", b"v"),)), "event"),
    (note("x", refs=("kv",)), "event"),
    (note("x", refs=(("k", "v", "w"),)), "event"),
    (note("x", refs=((1, 2),)), "event"),
    (NewEvent(Anything(float("nan")), 0), "unreadable"),
    (NewEvent(Anything(float("inf")), 0), "unreadable"),
    (NewEvent(Anything("no number"), 0), "unreadable"),  # type: ignore[arg-type]
    (NewEvent(Noted(None), 0), "unreadable"),  # type: ignore[arg-type]
    (NewEvent(Anything(value=2**53 + 1), 0), "not_canonical"),
    (NewEvent(Anything(value=2**70), 0), "not_canonical"),
    (NewEvent(Anything(value={"\ud800": 1}), 0), "not_canonical"),
    (NewEvent(Anything(value=nested(100)), 0), "not_canonical"),
    (NewEvent(Anything(value=nested(100_000)), 0), "not_canonical"),
]


@pytest.mark.parametrize("number", range(len(BAD)))
async def test_an_event_that_does_not_fit(number: int) -> None:
    """JRN-4e: one bad event neither ends the writer nor is stored as something that nobody can read again."""
    event, code = BAD[number]
    async with Bench().journal() as journal:
        journal.registry.register(ANYTHING)
        with pytest.raises(InvalidEventError) as caught:
            await journal.append(ONE, [note("fine"), event], expected_seq=0)
        assert caught.value.code == code
        await journal.append(ONE, [note("after")], expected_seq=0)
        assert await texts(journal, ONE) == ["after"]


async def test_an_error_says_where_and_not_what() -> None:
    """DESIGN: errors name fields, never values."""

    class Chosen(msgspec.Struct, frozen=True):
        colour: msgspec.UnsetType | None = None

    one = EventType(name="test.chosen", struct=Chosen, classes={"colour": "retainable"})
    async with Bench().journal() as journal:
        journal.registry.register(one)
        with pytest.raises(InvalidEventError) as caught:
            journal.prepare(NewEvent(Chosen("my own"), 0))  # type: ignore[arg-type]
        assert caught.value.field == "colour"
        assert "my own" not in str(caught.value)


async def test_an_event_is_applied_as_it_is_read_again() -> None:
    """JRN-19b: what JSON has no word for is not what `apply` is given."""
    async with Bench().journal() as journal:
        journal.registry.register(ANYTHING)
        prepared = journal.prepare(NewEvent(Anything(value=(b"x", {1})), 0))
        await journal.append(ONE, [prepared], expected_seq=0)
        (record,) = await journal.read(ONE)
        assert prepared.event == journal.registry.decode(record) == Anything(value=["eA==", [1]])


@pytest.mark.parametrize("lane", [None, "session:one", ("session", "one"), NOTED])
async def test_what_is_no_lane(lane: Any) -> None:
    """JRN-1b: text is never taken for a lane."""
    async with Bench().journal() as journal:
        with pytest.raises(InvalidEventError) as caught:
            await journal.append(lane, [note(1)], expected_seq=0)
        assert caught.value.code == "lane"
        await journal.append(ONE, [note(1)], expected_seq=0)


@pytest.mark.parametrize("expected", [None, "0", 0.0, -1])
async def test_what_is_no_number(expected: Any) -> None:
    """JRN-4a: also -1, which the journal itself says for `anywhere`."""
    async with Bench().journal() as journal:
        for lane in (ONE, SERVER):
            with pytest.raises(InvalidEventError) as caught:
                await journal.append_batch([Append(lane, [note(1)], expected)])
            assert caught.value.field == "expected_seq"
        await journal.append(ONE, [note(1)], expected_seq=0)


async def test_a_change_of_nothing() -> None:
    """Nobody waits for a commit that never comes."""
    async with Bench().journal() as journal:
        with pytest.raises(InvalidEventError):
            await journal.change()


async def test_an_upcaster_that_raises() -> None:
    """JRN-9c, ACT-5e: whatever it raises, the record is named, and repeating is known not to help."""

    def broken(payload: dict[str, Any]) -> dict[str, Any]:
        raise AttributeError

    bench = Bench()
    async with bench.journal() as journal:
        await journal.append(ONE, [note(1)], expected_seq=0)
        (record,) = await journal.read(ONE)
    newer = EventType(name=NOTED.name, struct=Noted, classes=NOTED.classes, v=2, upcasters={1: broken})
    with pytest.raises(CorruptJournalError) as caught:
        EventRegistry([newer]).decode(record)
    assert (caught.value.code, caught.value.lane, caught.value.seq) == ("undecodable", ONE, 1)


async def test_a_negative_cursor() -> None:
    """JRN-6c: nothing was compacted, and nothing is said to be."""
    async with Bench().journal() as journal:
        with pytest.raises(ValueError, match="negative"):
            await journal.read(ONE, after=-1)
