"""`web4 peer rm`."""

import trio

from web4.cli.node.reaching import PeerWord, directory_of
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.peer.naming import configure
from web4.cli.running import Answer, perform
from web4.cli.text import visible
from web4.doors.views.naming import Peers
from web4.mesh.registry.peers_file import read_peers, remove_peer
from web4.node.directory import Places, open_directory


def rm(peer: PeerWord, /, *, common: Common = COMMON) -> int:
    """Take a peer out of peers.toml; a running node forgets its addresses and dials it no more.

    How far it is trusted stays as it is: `web4 trust block` ends that.

    ```
    web4 peer rm bob
    ```
    """

    async def body(_: Output) -> Answer:
        places = Places(directory_of(common))
        await trio.to_thread.run_sync(open_directory, places)
        named = await trio.to_thread.run_sync(read_peers, places.peers)
        found = Peers(named, frozenset(one.fingerprint for one in named)).find(peer)
        entry = named.find(found)
        assert entry is not None
        await trio.to_thread.run_sync(remove_peer, places.peers, entry.name)
        told = await configure(common)
        data = {
            "name": entry.name,
            "fingerprint": entry.fingerprint,
            "file": str(places.peers),
            "node_told": told,
        }
        return Answer(
            data, [f"{entry.name} ({entry.fingerprint[:16]}) is not in {visible(places.peers)} any more"]
        )

    return perform(common, body)
