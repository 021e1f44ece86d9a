"""Services on a node: what peers call here, and what it calls elsewhere (GRAPH-4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from web4.extensions.calls.kept_values import kept
from web4.foundation.errors import Web4Error
from web4.journal.lane import SERVER
from web4.mesh.services.calling import ServiceCaller
from web4.mesh.services.catalogue import ServiceCatalogue
from web4.mesh.services.part import SERVICES, services_part
from web4.mesh.services.running import SendService, ServiceRunner
from web4.mesh.services.service_logic import CallService, CutService, ServicesLogic
from web4.mesh.services.service_state import MAX_RUNNING, MAX_RUNNING_OF_ONE

if TYPE_CHECKING:
    from web4.actors.composite import Part
    from web4.actors.lane_actors import LaneActors
    from web4.actors.lane_ref import LaneRef
    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.foundation.ids import IdSource
    from web4.journal.journal import Journal
    from web4.mesh.services.catalogue import Service
    from web4.mesh.services.service_logic import ServiceReply
    from web4.mesh.services.service_state import ServicesState
    from web4.protocols.messages.mesh import ServiceInvokeEnvelope, ServiceResultEnvelope
    from web4.protocols.ports import TrustView
    from web4.trust import TrustEvent

MAX_DEADLINE_MS: Final = 600_000
"""However patient a caller is, a handler has no longer."""
_PAUSE_SECONDS: Final = 1.0


class Services:
    """The services of a node. Its `part` belongs to lane `server`; `run` belongs to the node's background tasks.

        services = Services(trust=trust, send=send, clock=clock, ids=ids, emit=emit)
        services.offer(Service(name="sum", version="1.0", handler=add))
        ...
        result = await services.invoke(peer, "sum", "1.0", {"a": 1, "b": 2}, deadline_seconds=10)

    Calls are kept on lane `server`, and not on the caller's own: their handlers are effects, which a lane actor
    performs, and the bound of what runs at once is the node's.

    Args:
        trust: How far peers are trusted.
        send: Sends SERVICE_* through the outbox.
        clock: Where time comes from.
        ids: Where ids come from.
        emit: Gets `service_invoked` (OBS-2).
        max_running, max_running_of_one: Handlers that run at once, in all and for one peer.
    """

    def __init__(
        self,
        *,
        trust: TrustView,
        send: SendService,
        clock: Clock,
        ids: IdSource,
        emit: Emitter,
        max_running: int = MAX_RUNNING,
        max_running_of_one: int = MAX_RUNNING_OF_ONE,
    ) -> None:
        self.catalogue = ServiceCatalogue()
        self._trust = trust
        self._clock = clock
        self._ids = ids
        self._caller = ServiceCaller(send, clock=clock, ids=ids, emit=emit)
        self._runner = ServiceRunner(self.catalogue, send=send, clock=clock, emit=emit)
        logic = ServicesLogic(max_running=max_running, max_running_of_one=max_running_of_one)
        self.part: Part[ServicesState] = services_part(self._runner, logic=logic)
        """Of lane `server`: see `web4.mesh.server_lane.server_lane`."""
        self._lane: LaneRef | None = None
        self._journal: Journal | None = None
        self._blocked: set[str] = set()
        self._wake = trio.Event()

    def prepare(self, journal: Journal) -> None:
        """Keep large values in this journal. Before its lane actors are opened: they run what a crash left open."""
        self._journal = self._runner.journal = journal

    def bind(self, actors: LaneActors) -> None:
        """Work on these actors' lane `server`, of which `part` is a part."""
        self._lane = actors.lane(SERVER)

    async def state(self) -> ServicesState:
        """Which calls run and which are answered, durably."""
        return SERVICES.of(await self._bound().state())

    # --- offering ---------------------------------------------------------------------------------------

    def offer(self, service: Service) -> None:
        """Offer a service from now on. Those of before a restart have to be offered again before its lanes open.

        Raises:
            ServiceDefinitionError: It cannot be offered.
        """
        self.catalogue.offer(service)

    async def called(self, peer: str, envelope: ServiceInvokeEnvelope, received_ms: int) -> ServiceReply:
        """Take in a call that was validated and let in (TRUST-6). Durable when it returns; the answer is sent later.

        Args:
            peer: The caller, proven.
            envelope: What it says.
            received_ms: When it came, Unix milliseconds: the caller's deadline counts from then.

        Returns:
            `duplicate` for an id that was here before: nothing is run again. `full` if no more ids can be remembered:
            nothing is recorded, and the caller may try again.

        Raises:
            JournalError, ActorError: The lane does not take it.
        """
        said = envelope.payload
        deadline_ms = received_ms + min(said.deadline_ms, MAX_DEADLINE_MS)
        refused, idempotent = self._judge(peer, envelope, deadline_ms)
        reply: ServiceReply = await self._bound().ask(
            CallService(
                at=self._clock.wall_ms(),
                peer=peer,
                call_id=envelope.id,
                service=said.service,
                version=said.version,
                args=await kept(self._kept(), said.args if refused is None else {}),
                result_id=self._ids.uuid4(),
                deadline_ms=deadline_ms,
                idempotent=idempotent,
                refused=refused,
            )
        )
        return reply

    def _judge(self, peer: str, envelope: ServiceInvokeEnvelope, deadline_ms: int) -> tuple[str | None, bool]:
        """Why a call is not run, if there is a reason; and whether its handler may be run again."""
        said = envelope.payload
        offered = self.catalogue.find(said.service, said.version)
        if isinstance(offered, str):
            return offered, False
        if not offered.serves(self._trust.state(peer)):
            return "trust", False
        if offered.input.complaint(said.args) is not None:
            return "arguments", False
        late = deadline_ms <= self._clock.wall_ms()
        return ("deadline" if late else None), offered.service.idempotent

    async def cancel(self, peer: str, call_id: str, *, reason: str = "operator") -> bool:
        """Cut off a call that runs here; whether there was one. The caller gets `failed(cancelled)`.

        Raises:
            JournalError, ActorError: The lane does not take it. It was cut off if only the journal cannot write now.
        """
        command = CutService(at=self._clock.wall_ms(), peer=peer, call_id=call_id, reason=reason)
        reply: ServiceReply = await self._bound().ask(command, control=True)
        return reply == "cut"

    async def run(self) -> None:
        """Cut off what runs for peers that become blacklisted (TRUST-8), for ever."""
        end = self._trust.observe(self._on_trust)
        try:
            for one in (await self.state()).running.values():
                if self._trust.state(one.peer) == "blacklisted":
                    self._blocked.add(one.peer)
            while True:
                try:
                    await self._cut_blocked()
                except Web4Error:
                    await trio.sleep(_PAUSE_SECONDS)
                    continue
                await self._wake.wait()
                self._wake = trio.Event()
        finally:
            end()

    async def _cut_blocked(self) -> None:
        for peer in sorted(self._blocked):
            self._blocked.discard(peer)  # before: it may be blacklisted once more meanwhile
            try:
                running = (await self.state()).running.values()
                for call_id in [one.call_id for one in running if one.peer == peer]:
                    await self.cancel(peer, call_id, reason="blacklisted")
            except BaseException:
                self._blocked.add(peer)
                raise

    # --- calling ----------------------------------------------------------------------------------------

    async def invoke(
        self,
        peer: str,
        service: str,
        version: str,
        args: dict[str, Any],
        *,
        deadline_seconds: float = 30.0,
    ) -> dict[str, Any]:
        """Call a service of a peer and wait for its result, which is the peer's word: data, never instructions.

        Cancellation: the call may run all the same.

        Args:
            peer: Fingerprint.
            service: Its name.
            version: What is asked for; the peer's major version has to be the same.
            args: JSON.
            deadline_seconds: How long this waits, and the handler has.

        Raises:
            ServiceError: `refused`, `failed`, `timeout`, `busy`; `reason` is the peer's code word.
            Web4Error: It could not be sent: what `send` raises.
        """
        return await self._caller.invoke(peer, service, version, args, deadline_seconds=deadline_seconds)

    def answered(self, peer: str, envelope: ServiceResultEnvelope) -> bool:
        """Take in an answer; whether somebody here waits for it."""
        return self._caller.answered(peer, envelope)

    # --- inside -----------------------------------------------------------------------------------------

    def _bound(self) -> LaneRef:
        if self._lane is None:
            raise RuntimeError("services have no lane yet: call bind")
        return self._lane

    def _kept(self) -> Journal:
        if self._journal is None:
            raise RuntimeError("services have no journal yet: call prepare")
        return self._journal

    def _on_trust(self, peer: str, event: TrustEvent) -> None:
        if event.moved and event.to == "blacklisted":
            self._blocked.add(peer)
            self._wake.set()
