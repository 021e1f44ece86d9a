"""`web4 claim challenge`."""

from typing import Annotated, Literal

from cyclopts import Parameter

from web4.cli.claim.rows import ClaimWord, told
from web4.cli.node.reaching import As, human_name, tell
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform


def challenge(
    claim: ClaimWord,
    /,
    *,
    reason: Annotated[
        Literal["conflict", "insufficient_evidence", "cannot_verify"], Parameter(help="Why it is doubted.")
    ] = "cannot_verify",
    notes: Annotated[str, Parameter(help="Words for whoever reads it.")] = "",
    human: As = None,
    common: Common = COMMON,
) -> int:
    """Let the node doubt a claim, here and at every peer that it trusts. `web4 claim withdraw` takes it back.

    ```
    web4 claim challenge 9b21c0d4 --reason insufficient_evidence
    ```
    """

    async def body(_: Output) -> Answer:
        said = {"claim": claim, "reason": reason, "notes": notes, "human": human_name(human)}
        return told(await tell(common, "claim_challenge", said))

    return perform(common, body)
