"""Who a node is: `id_show`. Never its private key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from web4.doors.control.commands import Nothing
from web4.foundation.identity import did_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.doors.views.reading import Reading


async def id_show(reading: Reading, _: Nothing) -> Mapping[str, Any]:
    """`{name, fingerprint, public_key, did, addresses}`; `addresses` are those it listens on, or would."""
    await trio.lowlevel.checkpoint()
    identity, node = reading.identity, reading.node
    return {
        "name": reading.name,
        "fingerprint": identity.fingerprint,
        "public_key": identity.public_key.hex(),
        "did": did_key(identity.public_key),
        "addresses": list(reading.config.rtt.listen if node is None else node.addresses),
    }


QUESTIONS: Final = {"id_show": (Nothing, id_show)}
