"""The third process of the demo: an agent with a sound key of its own that means no good.

It speaks the real transport and, where that gets it further, the real handshake; then it breaks one rule. What it
reports is what it saw; whether it was refused is for its victims' events to say.
"""

from __future__ import annotations

import base64
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from web4 import rtt
from web4.demo.child import Setup, run, serve
from web4.foundation import envelope as envelopes
from web4.foundation.clock import format_timestamp
from web4.foundation.codec import ENCODER
from web4.protocols.cip import CipOptions
from web4.protocols.cip.actions import Established, Send
from web4.protocols.cip.context import CipContext, SessionFacts
from web4.protocols.cip.peer import Peer
from web4.protocols.cip.sealing import seal
from web4.protocols.cip.session import CipSession
from web4.protocols.messages import cip as m
from web4.protocols.messages.fields import Party
from web4.trust import TrustRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE = 10
"""Seconds to wait for a victim to react."""


class Hostile:
    """The five things it tries."""

    def __init__(self, setup: Setup, endpoint: rtt.Endpoint) -> None:
        self._setup = setup
        self._endpoint = endpoint
        self._hello: m.Hello | None = None
        self._held = AsyncExitStack()
        self._sessions: list[rtt.RttSession] = []

    async def garbage(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Write plain bytes where TLS is expected, and see what comes back."""
        address = rtt.Address.parse(arguments["url"])
        stream = await rtt.default_registry().create(address.scheme).connect(address)
        async with stream:
            with trio.fail_after(PATIENCE):
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: web4\r\n\r\n" * 4)
                received = b"".join([chunk async for chunk in _chunks(stream)])
        return {"received": len(received)}

    async def tamper(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Establish a session honestly, then send an envelope that was altered after signing."""
        session = await self._held.enter_async_context(
            self._endpoint.dial(arguments["url"], expect=arguments["peer"])
        )
        self._sessions.append(session)
        await self._establish(session)
        channel = await session.open_channel("knowledge", name="web4")
        intent = m.Intent(goal="ask", topic="the weather", priority="low", context={})
        sealed = self._seal(intent, arguments)
        altered = sealed if arguments.get("sabotage") else sealed.replace(b"the weather", b"the vault  ")
        await channel.send(altered)
        await channel.flush()
        return {}

    async def replay(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Open a new session with the HELLO of the last one: its nonce was used."""
        session = await self._held.enter_async_context(
            self._endpoint.dial(arguments["url"], expect=arguments["peer"])
        )
        self._sessions.append(session)
        assert self._hello is not None
        hello = self._hello
        if arguments.get("sabotage"):
            fresh = base64.b64encode(self._setup.ids.token(32)).decode()
            hello = msgspec.structs.replace(hello, session_nonce=fresh)
        await session.control.send(self._seal(hello, arguments))
        await session.control.flush()
        return {}

    async def release(self, _: dict[str, Any]) -> dict[str, Any]:
        """End the sessions that were kept for their victims to read."""
        for session in self._sessions:
            session.abort("done")
        self._sessions.clear()
        await self._held.aclose()
        return {}

    async def foreign_sender(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Sign, with its own key, a message that names somebody else as its sender."""
        session = await self._held.enter_async_context(
            self._endpoint.dial(arguments["url"], expect=arguments["peer"])
        )
        self._sessions.append(session)
        sender = self._setup.identity.fingerprint if arguments.get("sabotage") else arguments["as"]
        unsigned = {
            "cip": m.VERSION,
            "msg_id": self._setup.ids.uuid4(),
            "type": "ERROR",
            "timestamp": format_timestamp(self._setup.clock.wall_ms()),
            "sender": {"agent_id": arguments["as_name"], "fingerprint": sender},
            "receiver": {"agent_id": "victim", "fingerprint": arguments["peer"]},
            "payload": {"code": "busy"},
        }
        await session.control.send(envelopes.seal(self._setup.identity, ENCODER.encode(unsigned)))
        await session.control.flush()
        return {}

    def _seal(self, payload: m.Payload, arguments: dict[str, Any]) -> bytes:
        receiver = Party(agent_id="victim", fingerprint=arguments["peer"])
        sealed = seal(
            self._setup.identity,
            payload,
            agent_id=self._setup.name,
            receiver=receiver,
            msg_id=self._setup.ids.uuid4(),
            now_ms=self._setup.clock.wall_ms(),
        )
        return sealed.data

    async def _establish(self, session: rtt.RttSession) -> None:
        """Do the handshake as it should be, and keep the HELLO."""
        cip = self._cip(session)
        actions = cip.start()
        with trio.fail_after(PATIENCE):
            while not any(isinstance(action, Established) for action in actions):
                await self._send_all(session, actions)
                actions = cip.receive(await session.control.receive(), "control")
            await self._send_all(session, actions)

    async def _send_all(self, session: rtt.RttSession, actions: list[Any]) -> None:
        for action in actions:
            if isinstance(action, Send) and action.channel == "control":
                if action.sealed.type == "HELLO":
                    payload = envelopes.parse(action.sealed.data).payload
                    self._hello = msgspec.json.decode(payload or b"", type=m.Hello)
                await session.control.send(action.sealed.data)

    def _cip(self, session: rtt.RttSession) -> CipSession:
        options = CipOptions(agent_id=self._setup.name)
        trust = TrustRegistry()
        context = CipContext(
            identity=self._setup.identity,
            options=options,
            clock=self._setup.clock,
            ids=self._setup.ids,
            emit=self._setup.emit,
            trust=trust,
            room=lambda *_: True,
        )
        facts = SessionFacts(
            session_id=session.session_id.hex(),
            peer=session.peer,
            public_key=session.peer_public_key,
            binding=session.binding,
            initiator=session.initiator,
        )
        return CipSession(
            context, Peer(session.peer, trust=trust, options=options, emit=self._setup.emit), facts
        )


async def _chunks(stream: trio.abc.ReceiveStream) -> AsyncIterator[bytes]:
    try:
        async for chunk in stream:
            yield bytes(chunk)
    except trio.BrokenResourceError:
        return


async def main(setup: Setup, lines: AsyncIterator[dict[str, Any]]) -> None:
    """Listen for whoever dials the wrong address, and do what is asked."""
    setup.be_somebody_new()
    async with rtt.open_endpoint(setup.identity, ids=setup.ids) as endpoint:
        listener = await endpoint.listen(setup.url, admit=lambda *_: True)
        hostile = Hostile(setup, endpoint)
        setup.emit("ready", fingerprint=setup.identity.fingerprint, url=listener.addresses[0])
        answers = {
            "garbage": hostile.garbage,
            "tamper": hostile.tamper,
            "replay": hostile.replay,
            "foreign_sender": hostile.foreign_sender,
            "release": hostile.release,
        }
        await serve(lines, answers)


if __name__ == "__main__":
    run(main)
