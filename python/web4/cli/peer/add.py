"""`web4 peer add`."""

from typing import Annotated

import msgspec
import trio
from cyclopts import Parameter

from web4.cli.errors import CommandError
from web4.cli.node.reaching import directory_of
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.peer.naming import configure
from web4.cli.running import Answer, perform
from web4.cli.text import visible
from web4.foundation.misfit import misfit
from web4.mesh.registry.peers_file import NamedPeer, add_peer
from web4.node.directory import Places, open_directory
from web4.node.errors import DirectoryError


def add(
    name: Annotated[
        str, Parameter(name="NAME", help="What you call it: up to 64 of a-z, 0-9, `.`, `_`, `-`.")
    ],
    fingerprint: Annotated[str, Parameter(name="FINGERPRINT", help="Who it is: 64 hex digits.")],
    addresses: Annotated[
        tuple[str, ...],
        Parameter(name="ADDRESS", help="Where to dial it, as tcp://host:port; none if it dials you."),
    ] = (),
    /,
    *,
    anchor: Annotated[
        bool, Parameter(negative=(), help="Trust it from the start, by configuration.")
    ] = False,
    human: Annotated[str | None, Parameter(help="The human behind it, as you call them.")] = None,
    common: Common = COMMON,
) -> int:
    """Name a peer in peers.toml; a running node knows it, and dials it, at once.

    What else is in the file stays as it is written.

    ```
    web4 peer add bob 3f1c09d2a77b5c9de41f0a86b7c2e95d08f3614a2b7d9e0c5f1a8b6d4e7c3f20 tcp://192.0.2.7:7440
    ```
    """

    async def body(_: Output) -> Answer:
        places = Places(directory_of(common))
        identity = await trio.to_thread.run_sync(open_directory, places)
        said = {
            "name": name,
            "fingerprint": fingerprint.lower(),
            "addresses": addresses,
            "anchor": anchor,
            "human": human,
        }
        try:
            peer = msgspec.convert(said, NamedPeer)
        except msgspec.ValidationError as error:
            raise CommandError(str(misfit(error, said, NamedPeer)), code="usage") from None
        if peer.fingerprint == identity.fingerprint:
            raise DirectoryError("this is the node's own fingerprint", code="own_peer")
        await trio.to_thread.run_sync(add_peer, places.peers, peer)
        told = await configure(common)
        data = {
            "name": peer.name,
            "fingerprint": peer.fingerprint,
            "file": str(places.peers),
            "node_told": told,
        }
        then = (
            "the running node dials it"
            if told and addresses
            else "the running node knows it"
            if told
            else None
        )
        lines = [f"{peer.name} is {peer.fingerprint[:16]} from now on, see {visible(places.peers)}"]
        return Answer(data, [*lines, then or "the node knows it when it runs"])

    return perform(common, body)
