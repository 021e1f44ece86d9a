"""The stage of a demo: its processes, what they have said so far, and how a step asks them and waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import trio

from web4.demo.checks import CheckFailedError
from web4.demo.process import Child, ChildError, start_child
from web4.demo.timeline import REFUSALS
from web4.demo.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AsyncExitStack
    from pathlib import Path

    from web4.demo.program import DemoOptions
    from web4.demo.timeline import Timeline

    Event = dict[str, Any]

STEP_SECONDS: Final = 30.0
"""How long a step waits for the event that it is about."""
START_SECONDS: Final = 45.0
"""How long a process may take to start, on a machine that has much else to do."""
SETTLE_SECONDS: Final = 0.5
"""How long a sabotaged step waits to see that the event does not come."""

PROCESSES = {
    "alice": "web4.demo.agent",
    "bob": "web4.demo.agent",
    "mallory": "web4.demo.hostile",
    "web": "web4.demo.web",
}


class Step(NamedTuple):
    """One check: its name, and what is done and looked at for it."""

    name: str
    do: Callable[[], Awaitable[None]]


class Stage:
    """The processes, and what they have said so far.

    Args:
        timeline: Shows what they say.
        directory: Each has its own below it.
        options: See `DemoOptions`.
    """

    def __init__(self, timeline: Timeline, *, directory: Path, options: DemoOptions) -> None:
        self.timeline = timeline
        self.directory = directory
        self.sabotage = options.sabotage
        self.wire = Wire(directory, options.transport)
        """What alice dials to reach bob."""
        self.children: dict[str, Child] = {}
        self.fingerprints: dict[str, str] = {}
        self.urls: dict[str, str] = {}
        self.before: dict[str, str] = {}
        """How far alice and bob trusted each other when the story began."""
        self.session = ""
        """The session between alice and bob."""
        self.step = ""
        self._transport = options.transport
        self._seed = options.seed
        self._said = trio.Event()
        self._closed = ""
        self._stack: AsyncExitStack
        self._nursery: trio.Nursery

    # --- processes --------------------------------------------------------------------------------------

    async def open(self, stack: AsyncExitStack, nursery: trio.Nursery) -> None:
        """Start everybody; the web first: bob's configuration says which server he may read from (FETCH-11).

        Raises:
            CheckFailedError, ChildError, OSError: Somebody could not be started.
        """
        self._stack, self._nursery = stack, nursery
        await nursery.start(self.wire.run)
        await self._open_child("web")
        ready = (await self.event("web", "answer", about="ready"))["payload"]
        self.urls["web"], self._closed = ready["url"], ready["closed"]
        for name in ("alice", "bob", "mallory"):
            await self._open_child(name)
        for name in ("alice", "bob", "mallory"):
            await self._note_ready(name)

    @property
    def closed(self) -> str:
        """Where the web process listens, and nobody is allowed to go."""
        return self._closed

    def path_of(self, name: str, *, elsewhere: bool = False) -> Path:
        """The directory of a process. Identities of different seeds are different agents, with their own journals."""
        own = f"{name}{'' if self._seed is None else f'-{self._seed}'}{'-elsewhere' if elsewhere else ''}"
        return self.directory / own

    async def start(self, name: str, *, elsewhere: bool = False) -> None:
        """Start a process, or start it again, and wait until it is ready."""
        await self._open_child(name, elsewhere=elsewhere)
        await self._note_ready(name)

    async def _open_child(self, name: str, *, elsewhere: bool = False) -> None:
        url = "tcp://127.0.0.1:0" if self._transport == "tcp" else f"unix://{self.directory / name}.sock"
        configuration = {
            "name": name,
            "url": url,
            "seed": None if self._seed is None else f"{self._seed}/{name}",
            "directory": str(self.path_of(name, elsewhere=elsewhere)),
            "sections": self._sections(name),
        }
        self.children[name] = await self._stack.enter_async_context(
            start_child(PROCESSES[name], name, configuration, self._on_event, self._wake, self._nursery)
        )

    async def _note_ready(self, name: str) -> None:
        ready = (await self.event(name, "ready"))["payload"]
        self.fingerprints[name], self.urls[name] = ready["fingerprint"], ready["url"]
        self.timeline.name(ready["fingerprint"], name)
        if name == "bob":
            self.wire.target = ready["url"]

    def _sections(self, name: str) -> dict[str, Any]:
        """What stands in an agent's configuration beside the defaults; the mesh has a demo of its own."""
        sections: dict[str, Any] = {"mesh": {"enabled": False}}
        if name == "bob":
            # The other port may be dialled too, but at no private address: the address is what is refused then.
            pages, closed = (url.removeprefix("http://") for url in (self.urls["web"], self._closed))
            sections["fetch"] = {"allow": [f"{pages}@127.0.0.0/8", closed]}
        return sections

    async def kill(self, name: str) -> None:
        """End a process as a crash does: SIGKILL."""
        await self.children[name].kill()

    async def cut(self) -> None:
        """Cut the wire between alice and bob, and leave it so, until alice has noticed."""
        self.wire.down = True
        self.wire.cut()
        await self.event("alice", "session_suspend", peer="bob", session_id=self.session, patient=True)

    # --- what they say ----------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        self.timeline.event(event)
        self._wake()

    def _wake(self) -> None:
        self._said.set()
        self._said = trio.Event()

    async def event(
        self, node: str, *kinds: str, peer: str | None = None, patient: bool = False, **said: Any
    ) -> Event:
        """The first event of these kinds that a node has said in this life and no step has looked at, or the next.

        Args:
            node: Whose.
            kinds: Types of events, or `answer`.
            peer: About whom.
            patient: Whether it comes in a sabotaged step, too.
            said: Fields that the event, or its payload, has with these values.

        Raises:
            CheckFailedError: It did not come.
            ChildError: The node has ended.
        """
        patience = START_SECONDS if kinds == ("ready",) else STEP_SECONDS if patient else self._patience
        child = self.children[node]
        with trio.move_on_after(patience):
            while True:
                news = self._said
                for event in self.timeline.events:
                    if event["pid"] == child.pid and event["type"] in kinds and self._fits(event, peer, said):
                        event["seen"] = True
                        return event
                if child.ended:
                    raise ChildError(f"{node} has ended")
                await news.wait()
        about = "" if peer is None else f" about {peer}"
        more = "".join(f", {name} {value}" for name, value in said.items())
        raise CheckFailedError(
            f"{node} said no {' or '.join(sorted(kinds))}{about}{more} within {patience:g} s"
        )

    @property
    def _patience(self) -> float:
        return SETTLE_SECONDS if self.sabotage == self.step else STEP_SECONDS

    def _fits(self, event: Event, peer: str | None, said: dict[str, Any]) -> bool:
        if event.get("seen") or (peer is not None and event.get("peer") != self.fingerprints[peer]):
            return False
        payload = event.get("payload", {})
        return all(payload.get(name, event.get(name)) == value for name, value in said.items())

    async def refusal(self, node: str, peer: str, *codes: str) -> None:
        """Wait for the next refusal that a node says about a peer; it has one of these codes."""
        self.expect(await self.event(node, *REFUSALS, peer=peer), *codes)

    def expect(self, event: Event, *codes: str) -> None:
        """Raise if an event is no refusal with one of these codes."""
        if event.get("outcome") != "refused" or event.get("code") not in codes:
            raise CheckFailedError(f"{event['type']} says {event.get('code')}, not {' or '.join(codes)}")

    # --- what they are asked ----------------------------------------------------------------------------

    async def ask(self, node: str, do: str, /, **arguments: Any) -> dict[str, Any]:
        """Ask a process.

        Raises:
            CheckFailedError: It did not answer in time, or refused what a step needs.
            ChildError: It could not, or has ended.
        """
        reply = await self.ask_freely(node, do, **arguments)
        if "refused" in reply:
            raise CheckFailedError(f"{node} refused to {do}: {reply['refused']}")
        return reply

    async def ask_freely(self, node: str, do: str, /, **arguments: Any) -> dict[str, Any]:
        """Ask a process; it may refuse."""
        with trio.move_on_after(STEP_SECONDS):
            return await self.children[node].ask(do, **arguments)
        raise CheckFailedError(f"{node} did not {do} within {STEP_SECONDS:g} s")

    async def until(
        self, node: str, do: str, holds: Callable[[dict[str, Any]], bool], /, **arguments: Any
    ) -> None:
        """Ask until the answer is what a step waits for."""
        patience = self._patience
        answer: dict[str, Any] = {}
        with trio.move_on_after(patience):
            while not holds(answer := await self.ask(node, do, **arguments)):  # noqa: ASYNC110 - it has no event
                await trio.sleep(0.02)
            return
        raise CheckFailedError(f"{node} still answers {answer} to {do} after {patience:g} s")

    async def operator(self, node: str, act: str, peer: str, reason: str) -> None:
        """Let a node's person decide about a peer."""
        human = f"{node}'s person"
        await self.ask(node, "operator", act=act, peer=self.fingerprints[peer], human=human, reason=reason)

    async def trust(self, node: str, peer: str) -> dict[str, Any]:
        """How far a node trusts a peer, and the log that says why."""
        return await self.ask(node, "trust", peer=self.fingerprints[peer])

    async def outbox_empty(self, node: str, peer: str) -> None:
        """Wait until nothing waits at a node for a peer."""
        await self.until(node, "outbox", lambda said: said["waiting"] == 0, peer=self.fingerprints[peer])

    async def each_once(self, node: str, peer: str, msg_ids: list[str]) -> None:
        """Each of these messages of a peer was taken in once, by the node's journal."""
        counts = (await self.ask(node, "taken", peer=self.fingerprints[peer], msg_ids=msg_ids))["counts"]
        wrong = [count for count in counts.values() if count != 1]
        if wrong:
            raise CheckFailedError(f"{len(wrong)} of {len(counts)} messages arrived {wrong[0]} times")
