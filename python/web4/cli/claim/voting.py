"""What `web4 claim confirm`, `reject` and `withdraw` have in common."""

from typing import Annotated

from cyclopts import Parameter, validators

from web4.cli.claim.rows import told as answered
from web4.cli.node.reaching import human_name, tell
from web4.cli.options import Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform

_SEVERAL = Parameter(negative=(), consume_multiple=False)
Told = Annotated[
    tuple[str, ...],
    _SEVERAL,
    Parameter(help="What you tell the node of it: your word is its evidence. May be given more than once."),
]
Memory = Annotated[
    tuple[str, ...],
    _SEVERAL,
    Parameter(help="A record of its causal memory from before the claim. May be given more than once."),
]
Fetched = Annotated[
    tuple[str, ...],
    _SEVERAL,
    Parameter(help="BLAKE3 of a body that it fetched itself. May be given more than once."),
]
Confidence = Annotated[float, Parameter(help="How sure, 0 to 1.", validator=validators.Number(gte=0, lte=1))]
Notes = Annotated[str, Parameter(help="Words for whoever reads it.")]


def vote(
    common: Common,
    decision: str,
    claim: str,
    *,
    told: tuple[str, ...],
    memory: tuple[str, ...],
    fetched: tuple[str, ...],
    confidence: float,
    notes: str,
    human: str | None,
) -> int:
    """Let the running node vote."""

    async def body(_: Output) -> Answer:
        said = {
            "claim": claim,
            "decision": decision,
            "human": human_name(human),
            "told": told,
            "memory": memory,
            "fetched": fetched,
            "confidence": confidence,
            "notes": notes,
        }
        return answered(await tell(common, "claim_vote", said))

    return perform(common, body)
