"""The peers, by the names of their modules in `peers/`."""

from __future__ import annotations

LOCAL = ["raw_tcp", "blocking_tls", "trio_tcp", "trio_tls", "asyncio_tls", "rtt"]
"""Peers that need nothing but this project and what its tests need."""
INSTALLED = [
    "uvloop_tls",
    "zmq_curve",
    "zmq_curve_asyncio",
    "zenoh_tls",
    "zenoh_quic",
    "nats_tls",
    "grpc_aio_tls",
    "websockets_tls",
    "aioquic_stream",
    "slim_tls",
]
"""Peers that `make bench-peers` installs into the benchmark's own environment."""
PEERS = [*LOCAL[:-1], *INSTALLED, "rtt"]
RESUMING = ["zmq_curve", "zenoh_tls", "nats_tls", "rtt"]
"""Peers that connect again by themselves over TCP."""
STREAMS = ["blocking_tls", "trio_tls", "asyncio_tls", "uvloop_tls", "aioquic_stream"]
"""Encrypted peers that are byte streams: framed by hand, many messages to a write."""


def module(peer: str) -> str:
    """Return a peer's import name."""
    return f"scripts.bench.peers.{peer}"
