"""A server that speaks the streaming format of chat completions, byte for byte as a test wants it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


def chunk(text: str | None = None, *, finish: str | None = None, **delta: Any) -> bytes:
    """One event, with all the fields that such servers send."""
    content = {} if text is None else {"content": text}
    said = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "m",
        "system_fingerprint": None,
        "choices": [{"index": 0, "delta": {**content, **delta}, "logprobs": None, "finish_reason": finish}],
    }
    return b"data: " + json.dumps(said, ensure_ascii=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


class ChatServer:
    """Answers every request with `pieces`, each sent by itself, as chunked transfer coding.

    Args:
        pieces: Bytes of the stream; a number is a pause in seconds, None breaks the connection off.
        status: Of the response.
        headers: More of it.
    """

    def __init__(
        self, pieces: Sequence[bytes | float | None], *, status: int = 200, headers: bytes = b""
    ) -> None:
        self.pieces = pieces
        self.status = status
        self.headers = headers
        self.requests: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.asked = trio.Event()
        self.gone = trio.Event()
        """Set when a client has closed its connection."""

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            head, _, body = (await self._until(stream, b"\r\n\r\n")).partition(b"\r\n\r\n")
            self.heads.append(head.decode())
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            while len(body) < length:
                body += await stream.receive_some()
            self.requests.append(json.loads(body))
            self.asked.set()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._notice, stream)
                await self._answer(stream)
                nursery.cancel_scope.cancel()

    async def _answer(self, stream: trio.SocketStream) -> None:
        start = b"HTTP/1.1 %d X\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
        try:
            await stream.send_all(start % self.status + self.headers + b"Connection: close\r\n\r\n")
            for piece in self.pieces:
                match piece:
                    case None:
                        return
                    case bytes():
                        await stream.send_all(b"%x\r\n%b\r\n" % (len(piece), piece))
                    case _:
                        await trio.sleep(piece)
            await stream.send_all(b"0\r\n\r\n")
        except trio.BrokenResourceError:
            pass

    async def _notice(self, stream: trio.SocketStream) -> None:
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass
        self.gone.set()

    async def _until(self, stream: trio.SocketStream, end: bytes) -> bytes:
        read = b""
        while end not in read:
            more = await stream.receive_some()
            if not more:
                raise ConnectionError("the request broke off")
            read += more
        return read


@asynccontextmanager
async def chat_server(*pieces: bytes | float | None, **more: Any) -> AsyncIterator[tuple[ChatServer, str]]:
    """A server on this machine, and the URL of its API."""
    server = ChatServer(pieces, **more)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        yield server, f"http://127.0.0.1:{port}/v1"
        nursery.cancel_scope.cancel()
