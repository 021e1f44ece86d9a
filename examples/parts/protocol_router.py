"""`ProtocolRouter`: each message to the handlers of its type; one that fails harms no other.

Prints

    ledger: ice floats
    dead letters: 1 (handler_failed)
    ledger: cork floats
"""

import uuid

import trio

from web4 import CipOptions, CipRuntime, ProtocolRouter, generate_identity, open_endpoint
from web4.protocols.cip import Offer
from web4.protocols.messages.cip import DmpTrace, Fact
from web4.protocols.router import HandlerResult

OFFER = Offer(capabilities=("state_exchange", "knowledge_exchange"))
STATEMENTS = ("ice floats", "lead floats", "cork floats")


async def main() -> None:
    ada, bob = generate_identity(), generate_identity()
    heard, see = trio.open_memory_channel[str](8)
    async with (
        open_endpoint(ada) as here,
        open_endpoint(bob) as there,
        CipRuntime(ada, options=CipOptions(agent_id="ada", offer=OFFER)) as cip,
        CipRuntime(bob, options=CipOptions(agent_id="bob", offer=OFFER)) as other,
        trio.open_nursery() as nursery,
    ):
        router = ProtocolRouter(other)

        async def ledger(delivery) -> HandlerResult:
            statement = delivery.message.payload.fact.statement
            await heard.send(statement)
            if statement.startswith("lead"):
                raise ValueError("it does not")
            return HandlerResult()

        router.register("cip", "FACT_PROPOSE", ledger, min_trust="probing")
        nursery.start_soon(router.run)
        door = await there.listen("tcp://127.0.0.1:0", admit=other.admit)
        async with here.dial(door.addresses[0], expect=bob.fingerprint) as session:
            nursery.start_soon(cip.serve, session)
            nursery.start_soon(other.serve, await anext(there.sessions()))
            await cip.established(session)
            for statement in STATEMENTS:
                trace = DmpTrace(
                    decision_id=str(uuid.uuid4()), steps=("saw it",), counterfactuals=(), evidence=()
                )
                fact = Fact(
                    statement=statement, domain="physics", confidence=0.9, sources=("a bath",), context={}
                )
                await cip.propose_fact(bob.fingerprint, fact, trace)
                said = await see.receive()
                if said.startswith("lead"):
                    while not router.dead_letters:  # noqa: ASYNC110 - nobody waits for one
                        await trio.sleep(0.01)
                    (letter,) = router.dead_letters
                    print(f"dead letters: 1 ({letter.code})")
                else:
                    print("ledger:", said)
        nursery.cancel_scope.cancel()


trio.run(main)
