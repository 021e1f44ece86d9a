"""`RttSession`: two keys, one connection, messages that arrive once and in order, or are reported.

Prints

    bob got 2 messages: water is wet, ice floats
    ada was told: all acknowledged
"""

import trio

from web4 import RttSession, generate_identity, open_endpoint


async def say(session: RttSession) -> None:
    async with await session.open_channel("knowledge") as channel:
        await channel.send_many([b"water is wet", b"ice floats"])
        await channel.flush()  # returns when the other end has them
        print("ada was told: all acknowledged")


async def hear(session: RttSession) -> None:
    async with await session.accept_channel() as channel:
        words = [(await channel.receive()).decode() for _ in range(2)]
        print(f"bob got {len(words)} messages: {', '.join(words)}")


async def main() -> None:
    ada, bob = generate_identity(), generate_identity()
    async with open_endpoint(ada) as here, open_endpoint(bob) as there, trio.open_nursery() as nursery:
        door = await there.listen("tcp://127.0.0.1:0", admit=lambda peer, address: peer == ada.fingerprint)
        async with here.dial(door.addresses[0], expect=bob.fingerprint) as session:
            nursery.start_soon(hear, await anext(there.sessions()))
            await say(session)


trio.run(main)
