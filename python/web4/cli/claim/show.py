"""`web4 claim show`."""

from web4.cli.claim.rows import ClaimWord, lines_of
from web4.cli.node.reaching import ask
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform


def show(claim: ClaimWord, /, *, common: Common = COMMON) -> int:
    """Show a claim: who proposed it, who votes how, what the node makes of it, and the events that led there.

    Works beside a running node, and without.

    ```
    web4 claim show 9b21c0d4
    web4 claim show 9b21c0d4 --json
    ```
    """

    async def body(_: Output) -> Answer:
        data = await ask(common, "claim_show", {"claim": claim})
        return Answer(data, lines_of(data))

    return perform(common, body)
