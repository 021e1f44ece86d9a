"""`web4 trust show`."""

from web4.cli.node.reaching import PeerWord, ask
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import facts, moment


def show(peer: PeerWord, /, *, common: Common = COMMON) -> int:
    """Show how far a peer is trusted, and what is held about it.

    Works beside a running node, and without.

    ```
    web4 trust show bob
    web4 trust show 3f1c09d2 --json
    ```
    """

    async def body(_: Output) -> Answer:
        data = await ask(common, "trust_show", {"peer": peer})
        counts = ", ".join(f"{name} {count}" for name, count in data["counts"].items())
        cooldown = f"{data['cooldown_ms'] / 1000:.0f} s more" if data["cooldown_ms"] else None
        lines = facts(
            [
                ("peer", data["fingerprint"]),
                ("name", data["name"]),
                ("trust", data["state"]),
                ("since", None if data["at_ms"] is None else moment(data["at_ms"])),
                ("handshake", "completed" if data["handshaken"] else "never completed"),
                ("introduced by", data["introducer"]),
                ("key", "revoked" if data["revoked"] else None),
                ("cooldown", cooldown),
                ("events", counts or "none"),
                ("evidence kept", f"{data['evidence_bytes']} B" if data["evidence_bytes"] else None),
            ]
        )
        return Answer(data, [*lines, "", f"`web4 trust why {data['name'] or data['fingerprint']}` says why"])

    return perform(common, body)
