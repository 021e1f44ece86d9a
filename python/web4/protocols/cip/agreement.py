"""What two nodes have in common: protocols, capabilities, features (HS-4, CIP-3)."""

from __future__ import annotations

from typing import Final

import msgspec

from web4.protocols.messages.cip import Features, ProtocolVersion
from web4.protocols.messages.vocabulary import TYPES

REQUIRED_PROTOCOL: Final = "cip/1.0"
REQUIRED_CAPABILITY: Final = "state_exchange"


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What one node offers in its HELLO."""

    protocols: tuple[ProtocolVersion, ...] = (REQUIRED_PROTOCOL,)
    capabilities: tuple[str, ...] = (REQUIRED_CAPABILITY,)
    features: Features = Features(supports_mesh=False, supports_multiplex=False)


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """What both offer. The lists are sorted, so that both sides hold the same."""

    protocols: tuple[str, ...]
    capabilities: tuple[str, ...]
    features: Features

    def allows(self, type_name: str) -> bool:
        """Whether the protocol and the capability that a type needs were agreed (CIP-3)."""
        needs = TYPES[type_name]
        return (needs.needs_protocol is None or needs.needs_protocol in self.protocols) and (
            needs.needs_capability is None or needs.needs_capability in self.capabilities
        )


def agree(ours: Offer, theirs: Offer) -> Agreement | str:
    """Give the agreement, or the code why there is none: `no_common_protocol` or `capability`."""
    protocols = _highest_common(ours.protocols, theirs.protocols)
    if REQUIRED_PROTOCOL not in protocols:
        return "no_common_protocol"
    capabilities = tuple(sorted(set(ours.capabilities) & set(theirs.capabilities)))
    if REQUIRED_CAPABILITY not in capabilities:
        return "capability"
    features = Features(
        supports_mesh=ours.features.supports_mesh and theirs.features.supports_mesh,
        supports_multiplex=ours.features.supports_multiplex and theirs.features.supports_multiplex,
    )
    return Agreement(protocols=protocols, capabilities=capabilities, features=features)


def _highest_common(ours: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[str, ...]:
    best: dict[str, tuple[int, ...]] = {}
    for entry in set(ours) & set(theirs):
        name, _, version = entry.partition("/")
        number = tuple(int(part) for part in version.split("."))
        best[name] = max(best.get(name, (-1,)), number)
    return tuple(f"{name}/{'.'.join(map(str, number))}" for name, number in sorted(best.items()))
