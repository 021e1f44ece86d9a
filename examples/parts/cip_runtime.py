"""`CipRuntime`: a fact is promised to a peer that is not there yet; it is delivered, with a receipt, when it comes.

Prints

    waiting: FACT_PROPOSE
    bob heard: ice floats, from a peer held probing
    ada knows: delivered
"""

import uuid

import trio

from web4 import CipOptions, CipRuntime, generate_identity, open_endpoint
from web4.protocols.cip import Offer
from web4.protocols.messages.cip import DmpTrace, Fact

OFFER = Offer(capabilities=("state_exchange", "knowledge_exchange"))
FACT = Fact(
    statement="ice floats", domain="physics", confidence=0.9, sources=("a glass of water",), context={}
)


async def main() -> None:
    ada, bob = generate_identity(), generate_identity()
    async with (
        open_endpoint(ada) as here,
        open_endpoint(bob) as there,
        CipRuntime(ada, options=CipOptions(agent_id="ada", offer=OFFER)) as cip,
        CipRuntime(bob, options=CipOptions(agent_id="bob", offer=OFFER)) as other,
        trio.open_nursery() as nursery,
    ):
        trace = DmpTrace(decision_id=str(uuid.uuid4()), steps=("saw it",), counterfactuals=(), evidence=())
        msg_id = await cip.propose_fact(bob.fingerprint, FACT, trace)
        print("waiting:", *(entry.type for entry in await cip.outbox(bob.fingerprint)))

        door = await there.listen("tcp://127.0.0.1:0", admit=other.admit)
        async with here.dial(door.addresses[0], expect=bob.fingerprint) as session:
            nursery.start_soon(cip.serve, session)
            nursery.start_soon(other.serve, await anext(there.sessions()))
            delivery = await anext(other.inbox)
            print(f"bob heard: {delivery.message.payload.fact.statement}, from a peer held {delivery.trust}")
            await other.settled(delivery)
            while (how := await cip.concluded(bob.fingerprint, msg_id)) is None:  # noqa: ASYNC110 - or ask later
                await trio.sleep(0.01)
            print("ada knows:", how.outcome)
        nursery.cancel_scope.cancel()


trio.run(main)
