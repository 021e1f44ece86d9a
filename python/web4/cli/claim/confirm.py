"""`web4 claim confirm`."""

from web4.cli.claim.rows import ClaimWord
from web4.cli.claim.voting import Confidence, Fetched, Memory, Notes, Told, vote
from web4.cli.node.reaching import As
from web4.cli.options import COMMON, Common


def confirm(
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
    """Let the node vote for a claim, on evidence of its own, here and at every peer that it trusts.

    Its evidence is what you tell it, what it remembers from before the claim, or what it fetched: one at least. That
    others confirmed a claim is none. Exit code 5: it cites none.

    ```
    web4 claim confirm 9b21c0d4 --told "I was there and saw it"
    ```
    """
    return vote(
        common,
        "confirm",
        claim,
        told=told,
        memory=memory,
        fetched=fetched,
        confidence=confidence,
        notes=notes,
        human=human,
    )
