"""`web4 id export`."""

import json
from collections.abc import Sequence
from typing import Any

from web4.cli.node.reaching import ask
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform


def export(*, common: Common = COMMON) -> int:
    """Print what others need to name this node: a `[[peer]]` for their peers.toml. Nothing in it is secret.

    Works beside a running node, and without. Fingerprints are compared over another channel, such as by telephone.

    ```
    web4 id export
    web4 id export --data ./ada > ada.toml
    ```
    """

    async def body(_: Output) -> Answer:
        data = await ask(common, "id_show")
        peer = peer_of(data["name"], data["fingerprint"], data["addresses"])
        return Answer({"peer": peer, "did": data["did"]}, as_toml(peer))

    return perform(common, body)


def peer_of(name: str, fingerprint: str, addresses: Sequence[str]) -> dict[str, Any]:
    """What others need to name a node. Sockets of its own machine are for nobody else."""
    shown = [one for one in addresses if not one.startswith("unix:")]
    return {"name": name, "fingerprint": fingerprint, "addresses": shown}


def as_toml(peer: dict[str, Any]) -> list[str]:
    """As it stands in a `peers.toml`."""
    # A basic string of TOML is written as one of JSON is.
    return ["[[peer]]", *(f"{name} = {json.dumps(value)}" for name, value in peer.items())]
