"""grpcio's asyncio API over TLS: one bidirectional stream of raw bytes, without a serialiser.

There is no call for many messages, so a batch is a loop of `write` and of `read`; compression is off and messages
may be of any size. `write` waits for HTTP/2 flow control, whose window gRPC fits to the connection by itself.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scripts.bench.link import Link
    from scripts.bench.side import Side

LOOP = "asyncio"
ENCRYPTED = True
PACKAGES = ("grpcio",)
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class StreamLink:
    """A link over one side of a stream."""

    def __init__(self, stream: Any) -> None:
        self._write = stream.write
        self._read = stream.read

    async def send(self, message: bytes) -> None:
        """Write one message."""
        await self._write(message)

    async def send_many(self, messages: list[bytes]) -> None:
        """Write each message."""
        for message in messages:
            await self._write(message)

    async def receive(self) -> bytes:
        """Return the next message."""
        message = await self._read()
        if message is grpc.aio.EOF:
            raise EOFError("the stream ended inside a figure")
        received: bytes = message
        return received

    async def receive_many(self) -> list[bytes]:
        """Return the next message."""
        return [await self.receive()]


@asynccontextmanager
async def open_link(side: Side) -> AsyncIterator[Link]:
    """Connect both sides and open the stream."""
    certificate = (side.credentials / "certificate.pem").read_bytes()
    if side.role == "client":
        credentials = grpc.ssl_channel_credentials(certificate)
        target = f"127.0.0.1:{(await side.address()).port}"
        async with grpc.aio.secure_channel(target, credentials, options=OPTIONS) as channel:
            call = channel.stream_stream("/bench/exchange")()
            await call.wait_for_connection()
            yield StreamLink(call)
            call.cancel()
        return
    opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def exchange(_requests: object, context: Any) -> None:
        await context.send_initial_metadata(())
        opened.set_result(context)
        await over.wait()

    server = grpc.aio.server(options=OPTIONS)
    handler = grpc.stream_stream_rpc_method_handler(exchange)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench", {"exchange": handler}),))
    key = (side.credentials / "key.pem").read_bytes()
    credentials = grpc.ssl_server_credentials([(key, certificate)])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    side.announce(port)
    yield StreamLink(await opened)
    over.set()
    await server.stop(None)
