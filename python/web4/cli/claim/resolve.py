"""`web4 claim resolve`."""

from typing import Annotated, Literal

from cyclopts import Parameter

from web4.cli.claim.rows import ClaimWord, told
from web4.cli.node.reaching import As, Reason, human_name, tell
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform


def resolve(
    claim: ClaimWord,
    decision: Annotated[
        Literal["accept", "reject"], Parameter(name="DECISION", help="`accept` or `reject`.")
    ],
    /,
    *,
    reason: Reason,
    human: As = None,
    common: Common = COMMON,
) -> int:
    """Decide about a claim yourself: on this node that goes before every vote. Name and reason are recorded.

    ```
    web4 claim resolve 9b21c0d4 accept --reason "checked in the archive"
    web4 claim resolve 9b21c0d4 reject --reason "the source retracted it" --as ada --json
    ```
    """

    async def body(_: Output) -> Answer:
        said = {"claim": claim, "decision": decision, "human": human_name(human), "reason": reason}
        return told(await tell(common, "claim_resolve", said))

    return perform(common, body)
