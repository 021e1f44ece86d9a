"""The whole journal on a disk that fails, in any order of steps that Hypothesis can think of, against a model.

`WEB4_MACHINE_EXAMPLES=300` tries so many programs at random; a failure prints the program, made as short as can be,
and a blob that repeats it.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.journal.arrange import Noted
from tests.journal.sqlite.expectation import Batch, Entry, Part
from tests.journal.sqlite.node import DELICATE, FORMS, Node, persisted
from web4.foundation.digest import canonical
from web4.journal.journal import NewEvent
from web4.journal.lane import SERVER, Lane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.journal.sqlite.node import Step
    from web4.journal.lane import LaneKind
    from web4.testing.disk import Fault

EXAMPLES = int(os.environ.get("WEB4_MACHINE_EXAMPLES", "0"))
DISKS = itertools.count()
LANES = (
    SERVER,
    Lane("knowledge"),
    Lane("session", "long"),
    Lane("session", "work"),
    Lane("human", "ada"),
)
"""All of them are in the store of edition 1: compacted, erased, with unfinished work, or as they were written."""

lanes = st.sampled_from(LANES)
shares = st.integers(0, 100)
faults = st.sampled_from(["cut", "cut", "sync", "write", "full"])
texts = st.tuples(
    st.integers(0, 50), st.sampled_from(["", "", "", DELICATE, *FORMS]), st.sampled_from([0, 0, 200, 3000])
)
appends = st.dictionaries(lanes, st.lists(texts, min_size=1, max_size=5), min_size=1, max_size=3)


class Machine(RuleBasedStateMachine):
    """Rules write a program; at the end it is run, in one run of Trio, and compared with the model after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.program: list[Step] = []
        self.edition_1 = False
        self.seed = 0
        self.first_fault: tuple[Fault, int] | None = None
        self.said = itertools.count()

    def _do(self, what: str, step: Step) -> None:
        async def told(node: Node) -> None:
            node.story.append(what)
            await step(node)

        self.program.append(told)

    def _parts(self, node: Node, wanted: dict[Lane, list[tuple[int, str, int]]], off: int = 0) -> list[Part]:
        """Batches' parts, each text unlike all others; `off` the heads."""
        parts = []
        for lane, some in wanted.items():
            events, entries = [], []
            for at, word, size in some:
                text = f"event {next(self.said):07d}; {word} {'x' * size}"
                events.append(NewEvent(Noted(text), at))
                entries.append(Entry("test.noted", canonical({"text": persisted(text)}), at))
            parts.append(Part(lane, len(node.model.lane(lane).entries) + off, events, entries))
        return parts

    def _append(
        self, node: Node, wanted: dict[Lane, list[tuple[int, str, int]]], together: bool
    ) -> Sequence[Batch]:
        parts = self._parts(node, wanted)
        return [Batch(parts)] if together else [Batch([part]) for part in parts]

    # --- where it begins --------------------------------------------------------------------------------

    @initialize(
        edition_1=st.booleans(),
        seed=st.integers(0, 1000),
        fault=st.none() | st.tuples(faults, st.integers(0, 400)),
    )
    def begin(self, edition_1: bool, seed: int, fault: tuple[Fault, int] | None) -> None:
        """An empty directory, or a store of edition 1, whose migration may be struck; a few events (JRN-10)."""
        self.edition_1 = edition_1
        self.seed = seed
        self.first_fault = fault
        for lane in LANES:
            self.append({lane: [(0, "", 0)] * 4}, together=True)

    # --- writing ----------------------------------------------------------------------------------------

    @rule(wanted=appends, together=st.booleans())
    def append(self, wanted: dict[Lane, list[tuple[int, str, int]]], together: bool) -> None:
        """To one lane or several, atomically or as callers that know nothing of each other (JRN-4, JRN-5)."""
        self._do("append", lambda node: node.append(self._append(node, wanted, together)))

    @rule(wanted=appends, together=st.booleans(), fault=faults, after=st.integers(0, 12))
    def append_on_a_bad_disk(
        self, wanted: dict[Lane, list[tuple[int, str, int]]], together: bool, fault: Fault, after: int
    ) -> None:
        """A fault strikes while it is written, or soon after; a cut leaves a torn tail (JRN-12a, JRN-15a, b)."""

        async def step(node: Node) -> None:
            node.disk.arm(fault, after=after if fault != "sync" else after % 3)
            await node.append(self._append(node, wanted, together))

        self._do(f"append, and {fault} after {after}", step)

    @rule(wanted=appends, cut=st.booleans())
    def append_and_leave(self, wanted: dict[Lane, list[tuple[int, str, int]]], cut: bool) -> None:
        """Its caller is cancelled while it is written, and the node ends, or loses its power (JRN-5e)."""

        async def step(node: Node) -> None:
            await node.append_and_leave(Batch(self._parts(node, wanted)), cut=cut)

        self._do(f"append and leave{', and cut' if cut else ''}", step)

    @rule()
    def append_again(self) -> None:
        """JRN-4d."""
        self._do("append again", lambda node: node.again())

    @rule(wanted=appends, lane=lanes, off=st.sampled_from([-2, -1, 1, 5]), count=st.integers(1, 2))
    def append_stale(
        self, wanted: dict[Lane, list[tuple[int, str, int]]], lane: Lane, off: int, count: int
    ) -> None:
        """One lane of a batch ends elsewhere: nothing is written, to none of them (JRN-4a, c)."""

        async def step(node: Node) -> None:
            known = node.model.lane(lane)
            head = len(known.entries)
            expected = (known.foreign if lane == SERVER and off < 0 else head) + off
            if expected < 0:
                return
            (stale,) = self._parts(node, {lane: [(0, "", 0)] * count})
            others = self._parts(node, {one: some for one, some in wanted.items() if one != lane})
            parts = [*others, stale._replace(expected=expected)]
            await node.refused(parts, {lane: head})

        self._do(f"append to {lane}, {off} off its head", step)

    # --- the disk, and the process ----------------------------------------------------------------------

    @rule(fault=faults, after=st.integers(0, 60))
    def arm(self, fault: Fault, after: int) -> None:
        """A fault that strikes whatever comes then: a compaction, an erasure, a close, a boot."""

        async def step(node: Node) -> None:
            node.disk.arm(fault, after=after if fault != "sync" else after % 4)

        self._do(f"arm {fault} after {after}", step)

    @rule(how=st.sampled_from(["cut the power", "restart", "boot twice", "second writer"]))
    def disturb(self, how: str) -> None:
        """What was not synced is lost, or half of it; or it ends in order; or it is opened twice (JRN-11b, JRN-12b)."""

        async def cut(node: Node) -> None:
            node.disk.cut()

        async def restart(node: Node) -> None:
            node.over = True

        if how == "boot twice":
            self._boot_twice()
        else:
            steps: dict[str, Step] = {"cut the power": cut, "restart": restart}
            self._do(how, steps.get(how, Node.second_writer))

    def _boot_twice(self) -> None:
        """A boot after a boot in which nothing happened changes nothing (JRN-13d)."""
        before: dict[Lane, int] = {}

        def ends(node: Node) -> dict[Lane, int]:
            return {lane: len(one.entries) for lane, one in node.model.lanes.items() if one.entries}

        async def restart(node: Node) -> None:
            node.disk.disarm()
            node.over = True

        async def remember(node: Node) -> None:
            before.update(ends(node))
            node.over = True

        async def compare(node: Node) -> None:
            assert ends(node) == before, f"a boot wrote: {ends(node)} after {before}"

        for what, step in (
            ("boot", restart),
            ("again", restart),
            ("remember", remember),
            ("compare", compare),
        ):
            self._do(what, step)

    # --- what is kept -----------------------------------------------------------------------------------

    @rule(lane=lanes, share=st.none() | shares)
    def compact(self, lane: Lane, share: int | None) -> None:
        """To any record, or as far as may be (JRN-17)."""

        async def step(node: Node) -> None:
            known = node.model.lane(lane)
            kept = len(known.entries) - known.base
            await node.compact(lane, None if share is None else known.base + -(-kept * share // 100))

        self._do(f"compact {lane} to {share}", step)

    @rule(kind=st.sampled_from(["knowledge", "session", "human"]), keep=st.integers(0, 8))
    def erase(self, kind: LaneKind, keep: int) -> None:
        """All payloads but the newest (JRN-16)."""
        self._do(f"erase {kind} but {keep}", lambda node: node.erase(kind, keep))

    @rule(lane=lanes)
    def snapshot(self, lane: Lane) -> None:
        """JRN-7."""
        self._do(f"snapshot of {lane}", lambda node: node.snapshot(lane))

    # --- running it -------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Run what was written."""
        with tempfile.TemporaryDirectory() as place:
            node = Node(
                Path(place) / "journal", f"machine-{next(DISKS)}", seed=self.seed, edition_1=self.edition_1
            )
            if self.first_fault is not None:
                fault, after = self.first_fault
                node.disk.arm(fault, after=after if fault != "sync" else after % 20)
            try:
                trio.run(node.run, self.program)
            finally:
                node.close()


class TestMachine(Machine.TestCase):  # type: ignore[misc, valid-type]  # made by Hypothesis
    """JRN-4, 5, 7, 10, 11, 12, 15 to 19."""

    settings = settings(
        max_examples=EXAMPLES or 10,
        stateful_step_count=20 if EXAMPLES else 15,
        deadline=None,
        derandomize=not EXAMPLES,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
