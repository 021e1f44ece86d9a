"""`ObservabilityHub`: a node's events, redacted, in memory and in as many sinks as there are.

Prints

    session_open
    channel_open
    session_close
    a question, as it is seen: ['blake3', 'length']
    the file has every event: True
"""

import tempfile
from pathlib import Path

import trio

from web4 import ObservabilityHub, generate_identity, open_endpoint
from web4.observe import JsonLinesSink, open_hub


def show(hub: ObservabilityHub) -> None:
    for event in hub.memory.select(lambda event: event.type.startswith(("session_", "channel_open"))):
        print(event.type)


async def main() -> None:
    ada, bob = generate_identity(), generate_identity()
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "events.jsonl"
        async with open_hub("ada", sinks=[JsonLinesSink(file)]) as hub:
            async with open_endpoint(ada, emit=hub.emit) as here, open_endpoint(bob) as there:
                door = await there.listen("tcp://127.0.0.1:0", admit=lambda peer, address: True)
                async with here.dial(door.addresses[0], expect=bob.fingerprint) as session:
                    await (await session.open_channel("knowledge")).aclose()
            show(hub)
            hub.emit("check_in_asked", human="grace", question="May I tell them?")
            (asked,) = hub.memory.select(lambda event: event.type == "check_in_asked")
            print("a question, as it is seen:", sorted(asked.payload["question"]))
        print("the file has every event:", len(file.read_bytes().splitlines()) == len(hub.memory))


trio.run(main)
