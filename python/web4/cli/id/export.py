"""`web4 id export`."""

import json
from collections.abc import Sequence
from typing import Any

from web4.cli.node.reaching import ask
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import visible
from web4.rtt.transports.address import Address


def export(*, common: Common = COMMON) -> int:
    """Print what others need to name this node: a `[[peer]]` for their peers.toml. Nothing in it is secret.

    Works beside a running node, and without. What nobody else can dial is left out: sockets, 0.0.0.0, port 0.
    Fingerprints are compared over another channel, such as by telephone.

    ```
    web4 id export
    web4 id export --data ./ada > ada.toml
    ```
    """

    async def body(_: Output) -> Answer:
        data = await ask(common, "id_show")
        peer = peer_of(data["name"], data["fingerprint"], data["addresses"])
        return Answer({"peer": peer, "did": data["did"]}, as_toml(peer, data["addresses"]))

    return perform(common, body)


def peer_of(name: str, fingerprint: str, addresses: Sequence[str]) -> dict[str, Any]:
    """What others need to name a node. What only its own machine can dial is for nobody else."""
    shown = [one for one in addresses if _reachable(one)]
    return {"name": name, "fingerprint": fingerprint, "addresses": shown}


def as_toml(peer: dict[str, Any], addresses: Sequence[str]) -> list[str]:
    """As it stands in a `peers.toml`, and which of its `addresses` were left out."""
    # A basic string of TOML is written as one of JSON is.
    lines = ["[[peer]]", *(f"{name} = {json.dumps(value)}" for name, value in peer.items())]
    if left := " ".join(one for one in addresses if one not in peer["addresses"]):
        lines.append(f"# not for others: {visible(left)}; write what they can dial, as tcp://HOST:PORT")
    return lines


def _reachable(address: str) -> bool:
    """Whether somebody else can dial it: no socket, not every address of a machine, no port to come."""
    parsed = Address.parse(address)
    return parsed.scheme == "tcp" and bool(parsed.port) and parsed.host not in {"", "0.0.0.0", "::"}  # noqa: S104
