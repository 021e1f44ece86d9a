"""`Node`: everything wired, from a data directory. Two of them meet, and one asks the other.

Prints

    bob answers: done {"rain":"no"}
    ada holds bob trusted, bob holds ada probing
"""

import tempfile
from pathlib import Path

import msgspec
import trio

from web4 import Node
from web4.agent import Result
from web4.mesh.registry.peers_file import NamedPeer, add_peer
from web4.node import NodeConfig, NodeParts, Places, make_directory, open_node

CONFIG = msgspec.convert({"rtt": {"listen": ["tcp://127.0.0.1:0"]}}, NodeConfig)


async def forecast(task) -> Result:
    return Result(content={"rain": "no"})


def made(place: Path, *knows: Node) -> Path:
    """What `web4 init` does; and `web4 peer add` for each that it knows."""
    places = Places(place)
    make_directory(places)
    for node in knows:
        known = NamedPeer(name="bob", fingerprint=node.fingerprint, addresses=node.addresses, anchor=True)
        add_peer(places.peers, known)
    return place


async def main() -> None:
    parts = NodeParts(handler=forecast, pace=False)  # measured load would let a busy machine defer
    with tempfile.TemporaryDirectory() as place:
        async with (
            open_node(made(Path(place) / "bob"), config=CONFIG, parts=parts) as bob,
            open_node(made(Path(place) / "ada", bob), config=CONFIG, parts=parts) as ada,
        ):
            await ada.connected(bob.fingerprint)
            answer = await ada.loop.ask(bob.fingerprint, goal="ask", topic="the weather")
            print("bob answers:", answer.status, answer.content.text)
            held = ada.trust.state(bob.fingerprint), bob.trust.state(ada.fingerprint)
            print(f"ada holds bob {held[0]}, bob holds ada {held[1]}")


trio.run(main)
