"""`web4 claim propose`."""

from typing import Annotated

from cyclopts import Parameter, validators

from web4.cli.claim.rows import told
from web4.cli.errors import CommandError
from web4.cli.node.reaching import As, human_name, tell
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform

Several = Parameter(negative=(), consume_multiple=False)


def propose(
    statement: Annotated[str, Parameter(name="STATEMENT", help="The fact, in words.")],
    /,
    *,
    domain: Annotated[str, Parameter(help="What it is about, such as `geography`.")],
    because: Annotated[
        tuple[str, ...], Several, Parameter(help="A step that led to it. May be given more than once.")
    ] = (),
    source: Annotated[
        tuple[str, ...], Several, Parameter(help="Where it is from. May be given more than once.")
    ] = (),
    evidence: Annotated[
        tuple[str, ...], Several, Parameter(help="Other evidence. May be given more than once.")
    ] = (),
    link: Annotated[
        tuple[str, ...],
        Several,
        Parameter(help="A claim or decision that it follows from. May be given more than once."),
    ] = (),
    triple: Annotated[
        tuple[str, str, str] | None, Parameter(negative=(), help="Subject, predicate and object.")
    ] = None,
    functional: Annotated[
        bool, Parameter(negative=(), help="The predicate has one object only; needs --triple.")
    ] = False,
    confidence: Annotated[
        float, Parameter(help="How sure, 0 to 1.", validator=validators.Number(gte=0, lte=1))
    ] = 1.0,
    human: As = None,
    common: Common = COMMON,
) -> int:
    """Let the node propose a fact, to itself and to every peer that it trusts.

    Peers take it in as pending; with a source or evidence it can be accepted once two of them confirm it.

    ```
    web4 claim propose "The Rhine flows into the North Sea" --domain geography --source https://example.org/rhine
    web4 claim propose "Bonn is on the Rhine" --domain geography --triple Bonn lies_on Rhine --evidence "seen it"
    ```
    """

    async def body(_: Output) -> Answer:
        if functional and triple is None:
            raise CommandError("--functional says something of a --triple", code="usage")
        said = {
            "statement": statement,
            "domain": domain,
            "human": human_name(human),
            "because": because,
            "sources": source,
            "evidence": evidence,
            "links": link,
            "confidence": confidence,
            "triple": triple,
            "functional": functional,
        }
        return told(await tell(common, "claim_propose", said))

    return perform(common, body)
