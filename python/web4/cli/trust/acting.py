"""What `web4 trust anchor`, `promote`, `block` and `override` have in common."""

from typing import Any

from web4.cli import exits
from web4.cli.node.reaching import human_name, tell
from web4.cli.options import Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import visible


def act(common: Common, command: str, peer: str, reason: str, human: str | None, wanted: str | None) -> int:
    """Say it to the running node, and say what came of it.

    Args:
        common: The options that all verbs take.
        command: Which act.
        peer: However it is named.
        reason: Why.
        human: In whose name.
        wanted: The state that is as good as a change; None if only a change is.
    """

    async def body(_: Output) -> Answer:
        said = {"peer": peer, "human": human_name(human), "reason": reason}
        data = await tell(common, command, said)
        moved = data["from"] != data["to"]
        return Answer(
            data | {"moved": moved}, [_line(data)], exits.DONE if moved or data["to"] == wanted else exits.NO
        )

    return perform(common, body)


def _line(data: dict[str, Any]) -> str:
    name = visible(data["name"] or data["fingerprint"][:16])
    if data["from"] == data["to"]:
        return f"{name} stays {data['to']}"
    return f"{name}: {data['from']} → {data['to']}"
