"""`web4 id export`."""

import json

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
        addresses = [one for one in data["addresses"] if not one.startswith("unix:")]
        peer = {"name": data["name"], "fingerprint": data["fingerprint"], "addresses": addresses}
        # A basic string of TOML is written as one of JSON is.
        lines = ["[[peer]]", *(f"{name} = {json.dumps(value)}" for name, value in peer.items())]
        return Answer({"peer": peer, "did": data["did"]}, lines)

    return perform(common, body)
