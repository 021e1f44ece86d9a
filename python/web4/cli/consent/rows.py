"""Humans and their consents as people see them. Never how a human is (HCP-11)."""

from typing import Annotated, Any

from cyclopts import Parameter

from web4.cli.node.reaching import tell
from web4.cli.options import Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import visible

HumanWord = Annotated[str, Parameter(name="HUMAN", help="A human of this node, by id.")]
New = Annotated[
    bool, Parameter(negative=(), help="Have this human on the node from now on, if it has none of this id.")
]
CalledName = Annotated[
    str | None, Parameter(name="--name", help="Of a new human: what to call it; its id if left out.")
]
Role = Annotated[str, Parameter(help="Of a new human: what it is to others.")]


def act(
    common: Common,
    done: str,
    human: str,
    *,
    scope: tuple[str, ...] = (),
    new: bool = False,
    name: str | None = None,
    role: str = "owner",
) -> int:
    """Do what a human does at this terminal."""

    async def body(_: Output) -> Answer:
        said: dict[str, Any] = {"act": done, "human": human, "scope": scope}
        if new:
            said["new"] = {"name": human if name is None else name, "role": role}
        data = await tell(common, "consent_act", said)
        return Answer(data, [visible(f"{data['human']}: {words_of(data)}")])

    return perform(common, body)


def words_of(one: dict[str, Any]) -> str:
    """What a human consents to, in words."""
    consent = one["consent"] or "none known"
    if one["scope"]:
        consent += f" to {', '.join(one['scope'])}"
    return f"{consent}, and counts as limited until it is said again" if one["stale"] else str(consent)
