"""The proof of ACT-1: a lane's logic decides alike everywhere, and touches nothing while it does."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from web4.foundation.logic import Decision, LaneLogic

State = TypeVar("State")
Command = TypeVar("Command")
Event = TypeVar("Event")
Reply = TypeVar("Reply")


class ImpureLogicError(AssertionError):
    """A lane's logic reached for something outside, or decided differently when asked again."""


def check_lane_logic(
    logic: LaneLogic[State, Command, Event, Reply], commands: Sequence[Command]
) -> tuple[State, list[Event]]:
    """Run `commands` through `logic` from its initial state and prove ACT-1 on the way.

    Checked are: `decide` and `apply` reach for no clock, random source, socket, file or process; asked again,
    `decide` gives equal events and replies and `apply` an equal state, so neither changes what it is given;
    another process with another hash seed decides the same events; replaying the events gives the same
    state. Logic, commands and events must be picklable.

    Returns:
        The final state and all events, for the test's own checks.

    Raises:
        ImpureLogicError: What was touched, or what differed.
    """
    with _nothing_at_hand():
        state, events, replies = _run(logic, commands)
        if _run(logic, commands) != (state, events, replies):
            raise ImpureLogicError("deciding the same commands again gave another outcome")
        replayed = logic.initial
        for event in events:
            replayed = logic.apply(replayed, event)
    if replayed != state:
        raise ImpureLogicError("replaying the events gives another state than deciding did")
    if _elsewhere(logic, commands) != events:
        raise ImpureLogicError("another process decides other events: does it depend on the order of a set?")
    return state, events


def _run(
    logic: LaneLogic[State, Command, Event, Reply], commands: Sequence[Command]
) -> tuple[State, list[Event], list[Reply]]:
    state = logic.initial
    events: list[Event] = []
    replies: list[Reply] = []
    for command in commands:
        decision: Decision[Event, Reply] = logic.decide(state, command)
        if logic.decide(state, command) != decision:
            raise ImpureLogicError(f"deciding {command!r} twice on one state differs")
        for event in decision.events:
            after = logic.apply(state, event)
            if logic.apply(state, event) != after:
                raise ImpureLogicError(f"applying {event!r} twice to one state differs")
            state = after
        events.extend(decision.events)
        replies.append(decision.reply)
    return state, events, replies


def _elsewhere(logic: Any, commands: Any) -> list[Any]:
    """Decide the same commands in a fresh process with another hash seed; its events."""
    program = (
        "import pickle, sys; from web4.testing.lane_logic import _run;"
        "logic, commands = pickle.load(sys.stdin.buffer);"
        "sys.stdout.buffer.write(pickle.dumps(_run(logic, commands)[1]))"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter, our own program
        [sys.executable, "-c", program],
        input=pickle.dumps((logic, list(commands))),
        env={"PYTHONHASHSEED": "271828", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise ImpureLogicError(f"another process could not decide: {done.stderr.decode()[-2000:]}")
    events: list[Any] = pickle.loads(done.stdout)  # noqa: S301 - written by the line above
    return events


# What reaches outside is seen by the interpreter's own hooks, not by replacing names: a name that was
# imported before the check is caught all the same. Audit events cover what opens something, the profile hook
# what merely reads.
_FORBIDDEN_AUDIT = ("open", "socket.", "subprocess.", "os.", "urllib.", "shutil.", "tempfile.", "ctypes.")
_FORBIDDEN_MODULES = frozenset({"time", "_random", "random", "_socket", "select", "_ssl", "secrets", "posix"})
_FORBIDDEN_DATETIME = frozenset({"now", "utcnow", "today"})
_PURE_CALLS = frozenset({("time", "gmtime"), ("time", "strftime"), ("posix", "fspath")})
_FORBIDDEN_FILES = ("/random.py", "/secrets.py", "/socket.py", "/subprocess.py", "/tempfile.py")

_watching = False


def _audit(event: str, _args: Any) -> None:
    if _watching and event.startswith(_FORBIDDEN_AUDIT):
        raise ImpureLogicError(f"the logic reaches outside: {event}")


def _profile(frame: FrameType, event: str, argument: Any) -> None:
    if event == "c_call":
        owner = getattr(argument, "__self__", None)
        module = getattr(argument, "__module__", None) or type(owner).__module__
        called = (module, argument.__name__)
        reads_now = (
            argument.__name__ in _FORBIDDEN_DATETIME and getattr(owner, "__module__", "") == "datetime"
        )
        if reads_now or (module in _FORBIDDEN_MODULES and called not in _PURE_CALLS):
            raise ImpureLogicError(f"the logic calls {module}.{argument.__name__}")
    elif event == "call" and frame.f_code.co_filename.endswith(_FORBIDDEN_FILES):
        raise ImpureLogicError(f"the logic calls {frame.f_code.co_qualname}")


_audit_installed: list[bool] = []


@contextmanager
def _nothing_at_hand() -> Iterator[None]:
    global _watching  # noqa: PLW0603 - an audit hook cannot be removed, only told to look away
    if not _audit_installed:
        sys.addaudithook(_audit)
        _audit_installed.append(True)
    before = sys.getprofile()
    # Finalizers of other people's garbage open files and sockets: none may run in between.
    collecting = gc.isenabled()
    gc.disable()
    _watching = True
    sys.setprofile(_profile)
    try:
        yield
    finally:
        sys.setprofile(before)
        _watching = False
        if collecting:
            gc.enable()
