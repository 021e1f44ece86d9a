"""`web4 id show`."""

from web4.cli.node.reaching import ask
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import facts


def show(*, common: Common = COMMON) -> int:
    """Show who the node is: its fingerprint and its public key. Never the private one.

    Works beside a running node, and without.

    ```
    web4 id show
    web4 id show --data ./ada --json
    ```
    """

    async def body(_: Output) -> Answer:
        data = await ask(common, "id_show")
        lines = facts(
            [
                ("name", data["name"]),
                ("fingerprint", data["fingerprint"]),
                ("public key", data["public_key"]),
                ("did", data["did"]),
                ("listens", " ".join(data["addresses"]) or "nowhere"),
            ]
        )
        return Answer(data, lines)

    return perform(common, body)
