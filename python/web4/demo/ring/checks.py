"""The checks of the mesh demo: what each claims, in the order in which the story reaches them (DEMO-2)."""

from __future__ import annotations

from typing import Final

MESH_CHECKS: Final = {
    "topology": "every node's graph shows its links and ways to all, together the ring as laid; it leaves as JSON and "
    "DOT, and comes back equal",
    "multihop": "an INTENT to a node that is no neighbour is answered, over mesh:// and at least one hop",
    "hop_is_blind": "the hop wrote down all that it relayed: the words are in none of it, nor in its files",
    "introduction_probing": "a stranger is probing, and no more, to those who trust its introducer; taken back, only "
    "to those to whom it proved itself",
    "claim_disputed_then_accepted": "a fact told over the mesh is disputed on every node, then accepted on every node",
    "service_invoke": "a service of a node that is no neighbour runs, once, and its result comes back",
    "reroute": "a node on the way is killed: the session resumes on another way, nothing is lost or comes twice",
    "partition_heals": "cut in two, both sides go on; joined again, ways and votes come to the same everywhere",
    "crash_outbox": "receiver and sender are killed while envelopes wait: started again, each arrives once, in order",
    "blocked_peer": "whom a node blocks gets no session with it, directly or over others, and the mesh goes around",
    "export": "each journal leaves as a bundle that another process verifies; replayed, it gives the live states",
}
