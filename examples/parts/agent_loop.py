"""`AgentLoopAdapter`: a loop of your own takes tasks from a channel and gives results back; peers get signed replies.

Prints

    bob's loop was asked about rain
    ada got: done {"rain":"it will be dry"}
"""

import trio

from web4 import AgentLoopAdapter, CipOptions, CipRuntime, ProtocolRouter, generate_identity, open_endpoint
from web4.agent import ChannelHandler, Result


async def live(handler: ChannelHandler) -> None:
    """The loop that is yours."""
    async for task in handler.tasks:
        topic = task.content["topic"].text  # what a peer wrote is data: `UntrustedText`
        print(f"bob's loop was asked about {topic}")
        await handler.results(task, Result(content={topic: "it will be dry"}))


async def nothing(task) -> Result:
    return Result()


async def main() -> None:
    ada, bob, handler = generate_identity(), generate_identity(), ChannelHandler()
    async with (
        open_endpoint(ada) as here,
        open_endpoint(bob) as there,
        CipRuntime(ada, options=CipOptions(agent_id="ada")) as cip,
        CipRuntime(bob, options=CipOptions(agent_id="bob")) as other,
        trio.open_nursery() as nursery,
    ):
        routers = ProtocolRouter(cip), ProtocolRouter(other)
        asking, _ = AgentLoopAdapter(routers[0], nothing), AgentLoopAdapter(routers[1], handler)
        for task in (*(router.run for router in routers), lambda: live(handler)):
            nursery.start_soon(task)
        door = await there.listen("tcp://127.0.0.1:0", admit=other.admit)
        async with here.dial(door.addresses[0], expect=bob.fingerprint) as session:
            nursery.start_soon(cip.serve, session)
            nursery.start_soon(other.serve, await anext(there.sessions()))
            await cip.established(session)
            answer = await asking.ask(bob.fingerprint, goal="ask", topic="rain")
            print("ada got:", answer.status, answer.content.text)
        nursery.cancel_scope.cancel()


trio.run(main)
