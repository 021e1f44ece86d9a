"""`web4 peer ls`."""

from web4.cli.node.reaching import ask
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import table


def ls(*, common: Common = COMMON) -> int:
    """List the peers that the node knows: those of peers.toml, and those that it heard of.

    Works beside a running node, and without: then nobody is connected.

    ```
    web4 peer ls
    web4 peer ls --data ./ada --json
    ```
    """

    async def body(_: Output) -> Answer:
        data = await ask(common, "peer_ls")
        if not data["peers"]:
            return Answer(data, ["no peers; `web4 peer add NAME FINGERPRINT tcp://HOST:PORT` names one"])
        rows = [["name", "fingerprint", "trust", "session", "known by", "calls itself", "addresses"]]
        rows += [
            [
                one["name"] or "-",
                one["fingerprint"][:16],
                one["trust"],
                "up" if one["connected"] else "-",
                one["source"],
                one["agent_id"] or "-",
                " ".join(one["addresses"]),
            ]
            for one in data["peers"]
        ]
        return Answer(data, table(rows))

    return perform(common, body)
