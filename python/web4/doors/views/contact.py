"""Whether there is a session with a peer, and why not: what stands in its way, worst first (UX-4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from web4.node.tries import FAILED, Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.doors.views.reading import Reading
    from web4.node.node import Node
    from web4.trust import TrustRecord

_MESH: Final = "mesh://"


def session_row(
    reading: Reading, peer: str, record: TrustRecord, addresses: Sequence[str], *, told: bool
) -> dict[str, Any]:
    """`{state, why, dials, trouble, next_ms}`.

    `state` is `up`, `suspended` while a session waits for another connection, or `none`. `why` are words for what is in
    the way of one that is up: `not_running`, `blocked`, `not_vouched`, `no_address`, `no_way`, `failing`, `dialling`,
    `never_greeted`.
    `dials` says whether the node goes on trying by itself; null of a node that does not run. `trouble` is what failed
    last in the life of this process, `{at_ms, what, code, address}`, and `next_ms` when the next attempt is made.

    Args:
        reading: Whose peer.
        peer: Its fingerprint.
        record: How far it is trusted.
        addresses: Where it may be dialled.
        told: Whether those are others' word: then somebody has to vouch for the peer still (decision 0029).
    """
    barred = None
    if record.state == "blacklisted":
        barred = "blocked"
    elif told and record.state not in {"probing", "trusted"} and not record.handshaken:
        barred = "not_vouched"
    greeted = record.handshaken
    node = reading.node
    if node is None:
        found = ["not_running", *_lasting(barred, greeted=greeted, addresses=addresses)]
        return {"state": "none", "why": found, "dials": None, "trouble": None, "next_ms": None}
    if peer in node.cip.peers(up=True):
        return {"state": "up", "why": [], "dials": False, "trouble": None, "next_ms": None}
    suspended = peer in node.cip.peers()
    trouble, next_ms = _tried(node, peer)
    dials = bool(addresses) and barred is None
    why = _lasting(barred, greeted=greeted, addresses=addresses)
    if dials:
        why = [_trying(node, peer, addresses, trouble), *why]
    return {
        "state": "suspended" if suspended else "none",
        "why": why,
        "dials": dials,
        "trouble": None if trouble is None else trouble._asdict(),
        "next_ms": next_ms if dials else None,
    }


def _lasting(barred: str | None, *, greeted: bool, addresses: Sequence[str]) -> list[str]:
    """What stands in the way whether the node runs or not."""
    found = [] if barred is None else [barred]
    found += ["no_address"] * (not addresses)
    return found + ["never_greeted"] * (not greeted)


def _trying(node: Node, peer: str, addresses: Sequence[str], trouble: Trouble | None) -> str:
    """How dialling goes."""
    if all(one.startswith(_MESH) for one in addresses) and (
        node.mesh is None or node.mesh.table.route(peer) is None
    ):
        return "no_way"
    return "dialling" if trouble is None else "failing"


def _tried(node: Node, peer: str) -> tuple[Trouble | None, int | None]:
    """What failed last, and when the next attempt is made: the session's own, where one waits for another carrier."""
    waiting = next((one for one in node.cip.sessions(peer) if one.attempts is not None), None)
    attempts = None if waiting is None else waiting.attempts
    if waiting is None or attempts is None:
        return node.tries.trouble(peer), node.tries.next_ms(peer)
    now_ms, now = node.clock.wall_ms(), trio.current_time()

    def wall(at: float) -> int:
        return now_ms + round((at - now) * 1_000)

    trouble = node.tries.trouble(peer)
    if attempts.failure is not None and attempts.failed_at is not None:
        address = str(waiting.addresses[-1])  # behind a failure the next one has come to the front
        trouble = Trouble(wall(attempts.failed_at), FAILED, attempts.failure, address)
    return trouble, None if attempts.next_at is None else wall(attempts.next_at)
