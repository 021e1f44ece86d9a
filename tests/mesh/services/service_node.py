"""A node with services over real sessions and a journal on disk; also as a process of its own.

`python -m tests.mesh.services.service_node DIRECTORY` is the node `server`, which trusts the node `caller`.
"""

from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from tests.mesh.meshes import MESHED, identity_of
from web4 import rtt
from web4.actors import open_lane_actors
from web4.foundation.clock import SystemClock
from web4.foundation.events import no_events
from web4.foundation.ids import SystemIds
from web4.journal import EventRegistry, open_journal
from web4.journal.backends.sqlite import open_sqlite
from web4.mesh.server_lane import server_lane
from web4.mesh.services.catalogue import Service, ServiceCall
from web4.mesh.services.routed import register_services
from web4.mesh.services.services import Services
from web4.protocols.cip import CipOptions, CipRuntime
from web4.protocols.router.router import ProtocolRouter
from web4.trust import Anchored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.foundation.events import Emitter


def url(directory: Path, name: str) -> str:
    return f"unix://{directory}/{name}.sock"


@asynccontextmanager
async def serving(
    name: str, other: str, directory: Path, *offers: Service, emit: Emitter = no_events
) -> AsyncIterator[tuple[Services, rtt.Endpoint, CipRuntime]]:
    """Be a node until the block ends; `other` is trusted."""
    identity, clock = identity_of(name), SystemClock()
    async with (
        open_sqlite(directory / name) as store,
        open_journal(store, registry=EventRegistry()) as journal,
        trio.open_nursery() as nursery,
        rtt.open_endpoint(identity) as endpoint,
        CipRuntime(
            identity, options=CipOptions(agent_id=name, offer=MESHED), journal=journal, emit=emit
        ) as cip,
    ):
        await cip.trust_command(identity_of(other).fingerprint, Anchored(at_ms=clock.wall_ms()))
        services = Services(trust=cip.trust, send=cip.send, clock=clock, ids=SystemIds(), emit=emit)
        for one in offers:
            services.offer(one)
        services.prepare(journal)
        async with open_lane_actors(journal, {"server": server_lane(services=services.part)}) as actors:
            services.bind(actors)
            router = ProtocolRouter(cip)
            register_services(router, services)
            nursery.start_soon(services.run)
            nursery.start_soon(router.run)
            await endpoint.listen(url(directory, name), admit=cip.admit)
            nursery.start_soon(_accept, endpoint, cip, nursery)
            yield services, endpoint, cip
            nursery.cancel_scope.cancel()


async def _accept(endpoint: rtt.Endpoint, cip: CipRuntime, nursery: trio.Nursery) -> None:
    async for session in endpoint.sessions():
        nursery.start_soon(cip.serve, session)


async def keep(endpoint: rtt.Endpoint, cip: CipRuntime, directory: Path, other: str) -> None:
    """Keep a session with another node, for ever."""
    while True:
        with suppress(rtt.RttError):
            async with endpoint.dial(url(directory, other), expect=identity_of(other).fingerprint) as session:
                await cip.serve(session)
        await trio.sleep(0.05)


async def main(directory: Path) -> None:
    async def add(call: ServiceCall) -> dict[str, Any]:
        note(directory, f"sum {call.call_id}")
        return {"sum": call.args["a"] + call.args["b"], "process": os.getpid()}

    async def hang(call: ServiceCall) -> dict[str, Any]:
        note(directory, f"hang {call.call_id}")
        await trio.sleep_forever()

    offers = (
        Service(name="sum", version="1.0", handler=add),
        Service(name="hang", version="1.0", handler=hang),
    )
    async with serving("server", "caller", directory, *offers):
        print("listening", flush=True)
        await trio.sleep_forever()


def note(directory: Path, line: str) -> None:
    """Write down that a handler ran: it is on disk when this returns."""
    with (directory / "runs").open("a") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
