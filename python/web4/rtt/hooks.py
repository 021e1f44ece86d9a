"""Lifecycle hooks: the node's own functions, told in order what becomes of a session (RTT-54 to RTT-57).

session.hooks.register("on_close", tell_the_operator)
endpoint.hooks.register("on_open", greet)          # the same for all sessions of the endpoint
"""

from __future__ import annotations

import inspect
import itertools
import math
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import msgspec
import trio

from web4.rtt.errors import SessionLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from web4.foundation.events import Emitter

    Hook = Callable[["SessionEvent"], Awaitable[object] | object]
    """A function or an async function of one event. What it returns is not looked at."""

HookName = Literal[
    "on_open",
    "on_channel",
    "on_heartbeat_timeout",
    "on_suspend",
    "on_resume",
    "on_rekey",
    "on_lost",
    "on_close",
]
NAMES: tuple[HookName, ...] = get_args(HookName)

MAX_WAITING = 1024
"""Events of one session that wait for its hooks. A session that would need more is ended: nothing is dropped, and no
peer can make it hold more by opening channels faster than a hook looks at them."""
LEAVING_GRACE = 1.0
"""Seconds that all hooks together still get when an endpoint is left by an exception or a cancellation."""


class SessionEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What happened to a session, as a hook is told. A snapshot: by then the session may have gone on."""

    name: HookName
    session_id: bytes
    peer: str
    """Fingerprint."""
    epoch: int
    """Number of the carrier it happened on, from 0."""
    at: float
    """When, in seconds of Trio's clock."""
    reason: str = ""
    """Why, of `on_heartbeat_timeout`, `on_suspend`, `on_lost` and `on_close`."""
    reconnects: int = 0
    """How often the session had been resumed by then."""
    resumed: bool | None = None
    """Of `on_open` and `on_resume`: whether it is the session that was there before."""
    previous: bytes | None = None
    """Of `on_open`: the id of the session that this one replaces."""
    lost: SessionLost | None = None
    """Of `on_lost`: what was accepted and not acknowledged. Of `on_open`: the same of `previous`."""
    channel: int | None = None
    """Of `on_channel`: the id of the channel that the peer opened."""


class Subject(Protocol):
    """What the hooks need to know of their session."""

    session_id: bytes
    peer: str

    @property
    def epoch(self) -> int:
        """The number of its carrier."""
        ...

    @property
    def reconnects(self) -> int:
        """How often it was resumed."""
        ...

    @property
    def state(self) -> str:
        """Where it is in its life."""
        ...

    def abort(self, reason: str) -> None:
        """Close it at once."""
        ...


class HookHandle:
    """One registration; good for `unregister` only."""

    __slots__ = ("active", "hook", "name", "number")

    def __init__(self, number: int, name: HookName, hook: Hook) -> None:
        self.number, self.name, self.hook = number, name, hook
        self.active = True

    def __repr__(self) -> str:
        return f"<HookHandle of {self.name}>"


class Hooks(ABC):
    """A list of hooks. Registering and removing take effect for every event that has not begun (RTT-57)."""

    __slots__ = ("_handles", "_next_number")

    def __init__(self, next_number: Callable[[], int]) -> None:
        self._handles: dict[int, HookHandle] = {}
        self._next_number = next_number

    def register(self, name: HookName, hook: Hook) -> HookHandle:
        """Call `hook` with every later event `name`, in the order of registration, one hook at a time.

        `on_open` of a session that is open already is delivered to this hook at once, once. The function may be
        async; it runs in a task of the endpoint. It delays the hooks behind it, and never the session's data.

        Raises:
            ValueError: There is no such hook.
        """
        if name not in NAMES:
            raise ValueError(f"there is no hook {name!r}; there are {', '.join(NAMES)}")
        handle = HookHandle(self._next_number(), name, hook)
        self._handles[handle.number] = handle
        if name == "on_open":
            self._tell_late(handle)
        return handle

    def unregister(self, handle: HookHandle) -> None:
        """Call a hook no more. One that runs now goes on. Doing it twice changes nothing."""
        if self._handles.get(handle.number) is handle:
            del self._handles[handle.number]
            handle.active = False

    def clear(self) -> None:
        """Unregister all hooks of this list."""
        for handle in list(self._handles.values()):
            self.unregister(handle)

    def named(self, name: HookName) -> list[HookHandle]:
        """The registrations of one hook, oldest first."""
        return [handle for handle in self._handles.values() if handle.name == name]

    @abstractmethod
    def _tell_late(self, handle: HookHandle) -> None:
        """An `on_open` was registered: for sessions that are open already it is due now."""


class EndpointHooks(Hooks):
    """The hooks of all sessions of an endpoint, and how hooks are called."""

    __slots__ = (
        "_deliveries",
        "_emit",
        "_idle",
        "_leave_at",
        "_nursery",
        "_scopes",
        "_sessions",
        "failures",
        "next_number",
        "overflows",
        "timeout",
    )

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        timeout: float,
        emit: Emitter,
        sessions: Callable[[], Iterable[SessionHooks]],
    ) -> None:
        self.next_number = itertools.count().__next__
        """Numbers registrations and events in the order in which they came."""
        super().__init__(self.next_number)
        self._nursery = nursery
        self._emit = emit
        self._sessions = sessions
        self._leave_at = math.inf
        self._scopes: set[trio.CancelScope] = set()
        self._deliveries = 0
        self._idle = trio.Event()
        self.timeout = timeout
        """Seconds that a hook may take for one event."""
        self.failures = 0
        """Calls of hooks that raised or took too long."""
        self.overflows = 0
        """Sessions that were ended because their hooks were `MAX_WAITING` events behind."""

    def start(self, deliver: Callable[[], Awaitable[None]]) -> None:
        """Run a delivery in a task of the endpoint, even one that is being cancelled."""
        self._deliveries += 1
        self._nursery.start_soon(self._run, deliver, name="hooks of a session")

    async def _run(self, deliver: Callable[[], Awaitable[None]]) -> None:
        try:
            # An endpoint that is left still tells its hooks of the end, in the time that `leave` gives them.
            with trio.CancelScope(shield=True):
                await deliver()
        finally:
            self._deliveries -= 1
            if not self._deliveries:
                self._idle.set()

    def leave(self, grace: float) -> None:
        """The endpoint is being left: hooks that are due still run, all together for `grace` seconds at most.

        After that each one is still called, and cancelled at its first checkpoint: it costs no event, and no time.
        """
        self._leave_at = min(self._leave_at, trio.current_time() + grace)
        for scope in self._scopes:
            scope.deadline = min(scope.deadline, self._leave_at)

    async def finish(self) -> None:
        """Leave with the time of one hook, and wait until all is delivered. Cancelled, it changes nothing."""
        self.leave(self.timeout)
        while self._deliveries:
            self._idle = trio.Event()
            await self._idle.wait()

    async def call(self, handle: HookHandle, event: SessionEvent) -> None:
        """Run one hook. Nothing that it raises escapes, but for what ends the whole run, such as an interrupt."""
        began = trio.current_time()
        failure = None
        scope = trio.CancelScope(deadline=min(began + self.timeout, self._leave_at))
        self._scopes.add(scope)
        try:
            with scope:
                result = handle.hook(event)
                if inspect.isawaitable(result):
                    await result
        except Exception as error:
            # The text may hold what the hook was told in confidence: the type says enough (RTT-58).
            failure = type(error).__name__
        finally:
            self._scopes.discard(scope)
        # A function that is not async cannot be cancelled, nor one that ignores it: the clock tells on both.
        if scope.cancelled_caught or trio.current_time() > began + self.timeout:
            failure = "hook_timeout"
        if failure is not None:
            self._report(event, failure)

    def overflow(self, subject: Subject) -> None:
        """A session's hooks are so far behind that it cannot go on without dropping events."""
        self.overflows += 1
        self._emit(
            "error",
            severity="error",
            peer=subject.peer,
            session_id=subject.session_id.hex(),
            where="hook",
            error="hooks_behind",
        )
        subject.abort("the hooks are behind")

    def _report(self, event: SessionEvent, failure: str) -> None:
        self.failures += 1
        self._emit(
            "error",
            severity="error",
            peer=event.peer,
            session_id=event.session_id.hex(),
            where="hook",
            hook=event.name,
            error=failure,
        )

    def _tell_late(self, handle: HookHandle) -> None:
        for hooks in list(self._sessions()):
            hooks.tell_late(handle)


class _Waiting(msgspec.Struct, frozen=True):
    number: int
    event: SessionEvent
    only: HookHandle | None


class SessionHooks(Hooks):
    """The hooks of one session, and the one queue through which its events reach all hooks (RTT-55)."""

    __slots__ = ("_delivering", "_opened", "_over", "_shared", "_subject", "_waiting")

    def __init__(self, subject: Subject, shared: EndpointHooks) -> None:
        super().__init__(shared.next_number)
        self._subject = subject
        self._shared = shared
        # None of these costs anything until there is something to deliver (RTT-52).
        self._waiting: deque[_Waiting] | None = None
        self._delivering = False
        self._opened: SessionEvent | None = None
        self._over: Literal["", "behind", "closed"] = ""

    def post(
        self,
        name: HookName,
        *,
        reason: str = "",
        resumed: bool | None = None,
        previous: bytes | None = None,
        lost: SessionLost | None = None,
        channel: int | None = None,
    ) -> None:
        """Tell the hooks what has happened; the session must show it already (RTT-11). Never waits, never raises.

        Nothing is posted after `on_close`: it is the last.
        """
        if self._over == "closed":
            return
        concerned = self.named(name) or self._shared.named(name)
        if concerned or name == "on_open":
            event = SessionEvent(
                name=name,
                session_id=self._subject.session_id,
                peer=self._subject.peer,
                epoch=self._subject.epoch,
                at=trio.current_time(),
                reason=reason,
                reconnects=self._subject.reconnects,
                resumed=resumed,
                previous=previous,
                lost=lost,
                channel=channel,
            )
            if name == "on_open":
                self._opened = event
            if concerned:
                self._enqueue(event, None)
        if name == "on_close":
            self._over, self._opened = "closed", None

    def tell_late(self, handle: HookHandle) -> None:
        """An `on_open` was registered after the session opened: for this one hook, unless all is over."""
        if self._opened is not None and self._subject.state != "closed":
            self._enqueue(self._opened, handle)

    def _tell_late(self, handle: HookHandle) -> None:
        self.tell_late(handle)

    def _enqueue(self, event: SessionEvent, only: HookHandle | None) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(_Waiting(self._next_number(), event, only))
        if not self._delivering:
            self._delivering = True
            self._shared.start(self._deliver)
        if len(self._waiting) >= MAX_WAITING and not self._over:
            # What `on_lost` and `on_close` need goes beyond the bound, and nothing follows them.
            self._over = "behind"
            self._shared.overflow(self._subject)

    async def _deliver(self) -> None:
        """Deliver what waits, in order, one hook at a time, until nothing does."""
        try:
            while self._waiting:
                waiting = self._waiting.popleft()
                for handle in self._concerned(waiting):
                    # It may have been removed while the one before it ran.
                    if handle.active:
                        await self._shared.call(handle, waiting.event)
                # Hooks that never wait must not keep everything else from running.
                await trio.lowlevel.checkpoint()
        finally:
            self._waiting, self._delivering = None, False

    def _concerned(self, waiting: _Waiting) -> list[HookHandle]:
        if waiting.only is not None:
            return [waiting.only]
        name = waiting.event.name
        handles = [*self._shared.named(name), *self.named(name)]
        # Whoever registered after it happened is not told of it.
        earlier = (handle for handle in handles if handle.number < waiting.number)
        return sorted(earlier, key=lambda handle: handle.number)
