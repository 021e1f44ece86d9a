"""`web4 id export`."""

import json

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
        addresses = [one for one in data["addresses"] if _reachable(one)]
        peer = {"name": data["name"], "fingerprint": data["fingerprint"], "addresses": addresses}
        # A basic string of TOML is written as one of JSON is.
        lines = ["[[peer]]", *(f"{name} = {json.dumps(value)}" for name, value in peer.items())]
        if left := [one for one in data["addresses"] if one not in addresses]:
            lines.append(
                f"# not for others: {visible(' '.join(left))}; write what they can dial, as tcp://HOST:PORT"
            )
        return Answer({"peer": peer, "did": data["did"]}, lines)

    return perform(common, body)


def _reachable(address: str) -> bool:
    """Whether somebody else can dial it: no place of this machine, not every address of it, no port to come."""
    parsed = Address.parse(address)
    return parsed.scheme == "tcp" and bool(parsed.port) and parsed.host not in {"", "0.0.0.0", "::"}  # noqa: S104
