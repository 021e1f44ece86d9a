"""`web4 trust why`."""

from typing import Annotated, Any

from cyclopts import Parameter

from web4.cli.node.reaching import PeerWord, ask
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import moment, visible


def why(
    peer: PeerWord,
    /,
    *,
    moved: Annotated[bool, Parameter(negative=(), help="Only what changed how far it is trusted.")] = False,
    common: Common = COMMON,
) -> int:
    """Say why a peer is trusted as far as it is: each event of its trust log, with time, actor and evidence.

    Works beside a running node, and without: the lane's records are read, from the first that is kept.

    ```
    web4 trust why bob
    web4 trust why bob --moved --json
    ```
    """

    async def body(_: Output) -> Answer:
        page = await ask(common, "trust_why", {"peer": peer, "moved": moved})
        data = {name: value for name, value in page.items() if name != "next"}
        while page["next"] is not None:
            asked = {"peer": data["fingerprint"], "moved": moved, "after": page["next"]}
            page = await ask(common, "trust_why", asked)
            data["events"] += page["events"]
        return Answer(data, lines_of(data))

    return perform(common, body)


def lines_of(data: dict[str, Any]) -> list[str]:
    """A trust log for people, oldest first."""
    lines = []
    if data["compacted"]:
        lines.append(f"records up to {data['compacted']} are not kept any more")
    for one in data["events"]:
        if "event" not in one:
            lines.append(f"{moment(one['at_ms'])}  erased (record {one['lane_seq']})")
            continue
        step = f"{one['from']} → {one['to']}" if one["moved"] else f"stays {one['to']}"
        lines.append(visible(f"{moment(one['at_ms'])}  {step:<28} {one['event']} by {one['actor']}"))
        if one["reason"] != one["event"]:
            lines.append(visible(f"    reason    {one['reason']}"))
        for cited in one["evidence"]:
            told = f" message {cited['msg_id']}" if cited["msg_id"] else ""
            kept = "" if cited["kept"] or cited["kind"] == "claim" else ", not kept"
            lines.append(visible(f"    evidence  {cited['kind']} {cited['blake3']}{told}{kept}"))
    name = f"{data['name']} ({data['fingerprint'][:16]})" if data["name"] else data["fingerprint"]
    return [*lines, visible(f"{name} is {data['state']}")]
