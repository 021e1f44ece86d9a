"""Humans and their consents as people see them. Never how a human is (HCP-11)."""

from typing import Annotated, Any

from cyclopts import Parameter

from web4.cli.errors import CommandError
from web4.cli.node.reaching import tell
from web4.cli.options import Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import visible
from web4.doors.control.errors import ControlError

HumanWord = Annotated[str, Parameter(name="HUMAN", help="A human of this node, by id.")]
New = Annotated[
    bool,
    Parameter(
        negative=(),
        help="Have this human on the node from now on, if it has none of this id. Of one that is known nothing "
        "changes but its consent: another name or role is refused, exit code 7.",
    ),
]
CalledName = Annotated[
    str | None, Parameter(name="--name", help="With `--new`: what to call the human; its id if left out.")
]
Role = Annotated[
    str | None, Parameter(help="With `--new`: what the human is to others; `owner` if left out.")
]


def act(
    common: Common,
    done: str,
    human: str,
    *,
    scope: tuple[str, ...] = (),
    new: bool = False,
    name: str | None = None,
    role: str | None = None,
) -> int:
    """Do what a human does at this terminal."""

    async def body(_: Output) -> Answer:
        if not new and (name is not None or role is not None):
            raise CommandError("--name and --role are of a new human: give --new, too", code="usage")
        said: dict[str, Any] = {"act": done, "human": human, "scope": scope}
        if new:
            said["new"] = {"name": name, "role": role}
        data = await _told(common, said)
        lines = [visible(f"{data['human']}: {words_of(data)}")]
        return Answer(data, lines + (_ended(data["ended"]) if "ended" in data else []))

    return perform(common, body)


async def _told(common: Common, said: dict[str, Any]) -> dict[str, Any]:
    try:
        return await tell(common, "consent_act", said)
    except ControlError as error:
        if said["act"] != "revoke" or error.code != "not_running":
            raise
        # Whoever says stop has to know what that does not stop.
        raise ControlError(
            f"{error.args[0]}: nothing runs for {said['human']!r} now, and nothing is sent; what waits to be sent goes "
            "out when the node runs again, unless it is revoked there first",
            code="not_running",
        ) from None


def _ended(ended: dict[str, Any]) -> list[str]:
    """What a revocation has ended, in words (HCP-3)."""
    purged = "not known yet" if ended["purged"] is None else f"{ended['purged']} purged"
    running = f", {ended['running']} still about to end" if ended["running"] else ""
    return [
        f"running work: {ended['cancelled']} cancelled{running}",
        f"messages to be sent: {purged}",
        f"questions and messages that waited for a turn: {ended['waiting']} ended",
    ]


def words_of(one: dict[str, Any]) -> str:
    """What a human consents to, in words."""
    consent = one["consent"] or "none known"
    if one["scope"]:
        consent += f" to {', '.join(one['scope'])}"
    return f"{consent}, and counts as limited until it is said again" if one["stale"] else str(consent)
