"""From a configuration to the options of the rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from web4.node.errors import ConfigurationError
from web4.observe import JsonLinesSink
from web4.protocols.cip import CipOptions, Offer
from web4.protocols.knowledge.ledger.limits import KnowledgeLimits
from web4.protocols.lip.fetching.options import FetchException, FetchOptions
from web4.protocols.messages import hcp, lip, mesh
from web4.protocols.messages.cip import Features

if TYPE_CHECKING:
    from web4.node.config import NodeConfig
    from web4.node.directory import Places
    from web4.node.options import NodeParts
    from web4.observe import Sink

CAPABILITIES = ("state_exchange", "knowledge_exchange", "dmp_trace")


def cip_options(config: NodeConfig, name: str, parts: NodeParts) -> CipOptions:
    """What this node offers its peers, and bears of them."""
    protocols = ["cip/1.0", hcp.PROTOCOL]
    if config.fetch.enabled:
        protocols.append(lip.PROTOCOL)
    if config.mesh.enabled:
        protocols.append(mesh.PROTOCOL)
    offer = Offer(
        protocols=tuple(protocols),
        capabilities=CAPABILITIES,
        features=Features(supports_mesh=config.mesh.enabled, supports_multiplex=True),
    )
    limits = config.limits
    return CipOptions(
        agent_id=name,
        offer=offer,
        messages_per_second=limits.messages_per_second,
        message_burst=limits.message_burst,
        strangers_per_second=limits.strangers_per_second,
        strangers_burst=limits.strangers_burst,
        handshakes_per_second=limits.handshakes_per_second,
        handshake_burst=limits.handshake_burst,
        **parts.cip,
    )


def knowledge_limits(config: NodeConfig) -> KnowledgeLimits:
    """How claims are accepted."""
    return KnowledgeLimits(mode=config.knowledge.mode, confirmers_needed=config.knowledge.confirmers)


def fetch_options(config: NodeConfig) -> FetchOptions:
    """What the fetcher may, with the operator's exceptions (FETCH-11).

    Raises:
        ConfigurationError: An exception is no `host:port`, or `host:port@network`.
    """
    return FetchOptions(exceptions=tuple(_exception(one) for one in config.fetch.allow))


def _exception(text: str) -> FetchException:
    place, _, network = text.partition("@")
    host, _, port = place.rpartition(":")
    try:
        if not port.isascii() or not port.isdecimal():
            raise ValueError("the port is a number")
        return FetchException(host=host.strip("[]").lower(), port=int(port), network=network or None)
    except ValueError as error:
        raise ConfigurationError(
            f"fetch.allow: {text!r} is no host:port or host:port@network: {error}",
            code="configuration_value",
            field="fetch.allow",
        ) from None


async def hub_sinks(config: NodeConfig, places: Places, parts: NodeParts) -> list[Sink]:
    """Where events go."""
    sinks = list(parts.sinks)
    if config.observe.file:
        path = trio.Path(places.logs)
        await path.mkdir(mode=0o700, exist_ok=True)
        sinks.append(JsonLinesSink(places.logs / "events.jsonl"))
    return sinks
