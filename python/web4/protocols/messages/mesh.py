"""Every message of the mesh: between neighbours, forwarded, and end to end to a service (section 15).

The origin signs everything but `hops` and `sign` (purpose `mesh`), so a hop may add itself and nothing else.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from web4.foundation.codec import Base64Of32, Fingerprint, Message, Timestamp, Uuid4
from web4.protocols.messages.fields import CodeWord, JsonObject, Milliseconds, Party, Sign, Uuid

VERSION: Final = "1.0"
PROTOCOL: Final = "mesh/1.0"
BROADCAST: Final = "*"
RELAY_BYTES: Final = 32 * 1024
"""Bytes of an end-to-end carrier that one MESH_RELAY holds at most."""
ROUTES_AT_ONCE: Final = 96
"""Ways that one MESH_ROUTES offers, or takes back: with three hops they fit a control message (RTT, section 6)."""
MAX_HOPS: Final = 16
"""No envelope names more hops, whatever a node's own policy allows (MESH-7)."""

Destination = Annotated[
    str,
    Meta(
        max_length=64,
        pattern=r"^([0-9a-f]{64}|\*)$(?!\n)",
        description="A fingerprint, or `*` for a broadcast.",
    ),
]
Base64 = Annotated[
    str,
    Meta(
        max_length=4 * ((RELAY_BYTES + 2) // 3),
        pattern=r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$(?!\n)",
        description="Bytes, in the standard alphabet with padding (SIG-4).",
    ),
]
ServiceName = Annotated[
    str,
    Meta(
        min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*$(?!\n)", description="A service's name."
    ),
]
ServiceVersion = Annotated[
    str, Meta(max_length=32, pattern=r"^[0-9]+\.[0-9]+(\.[0-9]+)?$(?!\n)", description="Major, minor, patch.")
]
Addresses = Annotated[tuple[Annotated[str, Meta(max_length=512)], ...], Meta(max_length=8)]


class OfferedService(Message, frozen=True, kw_only=True):
    """A service that a neighbour offers."""

    name: ServiceName
    version: ServiceVersion


class PolicyLimits(Message, frozen=True, kw_only=True):
    """What a neighbour does for others at most (MESH-7)."""

    max_hops: Annotated[int, Meta(ge=0, le=MAX_HOPS)]
    ttl_ms: Milliseconds
    relays: bool
    relay_bytes_per_second: Annotated[int, Meta(ge=0)]


class MeshHello(Message, frozen=True, kw_only=True):
    """What a neighbour can do."""

    capabilities: tuple[str, ...]
    services: Annotated[tuple[OfferedService, ...], Meta(max_length=256)]
    limits: PolicyLimits


class PathVector(Message, frozen=True, kw_only=True):
    """A way to a destination: the nodes on it, from the advertising neighbour to the destination (MESH-4)."""

    destination: Fingerprint
    path: Annotated[tuple[Fingerprint, ...], Meta(min_length=1, max_length=MAX_HOPS)]
    cost: Annotated[float, Meta(ge=0)]


class MeshRoutes(Message, frozen=True, kw_only=True):
    """Ways that a neighbour offers, and destinations to which it has none any more.

    `whole` begins a complete list: what was offered before is taken back. Ways that are not offered again expire.
    """

    routes: Annotated[tuple[PathVector, ...], Meta(max_length=ROUTES_AT_ONCE)]
    withdrawn: Annotated[tuple[Fingerprint, ...], Meta(max_length=ROUTES_AT_ONCE)]
    whole: bool


class MeshIntroduce(Message, frozen=True, kw_only=True):
    """The origin vouches that `subject` exists, has this key, and may be found there (MESH-10)."""

    intro_id: Uuid4
    subject: Fingerprint
    pubkey: Base64Of32
    addresses: Addresses
    expires_at: Timestamp


class MeshRevoke(Message, frozen=True, kw_only=True):
    """The origin takes an introduction back (MESH-11)."""

    intro_id: Uuid4
    subject: Fingerprint
    reason: str


class MeshRelay(Message, frozen=True, kw_only=True):
    """Bytes of an end-to-end carrier (MESH-1): one direction's part of a byte stream between two nodes.

    `open` begins a stream, and `window` answers it. `data` carries the bytes from `offset`, `close` says that there are
    none from `offset`. `window` says that everything before `offset` has come, and that `room` bytes from there may be
    sent. `reset` ends both directions.
    """

    stream: Uuid4
    kind: Literal["open", "data", "window", "close", "reset"]
    offset: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    room: Annotated[int, Meta(ge=0, le=2**32 - 1)] | UnsetType = UNSET
    data: Base64 | UnsetType = UNSET


class ServiceInvoke(Message, frozen=True, kw_only=True):
    """Call a service; by the envelope's id it runs at most once (GRAPH-4)."""

    service: ServiceName
    version: ServiceVersion
    args: JsonObject
    deadline_ms: Milliseconds


class ServiceResult(Message, frozen=True, kw_only=True):
    """What came of a call; the envelope's `reply_to` names it."""

    status: Literal["ok", "refused", "failed", "timeout"]
    result: JsonObject | UnsetType = UNSET
    error: CodeWord | UnsetType = UNSET


class MeshEnvelope(Message, frozen=True, kw_only=True):
    """What all mesh envelopes have in common. `ttl_ms` counts from `created_at`."""

    mesh: Literal["1.0"]
    id: Uuid4
    origin: Fingerprint
    destination: Destination
    hops: Annotated[tuple[Fingerprint, ...], Meta(max_length=MAX_HOPS)]
    ttl_ms: Milliseconds
    created_at: Timestamp
    pubkey: Base64Of32
    sign: Sign
    route_id: Uuid | UnsetType = UNSET
    reply_to: Uuid | UnsetType = UNSET

    @property
    def sender(self) -> Party:
        """Who says it. A mesh envelope has no names of agents."""
        return Party(agent_id="unknown", fingerprint=self.origin)

    @property
    def msg_id(self) -> str:
        """The id, by the name that it has in the other protocols."""
        return self.id

    @property
    def corr_id(self) -> str | UnsetType:
        """The conversation: that of the envelope which this one answers."""
        return self.reply_to


class MeshHelloEnvelope(MeshEnvelope, frozen=True, kw_only=True):
    """See `MeshHello`."""

    type: Literal["MESH_HELLO"]
    payload: MeshHello


class MeshRoutesEnvelope(MeshEnvelope, frozen=True, kw_only=True):
    """See `MeshRoutes`."""

    type: Literal["MESH_ROUTES"]
    payload: MeshRoutes


class MeshIntroduceEnvelope(MeshEnvelope, frozen=True, kw_only=True):
    """See `MeshIntroduce`."""

    type: Literal["MESH_INTRODUCE"]
    payload: MeshIntroduce


class MeshRevokeEnvelope(MeshEnvelope, frozen=True, kw_only=True):
    """See `MeshRevoke`."""

    type: Literal["MESH_REVOKE"]
    payload: MeshRevoke


class MeshRelayEnvelope(MeshEnvelope, frozen=True, kw_only=True):
    """See `MeshRelay`."""

    type: Literal["MESH_RELAY"]
    payload: MeshRelay


class ServiceInvokeEnvelope(MeshEnvelope, frozen=True, kw_only=True):
    """See `ServiceInvoke`."""

    type: Literal["SERVICE_INVOKE"]
    payload: ServiceInvoke


class ServiceResultEnvelope(MeshEnvelope, frozen=True, kw_only=True):
    """See `ServiceResult`."""

    type: Literal["SERVICE_RESULT"]
    payload: ServiceResult


MeshMessage = (
    MeshHelloEnvelope
    | MeshRoutesEnvelope
    | MeshIntroduceEnvelope
    | MeshRevokeEnvelope
    | MeshRelayEnvelope
    | ServiceInvokeEnvelope
    | ServiceResultEnvelope
)
ServiceMessage = ServiceInvokeEnvelope | ServiceResultEnvelope
"""What travels from end to end in a session of its own (MESH-1)."""
ServicePayload = ServiceInvoke | ServiceResult
MeshPayload = MeshHello | MeshRoutes | MeshIntroduce | MeshRevoke | MeshRelay | ServiceInvoke | ServiceResult

ENVELOPES: Final[dict[str, type[MeshMessage]]] = {
    "MESH_HELLO": MeshHelloEnvelope,
    "MESH_ROUTES": MeshRoutesEnvelope,
    "MESH_INTRODUCE": MeshIntroduceEnvelope,
    "MESH_REVOKE": MeshRevokeEnvelope,
    "MESH_RELAY": MeshRelayEnvelope,
    "SERVICE_INVOKE": ServiceInvokeEnvelope,
    "SERVICE_RESULT": ServiceResultEnvelope,
}
"""The envelope of each type name; no other names exist (ENV-3)."""
