"""The logic of enabling against a plain model, and the proof that it is pure (ACT-1, EXT-7, EXT-8, EXT-38)."""

from __future__ import annotations

import os
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from web4.extensions.enabling import enabling_logic
from web4.extensions.enabling.asking import Asks
from web4.extensions.enabling.enabling_events import EXTENSION_EVENTS
from web4.extensions.enabling.enabling_logic import (
    Disable,
    Enable,
    ExtensionCommand,
    ExtensionsLogic,
    ExtensionsState,
    NoteBreaker,
    NoteChanged,
    NoteReloaded,
)
from web4.extensions.enabling.server_lane import EXTENSIONS
from web4.extensions.quarantine import BreakerState
from web4.foundation.logic import replay
from web4.journal.event_types import EventRegistry
from web4.testing import check_lane_logic

ROUNDS = int(os.environ.get("WEB4_ROUNDS", "60"))
OPEN = BreakerState(times=1, since=5, code="extension_crashed")
BUILTIN = ("read_file",)


def enable(name: str, at: int = 0, *, digest: str = "d1", tools: tuple[str, ...] = (), **more: Any) -> Enable:
    asks = more.pop("asks", Asks(level="standard", tools=tools))
    return Enable(
        name=name,
        at=at,
        version="1.0.0",
        digest=digest,
        directory=f"/{name}",
        files="b3:" + "0" * 64,
        file_count=1,
        asks=asks,
        by="operator",
        how="cli",
        reserved=BUILTIN,
        **more,
    )


def test_logic_is_pure_and_replays() -> None:
    """ACT-1: the same events in another process, the same state from them, and from its own encoding."""
    commands: list[ExtensionCommand] = [
        Disable(name="a", at=0, by="ada"),
        enable("a", 1, tools=("one", "two")),
        enable("b", 2, tools=("two",)),
        enable("b", 3, tools=("read_file",)),
        enable("b", 4, tools=("three",), development=True),
        NoteChanged(
            name="b", at=5, digest="d2", added=("x",) * 50, changed=("y" * 9_000,), reason="z" * 9_000
        ),
        NoteChanged(name="b", at=6, digest=None),
        NoteReloaded(name="b", at=7, version="1.0.1", digest="d2", generation=2, asks=Asks(level="standard")),
        NoteReloaded(name="b", at=7, version="1.0.1", digest="d2", generation=3, asks=Asks(level="none")),
        NoteBreaker(name="a", at=8, state=OPEN),
        enable("a", 9),
        NoteBreaker(name="a", at=10, state=None, by="ada"),
        enable("a", 11, digest="d3"),
        Disable(name="a", at=12, by="ada", reason="why not"),
    ]
    state, events = check_lane_logic(ExtensionsLogic(), commands)
    assert [one.name for one in state.enabled()] == ["b"]
    registry = EventRegistry(EXTENSION_EVENTS)
    reread: list[Any] = [registry.reread(registry.type_of(one), registry.encode(one)) for one in events]
    assert reread == events
    assert all(len(registry.encode(one)) < 64 * 1024 for one in events)
    assert replay(ExtensionsLogic(), reread) == state
    assert EXTENSIONS.definition.decode(EXTENSIONS.definition.encode(state)) == state


def test_only_so_many_are_enabled_and_remembered(monkeypatch: Any) -> None:
    """The state is bounded: disabled ones are forgotten, the earliest first; enabled ones never."""
    monkeypatch.setattr(enabling_logic, "MAX_ENABLED", 2)
    monkeypatch.setattr(enabling_logic, "MAX_RECORDS", 3)
    logic = ExtensionsLogic()
    state = logic.initial
    for number in range(6):
        for command in (enable(f"e{number}", number), Disable(name=f"e{number}", at=number, by="ada")):
            for event in logic.decide(state, command).events:
                state = logic.apply(state, event)
    assert sorted(state.records) == ["e3", "e4", "e5"]
    for number in range(2):
        (event,) = logic.decide(state, enable(f"x{number}")).events
        state = logic.apply(state, event)
    assert logic.decide(state, enable("x2")).reply.refused == "too_many"
    assert logic.decide(state, enable("x1", digest="d9")).reply.refused is None
    assert [one.name for one in state.enabled()] == ["x0", "x1"]


_LEVELS = st.sampled_from(["none", "strict"])
_NAMES = st.sampled_from(["a", "b", "c"])
_DIGESTS = st.sampled_from(["d1", "d2"])
_TOOLS = st.lists(st.sampled_from(["one", "two", "read_file"]), max_size=2, unique=True).map(tuple)


class EnablingMachine(RuleBasedStateMachine):
    """Commands in any order, against a dictionary of dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.logic = ExtensionsLogic()
        self.state = self.logic.initial
        self.events: list[Any] = []
        self.model: dict[str, dict[str, Any]] = {}
        self.at = 0

    def ask(self, command: Any) -> tuple[str | None, bool]:
        """Decide and apply; the refusal, and whether anything was recorded."""
        decision = self.logic.decide(self.state, command)
        assert len(decision.events) <= 1
        if decision.reply.refused is not None:
            assert not decision.events
        for event in decision.events:
            self.events.append(event)
            self.state = self.logic.apply(self.state, event)
        return decision.reply.refused, bool(decision.events)

    def on(self, name: str) -> bool:
        return name in self.model and bool(self.model[name]["on"])

    def taken(self, name: str, tools: tuple[str, ...]) -> bool:
        others = [one["tools"] for other, one in self.model.items() if other != name and one["on"]]
        return "read_file" in tools or any(set(tools) & set(other) for other in others)

    @rule(
        name=_NAMES,
        digest=_DIGESTS,
        tools=_TOOLS,
        development=st.booleans(),
        level=_LEVELS,
    )
    def enable(self, name: str, digest: str, tools: tuple[str, ...], development: bool, level: str) -> None:
        self.at += 1
        asks = Asks(level=level, tools=tools)  # type: ignore[arg-type]
        refusal, recorded = self.ask(enable(name, self.at, digest=digest, asks=asks, development=development))
        if self.taken(name, tools):
            assert refusal == "name_clash"
            return
        assert refusal is None
        before = self.model.get(name)
        quarantine = before["quarantine"] if before and before["digest"] == digest else None
        after = {
            "on": True,
            "digest": digest,
            "tools": tools,
            "asked": (level, tools),
            "development": development,
            "changed": None,
            "quarantine": quarantine,
        }
        assert recorded is (
            before is None or {**before, "tools": set(before["tools"])} != {**after, "tools": set(tools)}
        )
        self.model[name] = after

    @rule(name=_NAMES)
    def disable(self, name: str) -> None:
        refusal, _ = self.ask(Disable(name=name, at=self.at, by="ada"))
        assert (refusal is None) is self.on(name)
        if self.on(name):
            self.model[name]["on"] = False

    @rule(name=_NAMES, digest=st.sampled_from(["d1", "d2", None]))
    def changed(self, name: str, digest: str | None) -> None:
        refusal, recorded = self.ask(NoteChanged(name=name, at=self.at, digest=digest))
        if not self.on(name):
            assert refusal == "not_enabled"
            return
        found = digest or "unreadable"
        assert recorded is (self.model[name]["changed"] != found)
        self.model[name]["changed"] = found

    @rule(
        name=_NAMES,
        digest=_DIGESTS,
        tools=_TOOLS,
        level=_LEVELS,
        development=st.booleans(),
    )
    def reload(self, name: str, digest: str, tools: tuple[str, ...], level: str, development: bool) -> None:
        asks = Asks(level=level, tools=tools)  # type: ignore[arg-type]
        refusal, _ = self.ask(
            NoteReloaded(
                name=name,
                at=self.at,
                version="1.0.0",
                digest=digest,
                generation=2,
                asks=asks,
                development=development,
                reserved=BUILTIN,
            )
        )
        if not self.on(name):
            assert refusal == "not_enabled"
            return
        one = self.model[name]
        free = one["development"] or development
        if (digest != one["digest"] and not free) or level != one["asked"][0]:
            assert refusal == "changed"
        elif self.taken(name, tools):
            assert refusal == "name_clash"
        else:
            assert refusal is None
            one.update(tools=tools, changed=None)

    @rule(name=_NAMES, state=st.sampled_from([None, OPEN, msgspec.structs.replace(OPEN, times=2)]))
    def breaker(self, name: str, state: BreakerState | None) -> None:
        refusal, recorded = self.ask(NoteBreaker(name=name, at=self.at, state=state))
        if not self.on(name):
            assert refusal == "not_enabled"
            return
        assert recorded is (self.model[name]["quarantine"] != state)
        self.model[name]["quarantine"] = state

    @invariant()
    def state_is_the_models(self) -> None:
        found = {
            name: (one.enabled, one.digest, set(one.names), one.development, one.changed, one.quarantine)
            for name, one in self.state.records.items()
        }
        wanted = {
            name: (
                one["on"],
                one["digest"],
                set(one["tools"]),
                one["development"],
                one["changed"],
                one["quarantine"],
            )
            for name, one in self.model.items()
        }
        assert found == wanted

    @invariant()
    def no_name_belongs_to_two(self) -> None:
        """EXT-8, whatever happened."""
        names = [name for one in self.state.enabled() for name in one.names]
        assert len(names) == len(set(names))
        assert not set(names) & set(BUILTIN)

    @precondition(lambda self: len(self.events) % 5 == 0)
    @rule()
    def restart(self) -> None:
        """The lane alone gives the state again, from its events and from a snapshot."""
        assert replay(self.logic, self.events) == self.state
        self.state = EXTENSIONS.definition.decode(EXTENSIONS.definition.encode(self.state))
        assert isinstance(self.state, ExtensionsState)


TestEnablingMachine = EnablingMachine.TestCase
TestEnablingMachine.settings = settings(
    max_examples=ROUNDS, stateful_step_count=25, deadline=None, print_blob=True
)
