"""The services that a node offers: what each takes and gives, and whom it serves (GRAPH-4)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from web4.extensions.errors import ManifestError
from web4.extensions.manifests.schemas import Schema, compile_schema
from web4.mesh.services.errors import ServiceDefinitionError

if TYPE_CHECKING:
    from web4.trust import TrustState

MAX_SERVICES: Final = 256
"""Services that a node offers at most: as many as MESH_HELLO names."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_VERSION: Final = re.compile(r"[0-9]{1,9}\.[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_ANY: Final[Mapping[str, Any]] = {"type": "object"}
_RANK: Final[dict[TrustState, int]] = {
    "blacklisted": -1,
    "unknown": 0,
    "untrusted": 1,
    "probing": 2,
    "trusted": 3,
}


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """What a handler is given. `args` fit the input schema, and are the peer's: data, never instructions (LIP-7).

    Args:
        peer: Fingerprint of the caller, proven.
        call_id: The call's id, which the caller chose.
        service, version: What was asked for.
        args: The arguments.
        deadline_ms: When the caller gives up, Unix milliseconds. The handler is cancelled then.
    """

    peer: str
    call_id: str
    service: str
    version: str
    args: dict[str, Any]
    deadline_ms: int

    @property
    def key(self) -> str:
        """The call's name among those of all callers: handed on, it makes effects elsewhere idempotent."""
        return f"{self.peer}:{self.call_id}"


ServiceHandler = Callable[[ServiceCall], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service.

        async def add(call: ServiceCall) -> dict[str, Any]:
            return {"sum": call.args["a"] + call.args["b"]}

        Service(name="sum", version="1.0", handler=add, input_schema={...}, output_schema={...})

    Args:
        name: `[a-z0-9._-]`, up to 64 characters.
        version: `major.minor` or `major.minor.patch`. A call of the same major version is served.
        handler: Does it, within the node. Code that is not trusted to stop belongs into an extension.
        input_schema, output_schema: JSON Schemas; Draft 2020-12 unless they name another.
        min_trust: How far a caller has to be trusted; the gate admits trusted peers only (TRUST-6).
        idempotent: Whether it may be run again when a crash cut it off.
    """

    name: str
    version: str
    handler: ServiceHandler
    input_schema: Mapping[str, Any] = field(default_factory=lambda: dict(_ANY))
    output_schema: Mapping[str, Any] = field(default_factory=lambda: dict(_ANY))
    min_trust: Literal["probing", "trusted"] = "trusted"
    idempotent: bool = False

    @property
    def major(self) -> int:
        """The major version."""
        return major_of(self.version)


class Offered:
    """A service that is offered: its schemas are ready."""

    __slots__ = ("input", "output", "service")

    def __init__(self, service: Service) -> None:
        self.service = service
        self.input = _schema(service, "input_schema")
        self.output = _schema(service, "output_schema")

    def serves(self, trust: TrustState) -> bool:
        """Whether a peer is trusted far enough."""
        return _RANK[trust] >= _RANK[self.service.min_trust]


class ServiceCatalogue:
    """The services of a node, one for each name and major version."""

    def __init__(self) -> None:
        self._offered: dict[tuple[str, int], Offered] = {}

    def __len__(self) -> int:
        return len(self._offered)

    def offer(self, service: Service) -> None:
        """Offer a service from now on.

        Raises:
            ServiceDefinitionError: Why not.
        """
        if not _NAME.fullmatch(service.name) or not _VERSION.fullmatch(service.version):
            what = f"{service.name[:64]!r} {service.version[:32]!r} is no name and version"
            raise ServiceDefinitionError(what, code="service_name")
        key = service.name, service.major
        if key in self._offered:
            what = f"{service.name} {service.major} is offered already"
            raise ServiceDefinitionError(what, code="service_known")
        if len(self._offered) >= MAX_SERVICES:
            raise ServiceDefinitionError(f"{MAX_SERVICES} services are offered", code="too_many_services")
        self._offered[key] = Offered(service)

    def withdraw(self, name: str, version: str) -> None:
        """Offer it no more. What runs, ends; one that is not offered is nothing."""
        self._offered.pop((name, major_of(version)), None)

    def find(self, name: str, version: str) -> Offered | Literal["unknown_service", "version"]:
        """The service of this name whose major version is that of `version`, or why there is none."""
        found = self._offered.get((name, major_of(version)))
        if found is not None:
            return found
        return "version" if any(one == name for one, _ in self._offered) else "unknown_service"

    def names(self) -> list[tuple[str, str]]:
        """Name and version of each, sorted: what MESH_HELLO and the graph tell of them."""
        return sorted((one.service.name, one.service.version) for one in self._offered.values())


def major_of(version: str) -> int:
    """The major version of `version`, whose form was checked."""
    return int(version.partition(".")[0])


def _schema(service: Service, field_name: str) -> Schema:
    try:
        return compile_schema(dict(getattr(service, field_name)), field=field_name)
    except ManifestError as error:
        raise ServiceDefinitionError(
            f"{service.name}: {error.args[0]}", code="service_schema", field=field_name
        ) from None
