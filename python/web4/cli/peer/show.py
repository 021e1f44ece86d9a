"""`web4 peer show`."""

from web4.cli.node.reaching import PeerWord, ask
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import facts, moment


def show(peer: PeerWord, /, *, common: Common = COMMON) -> int:
    """Show what is known of a peer. All but its fingerprint, your name for it, and trust, is somebody's word.

    Works beside a running node, and without.

    ```
    web4 peer show bob
    web4 peer show 3f1c09d2 --json
    ```
    """

    async def body(_: Output) -> Answer:
        data = await ask(common, "peer_show", {"peer": peer})
        seen = data["last_seen_ms"]
        lines = facts(
            [
                ("peer", data["fingerprint"]),
                ("name", data["name"]),
                ("human", data["human"]),
                ("calls itself", data["agent_id"]),
                ("trust", f"{data['trust']}{', an anchor' if data['anchor'] else ''}"),
                ("session", "up" if data["connected"] else "none"),
                ("last seen", None if seen is None else moment(seen)),
                ("known by", data["source"]),
                ("introduced by", data["introducer"]),
                ("addresses", " ".join(data["addresses"]) or "none"),
                ("protocols", None if data["protocols"] is None else " ".join(data["protocols"])),
                ("capabilities", " ".join(data["capabilities"]) or None),
                ("services", " ".join(data["services"]) or None),
            ]
        )
        return Answer(data, lines)

    return perform(common, body)
