"""`web4 trust ls`."""

from web4.cli.node.reaching import ask
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import moment, paint, table, visible
from web4.cli.trust.states import painted


def ls(*, common: Common = COMMON) -> int:
    """List how far each peer is trusted of whom there is a record.

    Works beside a running node, and without.

    ```
    web4 trust ls
    web4 trust ls --data ./ada --json
    ```
    """

    async def body(_: Output) -> Answer:
        data = await ask(common, "trust_ls")
        lines = ["nobody yet; `web4 peer add` makes a peer known"]
        if data["peers"]:
            rows = [["name", "fingerprint", "trust", "since", ""]]
            rows += [
                [one["name"] or "-", one["fingerprint"][:16], one["state"], _when(one["at_ms"]), _more(one)]
                for one in data["peers"]
            ]
            lines = painted(table(rows), [None, *(one["state"] for one in data["peers"])])
        lines += [f"{paint('cannot be read', 'red')}: {visible(one)}" for one in data["unreadable"]]
        return Answer(data, lines)

    return perform(common, body)


def _when(at_ms: int | None) -> str:
    return "-" if at_ms is None else moment(at_ms)


def _more(one: dict[str, object]) -> str:
    told = ["key revoked"] if one["revoked"] else []
    if one["introducer"]:
        told.append(f"introduced by {str(one['introducer'])[:16]}")
    return ", ".join(told)
