"""The local web of the demo: a page, a page that robots.txt keeps for people, and a door that nobody may knock at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from web4.demo.child import Setup, run, serve
from web4.foundation.digest import blake3_hex

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAGE: Final = b"""<!doctype html>
<html lang="en"><head><title>Boiling</title></head>
<body><h1>Boiling</h1><p>Water boils at 100 degrees Celsius at sea level.</p></body></html>
"""
OTHER: Final = b"<!doctype html><html><head><title>Another page</title></head><body>Nothing</body></html>\n"
ROBOTS: Final = b"User-agent: *\nDisallow: /private\n"
PAGES: Final = {
    "/boiling.html": (PAGE, b"text/html"),
    "/another.html": (OTHER, b"text/html"),
    "/robots.txt": (ROBOTS, b"text/plain"),
    "/private/diary.html": (OTHER, b"text/html"),
}
_LONGEST: Final = 16 * 1024


class Web:
    """Two ports of the loopback: one serves pages, one only counts who knocks."""

    def __init__(self) -> None:
        self._asked: list[str] = []
        self._knocks = 0

    async def serve_page(self, stream: trio.SocketStream) -> None:
        """Answer one request."""
        head = b""
        async with stream:
            while b"\r\n\r\n" not in head and len(head) < _LONGEST:
                data = await stream.receive_some()
                if not data:
                    return
                head += data
            path = head.split(b" ", 2)[1].decode("ascii", "replace") if head.count(b" ") > 1 else ""
            self._asked.append(path)
            body, kind = PAGES.get(path, (b"no such page\n", b"text/plain"))
            status = b"200 OK" if path in PAGES else b"404 Not Found"
            await stream.send_all(
                b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
                % (status, kind, len(body), body)
            )

    async def count_knock(self, stream: trio.SocketStream) -> None:
        """Notice that somebody connected; there is nothing to be had."""
        self._knocks += 1
        await stream.aclose()

    async def asked(self, _: dict[str, Any]) -> dict[str, Any]:
        """Which paths were asked for so far, and how often somebody knocked at the other port."""
        await trio.lowlevel.checkpoint()
        return {"paths": list(self._asked), "knocks": self._knocks}

    async def page(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The digest of a page."""
        await trio.lowlevel.checkpoint()
        return {"blake3": blake3_hex(PAGES[arguments["path"]][0])}


async def main(setup: Setup, lines: AsyncIterator[dict[str, Any]]) -> None:
    """Serve pages until the input ends."""
    web = Web()
    pages, door = [(await trio.open_tcp_listeners(0, host="127.0.0.1"))[0] for _ in range(2)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, web.serve_page, [pages])
        nursery.start_soon(trio.serve_listeners, web.count_knock, [door])
        places = [one.socket.getsockname()[1] for one in (pages, door)]
        setup.tell("ready", url=f"http://127.0.0.1:{places[0]}", closed=f"http://127.0.0.1:{places[1]}")
        await serve(lines, {"asked": web.asked, "page": web.page})
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    run(main)
