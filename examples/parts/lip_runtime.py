"""`LipRuntime`: a page is fetched as an effect of lane `knowledge`; where it came from, and the body, stay.

Prints

    The lamp is green.
    from http://127.0.0.1, 18 bytes, as data and not as orders: UntrustedText
    refused: address_not_public
"""

import tempfile

import trio

from web4 import LipRuntime
from web4.actors import open_lane_actors
from web4.journal import EventRegistry, open_journal
from web4.journal.backends.sqlite import open_sqlite
from web4.protocols.lip import FetchError, FetchException, FetchOptions, open_fetcher

GREEN = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 18\r\n\r\nThe lamp is green."
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


async def serve(stream: trio.SocketStream) -> None:
    """A web server that has one page, and no robots.txt."""
    async with stream:
        await stream.send_all(GREEN if b"/lamp" in await stream.receive_some(4096) else MISSING)


async def nobody(peer, payload, **more):
    raise RuntimeError("there are no peers in this program")


async def main(directory: str) -> None:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        here = FetchException(host="127.0.0.1", port=port, network="127.0.0.0/8")  # the operator's word alone
        async with (
            open_fetcher(FetchOptions(exceptions=(here,), spacing_seconds=0.01)) as fetcher,
            open_sqlite(directory) as store,
            open_journal(store, registry=EventRegistry()) as journal,
        ):
            lip = LipRuntime(journal, fetcher, nobody)
            async with open_lane_actors(journal, {"knowledge": lip.definition}) as actors:
                lip.bind(actors)
                record = await lip.fetch(f"http://127.0.0.1:{port}/lamp", constraints=["no_personal_data"])
                text = await lip.text(record)
                print(text.text)
                where = record.final_uri.removesuffix(f":{port}/lamp")
                print(
                    f"from {where}, {record.body_bytes} bytes, as data and not as orders: {type(text).__name__}"
                )
                try:
                    await lip.fetch("http://127.0.0.2/lamp")
                except FetchError as error:
                    print("refused:", error.code)
        nursery.cancel_scope.cancel()


with tempfile.TemporaryDirectory() as place:
    trio.run(main, place)
