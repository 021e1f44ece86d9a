"""Bob reads the web for alice: a page that he may, one that its site keeps to itself, one that is nobody's business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from web4.demo.checks import CheckFailedError

if TYPE_CHECKING:
    from web4.demo.stage import Stage

PAGE = "/boiling.html"
PRIVATE = "/private/diary.html"


class Reading:
    """What bob fetches, and what he does not."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def lip_fetch(self) -> None:
        """A page of the local web server, which bob's configuration allows; alice gets it with its provenance."""
        stage = self._stage
        stage.timeline.note("alice asks bob to read a page; his configuration allows this server (FETCH-11)")
        path = "/another.html" if stage.sabotage == "lip_fetch" else PAGE
        answer = await self._read(stage.urls["web"] + path)
        if answer["status"] != "done":
            raise CheckFailedError(f"the page could not be read: {answer['reason']}")
        concluded = await stage.event("bob", "fetch_concluded", outcome="ok", msg_id=answer["msg_id"])
        served = await stage.ask("web", "page", path=PAGE)
        if concluded["payload"]["body_blake3"] != served["blake3"]:
            raise CheckFailedError("what bob read is not what the server served")
        if not concluded["payload"]["exceptions"]:
            raise CheckFailedError("the use of the exception was not told")
        await stage.event("alice", "claim_pending", "claim_vote", peer="bob", protocol="lip")

    async def fetch_refused(self) -> None:
        """A page that robots.txt keeps, and a private address: refused, and nobody was asked for either."""
        stage = self._stage
        stage.timeline.note("alice asks for a page that robots.txt keeps, and for one at a private address")
        private = PAGE if stage.sabotage == "fetch_refused" else PRIVATE
        for uri, code in (
            (stage.urls["web"] + private, "robots_disallowed"),
            (f"{stage.closed}/", "address_not_public"),
        ):
            answer = await self._read(uri)
            if (answer["status"], answer["reason"]) != ("refused", code):
                raise CheckFailedError(f"bob's answer was {answer['status']}: {answer['reason'] or 'read'}")
            await stage.event("bob", "fetch_concluded", outcome="refused", code=code)
        asked = await stage.ask("web", "asked")
        if PRIVATE in asked["paths"] or asked["knocks"]:
            raise CheckFailedError(f"somebody was asked all the same: {asked}")

    async def _read(self, uri: str) -> dict[str, Any]:
        return await self._stage.ask("alice", "read", peer=self._stage.fingerprints["bob"], uri=uri)
