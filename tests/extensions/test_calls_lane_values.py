"""What a lane keeps of arguments and values: small ones inline, bytes and large ones in blobs (JRN-2, JRN-8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio

from tests.extensions.calling import LANE, Host, calling, concluded, outcome, request
from web4.actors import open_lane_actors
from web4.extensions.calls.call_events import CALL_EVENTS, CallRequested
from web4.extensions.calls.calls_lane import CallsLane, ExtensionCalls
from web4.extensions.calls.calls_lane_asking import call_on_lane
from web4.extensions.calls.kept_values import INLINE_BYTES, UnkeptError, kept, restored
from web4.journal.backends.memory import MemoryStore, ScriptedFaults, open_memory
from web4.journal.event_types import EventRegistry
from web4.journal.limits import JournalLimits
from web4.journal.opening import open_journal
from web4.journal.redaction import Redactor

if TYPE_CHECKING:
    import trio.testing

    from web4.extensions.outcome import CallOutcome

BIG = {"text": "x" * (2 * INLINE_BYTES), "more": [1, None, {"deep": True}]}
PIECES = {"image": b"\x89PNG", "list": [b"", {"a/b~c": b"x"}], "": b"y", "plain": "text"}


@pytest.mark.parametrize(
    "value",
    [
        None,
        0,
        -1.5,
        "text",
        [],
        {},
        {"a": [1, {"b": None}]},
        b"",
        b"bytes",
        BIG,
        PIECES,
        [BIG, PIECES],
        2**60,
        [2**64 - 1, -(2**63)],
        {"a": 1e300},
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_a_value_comes_back_as_it_was(value: Any) -> None:
    """EXT-3, JRN-8: large ones and bytes are in blobs."""
    async with calling(Host(value)) as (journal, actors):
        arguments = await kept(journal, value)
        asked = request(arguments=arguments)
        got = await call_on_lane(journal, actors.lane(LANE), asked)
        assert got.value == value
        assert await restored(journal, arguments) == value
        (event,) = await concluded(journal)
        assert len(msgspec.json.encode(event.value)) < 2 * INLINE_BYTES
        again = await call_on_lane(journal, actors.lane(LANE), asked)
        assert again.value == value, "reading it once more changed nothing"


@pytest.mark.parametrize(
    "value",
    [float("nan"), {"a": float("inf")}, {1: 2}, [b"x"] * 65],
    ids=lambda value: repr(value)[:30],
)
async def test_a_value_that_no_lane_can_keep_fails_the_call(value: Any) -> None:
    """EXT-26: nobody could read it again."""
    async with calling(Host(value)) as (journal, actors):
        with pytest.raises(UnkeptError):
            await kept(journal, value)
        got = await call_on_lane(journal, actors.lane(LANE), request())
    assert (got.outcome, got.code, got.value) == ("error", "extension_invalid_result", None)
    assert got.worker_id == "w1", "what was measured is kept"


async def test_a_value_that_never_ends_fails_the_call() -> None:
    """EXT-26."""
    value: Any = None
    for _ in range(500):
        value = [value]
    async with calling(Host(value)) as (journal, actors):
        got = await call_on_lane(journal, actors.lane(LANE), request())
    assert got.code == "extension_invalid_result"


async def test_what_an_extension_says_of_its_error_may_be_unkept() -> None:
    """EXT-26: the error stays the extension's own."""

    async def answer(asked: CallRequested, _: Any) -> CallOutcome:
        return outcome(
            asked,
            outcome="error",
            code="extension_error",
            reason="r" * 10_000,
            data=float("nan"),
            stderr="e" * 99_999,
        )

    async with calling(Host(answer)) as (journal, actors):
        got = await call_on_lane(journal, actors.lane(LANE), request())
    assert (got.code, got.data) == ("extension_error", None)
    assert len(got.reason or "") == 4_096
    assert len(got.stderr or "") == 8_192


async def test_secrets_of_the_node_are_not_kept() -> None:
    """JRN-18f: inline, in a large value and in bytes."""
    secret = 'tiger"\nlily'
    value = {"small": secret, "bytes": f"<{secret}>".encode(), "long": "x" * INLINE_BYTES}
    redactor = Redactor(b"k" * 32, {"pass": secret})

    store = MemoryStore()
    async with (
        open_memory(store) as backend,
        open_journal(backend, registry=EventRegistry(CALL_EVENTS), redactor=redactor) as journal,
    ):
        calls = ExtensionCalls(journal, Host(value))
        async with open_lane_actors(journal, {"human": CallsLane(calls=calls)}) as actors:
            got = await call_on_lane(journal, actors.lane(LANE), request(arguments={"q": secret}))
            assert got.value["small"] == "[redacted:pass]"
            assert got.value["bytes"] == b"<[redacted:pass]>"
            records = await journal.read(LANE)
            assert not any(b"tiger" in (one.payload or b"") for one in records)


async def test_a_small_journal_keeps_less_inline() -> None:
    """JRN-2: the payload's limit holds."""

    value = {"text": "x" * 3_000}
    async with (
        open_memory() as backend,
        open_journal(
            backend, registry=EventRegistry(CALL_EVENTS), limits=JournalLimits(payload_bytes=4_096)
        ) as journal,
        open_lane_actors(journal, {"human": CallsLane(calls=ExtensionCalls(journal, Host(value)))}) as actors,
    ):
        assert (await call_on_lane(journal, actors.lane(LANE), request())).value == value


async def test_arguments_that_are_gone_are_not_guessed() -> None:
    """JRN-8: the call is refused, nothing is called."""
    host = Host("never")
    async with calling(host) as (journal, actors):
        arguments = await kept(journal, BIG)
        await journal.backend.delete_blob(arguments.blobs[0].blob)
        got = await call_on_lane(journal, actors.lane(LANE), request(arguments=arguments))
        assert (got.outcome, got.code) == ("refused", "worker_lost")
        assert host.asked == []


async def test_an_answer_waits_for_a_disk_that_is_full(autojump_clock: trio.testing.MockClock) -> None:
    """JRN-15a: what a worker did is not forgotten because its value could not be stored at once."""

    faults = ScriptedFaults({"put_blob": ["not_committed", "no_space", "not_committed"]})
    async with calling(Host(BIG), faults=faults) as (journal, actors):
        assert (await call_on_lane(journal, actors.lane(LANE), request())).value == BIG
    assert faults.attempts["put_blob"] == 4
