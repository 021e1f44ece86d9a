"""The ring while it runs: its processes, the cables between them, what they say and what they answer."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import trio

from web4.demo.checks import CheckFailedError
from web4.demo.process import Child, ChildError, start_child
from web4.demo.ring.layout import STRANGER, Layout
from web4.demo.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from pathlib import Path

    from web4.demo.ring.options import MeshOptions
    from web4.demo.timeline import Timeline

    Event = dict[str, Any]

MODULE: Final = "web4.demo.ring.node"
STEP_SECONDS: Final = 30.0
"""How long a step waits for what it is about."""
START_SECONDS: Final = 60.0
"""How long a process may take to be a node: other things run on this machine."""
SETTLE_SECONDS: Final = 3.0
"""How long a sabotaged step waits to see that it does not come."""
LOOK_SECONDS: Final = 0.05


class Ring:
    """The nodes of the demo, by name. `open` starts them, and whatever ends it ends them.

    Args:
        timeline: Gets what they say.
        directory: Each node has its own in it.
        options: See `MeshOptions`.
        nursery: Runs cables, and listens to the processes.
    """

    def __init__(
        self, timeline: Timeline, *, directory: Path, options: MeshOptions, nursery: trio.Nursery
    ) -> None:
        self.timeline = timeline
        self.layout = Layout(options.nodes)
        self.names = self.layout.names
        self.directory = directory
        self.options = options
        self.patience = STEP_SECONDS
        self.run = ""
        """Which run it is in this directory: what is said in it names it, so that no run takes up another's words."""
        self._nursery = nursery
        self._said = trio.Event()
        self._children: dict[str, Child] = {}
        self._stacks: dict[str, AsyncExitStack] = {}
        self._fingerprints: dict[str, str] = {}
        self._addresses: dict[str, str] = {}
        self._cables: dict[frozenset[str], Wire] = {}
        self._reached: dict[str, set[str]] = {}

    # --- processes --------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Lay the cables and start every node; neighbours know and trust each other then.

        Raises:
            CheckFailedError, ChildError, OSError: It cannot be started here.
        """
        for first, second in self.layout.cables:
            cable = Wire(self.directory, self.options.transport, f"{first}-{second}")
            self._cables[frozenset((first, second))] = cable
            await self._nursery.start(cable.run)
        async with trio.open_nursery() as nursery:
            for name in self.names:
                nursery.start_soon(self.start, name)
        lives = (self.directory / self._own(self.names[0]) / "lives").read_text()
        self.run = f"run {lives.strip()}"
        for name in self.names:
            await self.know(name)

    async def start(self, name: str, *, elsewhere: bool = False) -> None:
        """Start a node, or start it again on its journal; `elsewhere` on none.

        Raises:
            CheckFailedError, ChildError, OSError: It does not come.
        """
        url = "tcp://127.0.0.1:0"
        if self.options.transport == "unix":
            url = f"unix://{self.directory / name}.sock"
        seed = None if self.options.seed is None else f"{self.options.seed}/{name}"
        own = self._own(name) + ("-elsewhere" if elsewhere else "")
        configuration = {
            "name": name,
            "url": url,
            "seed": seed,
            "directory": str(self.directory / own),
            # Nobody here reads the internet, and a node that does not starts in half the time.
            "sections": {"fetch": {"enabled": False}},
        }
        stack = self._stacks[name] = AsyncExitStack()
        self._children[name] = await stack.enter_async_context(
            start_child(MODULE, name, configuration, self._on_event, self._wake, self._nursery)
        )
        ready = (await self.event(name, "ready", patience=START_SECONDS))["payload"]
        self._fingerprints[name], self._addresses[name] = ready["fingerprint"], ready["url"]
        self.timeline.name(ready["fingerprint"], name)
        for first, second in self.layout.cables:
            if second == name:
                self.cable(first, second).target = ready["url"]

    async def kill(self, name: str) -> int:
        """Kill a node as a crash does; the moment at which it was gone, on the monotonic clock, in nanoseconds."""
        await self._children[name].kill()
        gone = time.monotonic_ns()
        await self._stacks.pop(name).aclose()
        return gone

    async def stop(self, name: str) -> None:
        """Let a node end in order."""
        stack = self._stacks.pop(name, None)
        if stack is not None:
            await stack.aclose()

    async def close(self) -> None:
        """Let all end, at once and in order."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for name in list(self._stacks):
                    nursery.start_soon(self.stop, name)

    def place(self, name: str) -> Path:
        """The directory of a node."""
        return self.directory / self._own(name)

    def _own(self, name: str) -> str:
        # Identities of different seeds are different agents, and have journals of their own.
        seeded = "" if self.options.seed is None else f"-{self.options.seed}"
        return f"{name}{seeded}{'-' + self.run.replace(' ', '-') if name == STRANGER else ''}"

    # --- who knows whom ---------------------------------------------------------------------------------

    async def know(self, name: str, *reached: str) -> None:
        """Give a node its peers file: neighbours, anchored, and those whom it is to reach over the mesh."""
        self._reached.setdefault(name, set()).update(reached)
        peers = [
            {
                "name": other,
                "fingerprint": self.of(other),
                "addresses": [self.cable(name, other).url] if (name, other) in self.layout.cables else [],
                "anchor": True,
            }
            for other in sorted(self.layout.neighbours(name) - self._reached[name])
        ]
        peers += [
            {"name": other, "fingerprint": self.of(other), "addresses": [f"mesh://{self.of(other)}"]}
            for other in sorted(self._reached[name])
        ]
        await self.need(name, "peers", peers=peers)

    async def forget(self, name: str, other: str) -> None:
        """Take a peer out of a node's peers file."""
        self._reached[name].discard(other)
        await self.know(name)

    async def promote(self, name: str, other: str) -> None:
        """A person at a node vouches for a peer."""
        await self.operator(name, "promote", other, "met in person")

    async def operator(self, name: str, act: str, other: str, reason: str) -> None:
        """A person at a node decides about a peer."""
        await self.need(
            name, "operator", act=act, peer=self.of(other), human=f"{name}'s person", reason=reason
        )

    def of(self, name: str) -> str:
        """The fingerprint of a node."""
        return self._fingerprints[name]

    def called(self, fingerprint: str) -> str:
        """The name of a fingerprint."""
        names = {known: name for name, known in self._fingerprints.items()}
        return names.get(fingerprint, fingerprint[:8])

    def address(self, name: str) -> str:
        """Where a node listens itself."""
        return self._addresses[name]

    def cable(self, first: str, second: str) -> Wire:
        """The cable between two nodes."""
        return self._cables[frozenset((first, second))]

    def between(self, side: Iterable[str]) -> list[Wire]:
        """The cables from some nodes to all others."""
        inside = set(side)
        return [cable for pair, cable in self._cables.items() if len(pair & inside) == 1]

    def cut(self, *cables: Wire) -> None:
        """Cut these cables: what goes through them breaks, and nothing more does."""
        for cable in cables:
            cable.down = True
            cable.cut()

    def join(self, *cables: Wire) -> None:
        """Join them again."""
        for cable in cables:
            cable.down = False

    # --- asking and listening ---------------------------------------------------------------------------

    async def ask(self, name: str, do: str, **arguments: Any) -> dict[str, Any]:
        """Have a node do something; its answer, a refusal too.

        Raises:
            CheckFailedError: It did not, in time.
            ChildError: It could not, or has ended.
        """
        with trio.move_on_after(self.patience):
            return await self._children[name].ask(do, **arguments)
        raise CheckFailedError(f"{name} did not {do} within {self.patience:g} s")

    async def need(self, name: str, do: str, **arguments: Any) -> dict[str, Any]:
        """Have a node do something; its answer.

        Raises:
            CheckFailedError: It refused, or did not in time.
            ChildError: It could not, or has ended.
        """
        reply = await self.ask(name, do, **arguments)
        if "refused" in reply:
            raise CheckFailedError(f"{name} refused to {do}: {reply['refused']}")
        return reply

    async def all(self, do: str, names: Iterable[str] | None = None, **arguments: Any) -> dict[str, Any]:
        """What several nodes answer, all if none is named; by name."""
        answers: dict[str, Any] = {}

        async def one(name: str) -> None:
            answers[name] = await self.ask(name, do, **arguments)

        await self.together(one(name) for name in (self.names if names is None else names))
        return answers

    async def together(self, work: Iterable[Awaitable[None]]) -> None:
        """Do several things at once; the first failure is that of all."""
        failures: list[CheckFailedError | ChildError] = []

        async def one(part: Awaitable[None], scope: trio.CancelScope) -> None:
            try:
                await part
            except (CheckFailedError, ChildError) as error:
                failures.append(error)
                scope.cancel()

        async with trio.open_nursery() as nursery:
            for part in work:
                nursery.start_soon(one, part, nursery.cancel_scope)
        if failures:
            raise failures[0]

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str) -> float:
        """Wait until something holds; the seconds that it took.

        Raises:
            CheckFailedError: It does not, in time.
        """
        began = trio.current_time()
        with trio.move_on_after(self.patience):
            while not await holds():  # noqa: ASYNC110 - processes are asked, which have no event here
                await trio.sleep(LOOK_SECONDS)
            return trio.current_time() - began
        raise CheckFailedError(f"{what}: not within {self.patience:g} s")

    async def event(
        self,
        name: str,
        kind: str,
        peer: str | None = None,
        *,
        after: int = 0,
        patience: float | None = None,
        **wanted: Any,
    ) -> Event:
        """The first event of a kind that a node says, which no step has taken; about a peer, if one is named.

        Args:
            name: The node.
            kind: The type.
            peer: The name of the peer.
            after: On the monotonic clock, in nanoseconds: what was before does not count.
            patience: How long it is waited for, if not as always.
            wanted: What its payload says.

        Raises:
            CheckFailedError: There is none, in time.
            ChildError: It has ended.
        """
        seconds = self.patience if patience is None else patience
        async for event in self._events(name, trio.current_time() + seconds):
            fits = event["type"] == kind and event["mono_ns"] >= after
            fits = fits and (peer is None or event.get("peer") == self.of(peer))
            if fits and wanted.items() <= event.get("payload", {}).items():
                event["seen"] = True
                return event
        raise CheckFailedError(
            f"{name} said no {kind}{f' about {peer}' if peer else ''} within {seconds:g} s"
        )

    async def _events(self, name: str, until: float) -> AsyncIterator[Event]:
        """What a node says, from the beginning, until a time."""
        place = 0
        while trio.current_time() < until:
            said, events = self._said, self.timeline.events
            while place < len(events):
                event = events[place]
                place += 1
                if event["node"] == name and not event.get("seen"):
                    yield event
            if name in self._children and self._children[name].ended:
                raise ChildError(f"{name} has ended")
            with trio.move_on_at(until):
                await said.wait()

    def _on_event(self, event: Event) -> None:
        self.timeline.event(event)
        self._wake()

    def _wake(self) -> None:
        self._said.set()
        self._said = trio.Event()
