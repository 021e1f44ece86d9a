"""`web4 claim reject`."""

from web4.cli.claim.rows import ClaimWord
from web4.cli.claim.voting import Confidence, Fetched, Memory, Notes, Told, vote
from web4.cli.node.reaching import As
from web4.cli.options import COMMON, Common


def reject(
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
    """Let the node vote against a claim, on evidence of its own, here and at every peer that it trusts.

    Its evidence is as for `web4 claim confirm`. `web4 claim withdraw` takes it back.

    ```
    web4 claim reject 9b21c0d4 --told "I was there, and it is not so"
    ```
    """
    return vote(
        common,
        "reject",
        claim,
        told=told,
        memory=memory,
        fetched=fetched,
        confidence=confidence,
        notes=notes,
        human=human,
    )
