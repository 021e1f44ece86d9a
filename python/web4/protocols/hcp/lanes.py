"""Asking the lanes of humans, so that what becomes durable is noticed even if whoever asked has gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from web4.foundation.errors import Web4Error
from web4.journal.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.actors import LaneActors
    from web4.protocols.hcp.lane import commands as c
    from web4.protocols.hcp.lane.replies import Reply
    from web4.protocols.hcp.lane.states import LaneState, LocalState, RemoteState
    from web4.protocols.hcp.values import Contact


class _Asked:
    """A question to a lane, and its answer."""

    __slots__ = ("answered", "error", "reply")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.reply: Reply | None = None
        self.error: Web4Error | None = None


class Lanes:
    """The lanes `human:<id>` of a node.

    Args:
        noticed: Called with a lane's id and its reply once that is durable. Must not raise.
    """

    def __init__(self, noticed: Callable[[str, Reply], None]) -> None:
        self._noticed = noticed
        self._actors: LaneActors | None = None
        self._nursery: trio.Nursery | None = None
        self._ready = trio.Event()

    def bind(self, actors: LaneActors) -> None:
        """Take over the actors."""
        self._actors = actors

    def serve(self, nursery: trio.Nursery) -> None:
        """Ask from tasks of this nursery from now on; those who came early are let go on."""
        self._nursery = nursery
        self._ready.set()

    async def ready(self) -> None:
        """Wait until the runtime runs, and knows who there is: effects of an earlier boot begin before."""
        await self._ready.wait()

    def start(self, do: Callable[..., Any], *args: Any) -> None:
        """Do something in a task of its own, if the runtime runs."""
        if self._nursery is not None:
            self._nursery.start_soon(do, *args)

    async def ask(self, lane_id: str, command: c.HumanCommand, *, control: bool = False) -> Reply:
        """Give a command; its reply, once it is durable and was noticed.

        Cancellation: the command is decided and noticed all the same.

        Raises:
            Web4Error: As `LaneRef.ask`.
        """
        await self._ready.wait()
        assert self._nursery is not None
        asked = _Asked()
        self._nursery.start_soon(self._ask, lane_id, command, control, asked)
        await asked.answered.wait()
        if asked.error is not None:
            raise asked.error
        assert asked.reply is not None
        return asked.reply

    async def _ask(self, lane_id: str, command: c.HumanCommand, control: bool, asked: _Asked) -> None:
        try:
            asked.reply = await self._lane(lane_id).ask(command, control=control)
            self._noticed(lane_id, asked.reply)
        except Web4Error as error:
            asked.error = error.with_traceback(None)
        asked.answered.set()

    async def state(self, lane_id: str) -> LaneState:
        """The state of a lane as it is durable.

        Raises:
            Web4Error: As `LaneRef.state`.
        """
        state: LaneState = await self._lane(lane_id).state()
        return state

    async def local(self, human_id: str) -> LocalState | None:
        """What is known of a human of this node."""
        return (await self.state(human_id)).local

    async def remote(self, contact: Contact) -> RemoteState | None:
        """What is known of a human at a peer."""
        return (await self.state(contact.lane_id)).remote

    def _lane(self, lane_id: str) -> Any:
        if self._actors is None:
            raise RuntimeError("bind the runtime to lane actors first")
        return self._actors.lane(Lane("human", lane_id))
