"""`web4 claim withdraw`."""

from web4.cli.claim.rows import ClaimWord
from web4.cli.claim.voting import Confidence, Fetched, Memory, Notes, Told, vote
from web4.cli.node.reaching import As
from web4.cli.options import COMMON, Common


def withdraw(
    claim: ClaimWord,
    /,
    *,
    told: Told = (),
    memory: Memory = (),
    fetched: Fetched = (),
    confidence: Confidence = 1.0,
    notes: Notes = "",
    human: As = None,
    common: Common = COMMON,
) -> int:
    """Take back what the node says against a claim: its vote confirms from now on.

    A dispute ends when all who challenged withdrew. Evidence is as for `web4 claim confirm`. Exit code 7: there is
    nothing to take back.

    ```
    web4 claim withdraw 9b21c0d4 --told "I looked again, and it is so"
    ```
    """
    return vote(
        common,
        "withdraw",
        claim,
        told=told,
        memory=memory,
        fetched=fetched,
        confidence=confidence,
        notes=notes,
        human=human,
    )
