"""Two agents, each with a person, in one process: whoever is uneasy is asked first, and may take everything back.

Answer the questions with `yes` or `no`.
"""

import sys
import tempfile
from contextlib import asynccontextmanager

import trio

from web4 import CipOptions, CipRuntime, HcpRuntime, ProtocolRouter, generate_identity, open_endpoint
from web4.actors import open_lane_actors
from web4.journal import EventRegistry, open_journal
from web4.journal.backends.memory import open_memory
from web4.protocols.cip import Offer
from web4.protocols.hcp import Answer, ConsentDenied, Contact, Grant, Revoke, SetState

OFFER = Offer(protocols=("cip/1.0", "hcp/1.0"))


@asynccontextmanager
async def node(name, identity, peer):
    options = CipOptions(agent_id=name, offer=OFFER)
    async with (
        open_memory() as store,
        open_journal(store, registry=EventRegistry(), identity=identity) as journal,
        CipRuntime(identity, options=options, journal=journal) as cip,
        trio.open_nursery() as nursery,
    ):
        await cip.anchor([peer.fingerprint])  # the operator vouches for the other node
        hcp = HcpRuntime(journal, agent_id=name, send=cip.send, purge=cip.purge, trust=cip.trust)
        async with open_lane_actors(journal, {"human": hcp.definition}) as actors:
            hcp.bind(actors)
            await nursery.start(hcp.run)
            router = ProtocolRouter(cip)
            hcp.register(router)  # the gate comes before everybody who registers after
            nursery.start_soon(router.run)
            yield cip, hcp, router
        nursery.cancel_scope.cancel()


async def door(hcp, human):
    """Where a person is asked: here the terminal."""
    async for question in hcp.check_ins(human):
        print(f"{human}, {question.question} ({', '.join(question.reasons)})", flush=True)
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
        yes = input() == "yes"  # noqa: ASYNC250 - a line is there
        await hcp.act(human, Answer(question.check_in_id, yes=yes), door="terminal")


async def main():
    ada, bob = generate_identity(), generate_identity()
    grace, hal = Contact(ada.fingerprint, "grace"), Contact(bob.fingerprint, "hal")
    with tempfile.TemporaryDirectory() as place:
        async with (
            open_endpoint(ada) as at_ada,
            open_endpoint(bob) as at_bob,
            node("ada", ada, bob) as (adas, hers, _),
            node("bob", bob, ada) as (bobs, his, router),
            trio.open_nursery() as nursery,
        ):
            arrived = trio.Event()

            async def agent(delivery):
                print("bob's agent hears of", delivery.message.payload.topic)
                arrived.set()

            async def serve_all():
                async for session in at_bob.sessions():
                    nursery.start_soon(bobs.serve, session)

            router.register("hcp", "HCP_INTENT", agent)
            await at_bob.listen(f"unix://{place}/bob.sock", admit=bobs.admit)
            nursery.start_soon(serve_all)
            async with at_ada.dial(f"unix://{place}/bob.sock", expect=bob.fingerprint) as session:
                nursery.start_soon(adas.serve, session)
                await hers.add_human("grace", name="Grace", role="gardener")
                await his.add_human("hal", name="Hal", role="neighbour")
                for hcp, human, other in ((hers, "grace", hal), (his, "hal", grace)):
                    await hcp.act(human, Grant(), door="terminal")
                    await hcp.say_hello(human, other)
                await hers.acquainted("grace", hal)
                await his.acquainted("hal", grace)

                nursery.start_soon(door, hers, "grace")
                nursery.start_soon(door, his, "hal")
                await hers.act("grace", SetState(affect="tense"), door="terminal")
                intent = await hers.send_intent("grace", hal, goal="align", topic="garden/fence")
                print("the intent is", intent.status)
                await arrived.wait()
                print("and for grace it ended:", await hers.outcome("grace", intent.msg_id))

                async with hers.running("grace", hal) as work:
                    await hers.act("grace", Revoke(), door="terminal")
                    await trio.sleep_forever()
                print("work was cancelled:", work.cancelled_caught)
                try:
                    await hers.send_intent("grace", hal, goal="align", topic="garden/fence")
                except ConsentDenied as error:
                    print(error)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
