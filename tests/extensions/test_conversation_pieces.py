"""The pure pieces of a conversation: clocks, conclusions, values, schemas, evidence, redaction, logs."""

from __future__ import annotations

import itertools
import os
import random
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from web4.extensions.conversation import arriving
from web4.extensions.conversation.call_clock import CallClock
from web4.extensions.conversation.concluding import Conclusion, Ending
from web4.extensions.conversation.evidence import cause_of, describe
from web4.extensions.conversation.redacting import Redaction
from web4.extensions.conversation.sampling import exceeds
from web4.extensions.conversation.values import MAX_DEPTH, UnfitValueError, decode_value
from web4.extensions.conversation.weighing import MAX_VALUES, too_many_values
from web4.extensions.processes import Exit
from web4.journal.secret_search import SecretSearch
from web4.worker import frames

if TYPE_CHECKING:
    from pathlib import Path


EXAMPLES = int(os.environ.get("WEB4_ROUNDS", "30"))


def test_concluded_exactly_once() -> None:
    """EXT-3: of any endings in any order the first stands and all others are counted."""
    endings = [Ending("ok", value=1), Ending("timeout", "extension_timeout"), Ending("cancelled", "x")]
    for order in itertools.permutations(endings):
        conclusion = Conclusion()
        assert not conclusion
        assert [conclusion.conclude(one) for one in order] == [True, False, False]
        assert conclusion
        assert conclusion.ending is order[0]
        assert conclusion.refused == 2


class ClockMachine(RuleBasedStateMachine):
    """The clock of a call against a model that steps through every millisecond."""

    def __init__(self) -> None:
        super().__init__()
        rng = random.Random(0)
        self.limit, self.patience, self.remaining = 50, rng.choice([0, 30]), 120
        self.silence = 40
        self.now = 0
        self.clock = CallClock(
            0.0,
            float(self.limit),
            remaining=float(self.remaining),
            silence=inf,
            patience=float(self.patience),
        )
        self.used = self.paused = self.questions = 0
        self.over = False

    @rule(steps=st.integers(1, 20))
    def time_passes(self, steps: int) -> None:
        for _ in range(steps):
            if self.questions and self.paused < self.patience:
                self.paused += 1
            else:
                self.used += 1
            self.now += 1
            if self.used >= self.limit or self.now >= self.remaining:
                self.over = True

    @precondition(lambda self: not self.over)
    @rule()
    def ask(self) -> None:
        self.questions += 1
        self.clock.ask(float(self.now))

    @precondition(lambda self: self.questions and not self.over)
    @rule()
    def answered(self) -> None:
        self.questions -= 1
        self.clock.answered(float(self.now))

    @invariant()
    def agrees(self) -> None:
        assert (self.now >= self.clock.expiry()) == self.over
        if self.over:
            assert "time" in self.clock.cause(float(self.now))


TestClock = ClockMachine.TestCase
TestClock.settings = settings(max_examples=EXAMPLES, stateful_step_count=20, deadline=None)


def test_silence_is_extended_by_progress_alone() -> None:
    """EXT-20."""
    clock = CallClock(0.0, 100.0, silence=10.0, patience=50.0)
    assert clock.expiry() == 10.0
    clock.heard(4.0)
    assert clock.expiry() == 14.0
    clock.ask(5.0)
    assert clock.expiry() >= 55.0
    clock.answered(20.0)
    assert clock.expiry() == 30.0
    assert clock.cause(30.0) == "it had said nothing for too long"
    clock.heard(110.0)
    assert clock.expiry() == 115.0


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.binary(max_size=5)
)
_VALUES = st.recursive(
    _SCALARS, lambda of: st.lists(of, max_size=4) | st.dictionaries(st.text(max_size=3), of, max_size=4)
)


@given(_VALUES)
@settings(max_examples=EXAMPLES, deadline=None)
def test_values_come_through(value: Any) -> None:
    assert decode_value(msgspec.msgpack.encode(value)) == value


@given(
    _VALUES,
    st.sampled_from(
        [
            b"\xd4\x05\x00",
            b"\xd6\xff\x00\x00\x00\x00",
            b"\xcb\x7f\xf8" + bytes(6),
            b"\xca\xff\x80\x00\x00",
            b"\x81\x01\x02",
        ]
    ),
    st.data(),
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_one_bad_spot_anywhere_spoils_a_value(value: Any, bad: bytes, data: st.DataObject) -> None:
    """EXT-14: however deep it hides."""
    path = data.draw(st.lists(st.sampled_from(["list", "map", "last"]), max_size=MAX_DEPTH - 2))
    encoded = bad
    for step in path:
        beside = msgspec.msgpack.encode(value)
        encoded = {
            "list": b"\x92" + encoded + beside,
            "map": b"\x82\xa1a" + beside + b"\xa1b" + encoded,
            "last": b"\x91" + encoded,
        }[step]
    with pytest.raises(UnfitValueError):
        decode_value(encoded)


@given(st.binary(max_size=64))
@settings(max_examples=5 * EXAMPLES, deadline=None)
def test_no_bytes_make_reading_raise_anything_else(data: bytes) -> None:
    with suppress(UnfitValueError):
        decode_value(data)
    with suppress(frames.FrameError):
        arriving.decode(data)


@given(
    _VALUES,
    st.sampled_from([b"\x90", b"\x07", b"\xcb" + bytes(8), b"\xcd\x01\x01", b"\xa2ab", b"\xd9\x03abc"]),
)
@settings(max_examples=max(8, EXAMPLES // 5), deadline=None)
def test_values_are_counted_before_they_are_made(value: Any, filler: bytes) -> None:
    """The scan agrees with a count of what is there, at the limit and one above it."""

    def counted(one: Any) -> int:
        inner = [*one, *one.values()] if isinstance(one, dict) else one if isinstance(one, list) else []
        return 1 + sum(counted(each) for each in inner)

    encoded = msgspec.msgpack.encode(value)
    beside = MAX_VALUES - 1 - counted(value)
    for more, expected in ((0, False), (1, True)):
        number = beside + more
        data = b"\xdd" + (number + 1).to_bytes(4, "big") + filler * number + encoded
        assert too_many_values(data) is expected


@pytest.mark.parametrize("bomb", [b"\x90", b"\x80", b"\xa0", b"\x91\xc0", b"\xd9\x00", b"\xc4\x00\x90"])
def test_a_small_frame_does_not_become_a_large_value(bomb: bytes) -> None:
    """EXT-24: nothing of it is made."""
    number = (4 << 20) // len(bomb) - 100
    with pytest.raises(UnfitValueError, match="more than"):
        decode_value(b"\xdd" + number.to_bytes(4, "big") + bomb * number)


def test_large_values_of_few_parts_are_fine() -> None:
    for value in ("ü" * 1_500_000, b"\x90" * 4_000_000, [1.5] * 190_000, ["\u4e2d" * 300] * 4000):
        assert decode_value(msgspec.msgpack.encode(value)) == value


def test_frames_are_those_of_the_protocol() -> None:
    """EXT-15: the node's reading has the same fields under the same tags, so neither can drift."""
    there = {one.__struct_config__.tag: one for one in frames.ToNode.__args__}
    here = {one.__struct_config__.tag: one for one in arriving.Arriving.__args__}
    assert there.keys() == here.keys()
    for tag, one in there.items():
        assert here[tag].__struct_encode_fields__ == one.__struct_encode_fields__
        required = [field.name for field in msgspec.structs.fields(one) if field.required]
        assert [field.name for field in msgspec.structs.fields(here[tag]) if field.required] == required


# --- schemas ---------------------------------------------------------------------------------------------------


# --- evidence --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exit_", "stderr", "cpu", "code"),
    [
        (Exit(signal=9, reason="signalled", oom=True), None, 0, "extension_memory_exceeded"),
        (Exit(signal=9, reason="signalled"), None, 0, "extension_crashed"),
        (Exit(signal=9, reason="signalled"), None, 10**9, "extension_cpu_exceeded"),
        (Exit(signal=24, reason="signalled"), None, 0, "extension_cpu_exceeded"),
        (Exit(signal=25, reason="signalled"), None, 0, "extension_disk_exceeded"),
        (Exit(signal=11, reason="signalled"), "MemoryError", 10**9, "extension_memory_exceeded"),
        (Exit(signal=11, reason="signalled"), "MemoryError\nand on it went", 0, "extension_crashed"),
        (Exit(status=0, reason="exited"), None, 10**9, "extension_crashed"),
        (Exit(reason="exited"), None, None, "extension_crashed"),
    ],
)
def test_causes(exit_: Exit, stderr: str | None, cpu: int | None, code: str) -> None:
    """EXT-28."""
    cause = cause_of(exit_, memory_by="rlimit", cpu_ns=cpu, cpu_limit_ns=10**9, stderr=stderr)
    assert cause.code == code
    assert describe(exit_)


def test_real_time_signals_have_no_name() -> None:
    assert describe(Exit(signal=40, reason="signalled")) == "was ended by signal 40"


# --- redaction -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "secret",
    [
        "password=hunter2secret",
        'api_key: "hunter2secret"',
        "Authorization: Bearer hunter2secret",
        "{'token': 'hunter2secret'}",
        "https://user:hunter2secret@example.org/",
        "bearer hunter2secret",
        "-----BEGIN PRIVATE KEY-----\nhunter2secret\n-----END PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2secret",
        "eyJhunter2secret.eyJhunter2secret.hunter2secret",
        "sk-hunter2secret0000000",
        "MY_SECRET_TOKEN=hunter2secret",
    ],
)
def test_what_looks_like_a_secret_is_taken_out(secret: str) -> None:
    """EXT-28."""
    text = Redaction()(f"before {secret} after")
    assert "hunter2secret" not in text
    assert text.startswith("before ")


def test_what_the_node_knows_is_taken_out_in_all_its_forms() -> None:
    search = SecretSearch()
    search.learn("database", "correct horse")
    assert (
        Redaction(search)("x correct horse y " + b"correct horse".hex())
        == "x [redacted:database] y [redacted:database]"
    )


@pytest.mark.parametrize(
    "text", ["password" * 50_000, "://" * 100_000, "-----BEGIN " * 20_000, "token=" * 50_000, "eyJ" * 99_999]
)
def test_redaction_takes_no_long_time(text: str) -> None:
    """Linear in the text: a worker cannot keep the node busy with it. A bad pattern would never come to its end."""
    Redaction()(text)


# --- private directories ----------------------------------------------------------------------------------------


def test_the_size_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "file").write_bytes(b"x" * 100_000)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 1 << 40)
    assert not exceeds(str(tmp_path), 200_000)
    assert exceeds(str(tmp_path), 100_000)
    assert not exceeds(str(tmp_path / "missing"), 0)


def test_a_directory_too_deep_to_look_into_is_too_large(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    first = here
    for _ in range(40):
        os.mkdir("d" * 200, dir_fd=here)
        here, old = os.open("d" * 200, os.O_RDONLY, dir_fd=here), here
        if old != first:
            os.close(old)
    os.close(here)
    assert exceeds(str(tmp_path), 1 << 30)
    os.close(first)
