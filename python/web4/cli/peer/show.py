"""`web4 peer show`."""

from typing import Any, Final

from web4.cli.node.reaching import PeerWord, ask
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import facts, moment

_WHY: Final = {
    "not_running": "the node does not run",
    "blocked": "it is blacklisted: `web4 trust why` says why, `web4 trust override` takes that back",
    "not_vouched": "others told its addresses, and nobody who is trusted vouches for it any more",
    "no_address": "no address of it is known: it has to dial this node, or `web4 peer add` names one",
    "no_way": "no way leads there over the mesh",
    "failing": "it cannot be reached, or does not shake hands",
    "dialling": "it is being dialled",
    "never_greeted": "there has never been a handshake with it",
}
_WHAT: Final = {
    "connection_failed": "no connection",
    "handshake_failed": "no handshake",
    "session_suspend": "the connection broke",
    "session_lost": "the session ended",
    "address_refused": "an address that others told is not dialled",
}
_STATE: Final = {"up": "up", "suspended": "suspended: it waits for another connection", "none": "none"}


def show(peer: PeerWord, /, *, common: Common = COMMON) -> int:
    """Show what is known of a peer. All but its fingerprint, your name for it, and trust, is somebody's word.

    Where there is no session with it, it says why, what failed last, and when the next attempt is made. Works beside
    a running node, and without: then it says what stands in the way whether the node runs or not.

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
                *_session(data["session"]),
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


def _session(session: dict[str, Any]) -> list[tuple[str, object]]:
    """Whether there is a session; if not, why, what failed last and when, and when it is tried again."""
    if session["state"] == "up":
        return [("session", "up")]
    lines: list[tuple[str, object]] = [("session", _STATE[session["state"]])]
    lines += [("because", _WHY.get(word, word)) for word in session["why"]]
    trouble = session["trouble"]
    if trouble is not None:
        where = f" at {trouble['address']}" if trouble["address"] else ""
        what = _WHAT.get(trouble["what"], trouble["what"])
        lines.append(("failed", f"{what} ({trouble['code']}){where}, {moment(trouble['at_ms'])}"))
    if session["next_ms"] is not None:
        lines.append(("next try", moment(session["next_ms"])))
    elif session["dials"] is False:
        lines.append(("next try", "none by this node"))
    return lines
