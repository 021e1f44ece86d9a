"""Code of others in a process of its own: called, killed when it hangs, served again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from web4.demo.checks import CheckFailedError

if TYPE_CHECKING:
    from web4.demo.stage import Stage

NEWS = "# News\n\nBob is trusted.\n\n## Warnings\n\nMallory is not.\n"
OUTLINE = {"title": "News", "headings": ["News", "Warnings"], "words": 10}
CHILDREN = 3
"""Processes that a tool starts before it hangs."""


class Extensions:
    """What alice's person enables, and what alice calls of it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._hung: set[int] = set()

    async def extension_called(self) -> None:
        """A tool of an extension that a person has enabled works in a process of its own."""
        stage = self._stage
        stage.timeline.note("alice's person enables an extension; alice calls it")
        await stage.ask("alice", "enable", human="alice's person")
        called = await self._outline("# No news" if stage.sabotage == "extension_called" else NEWS)
        self._expect(called, "ok", None)
        if called["value"] != OUTLINE:
            raise CheckFailedError("the extension made something else of it")
        if called["worker"] in {child.pid for child in stage.children.values()}:
            raise CheckFailedError("it did not run in a process of its own")
        await stage.event("alice", "answer", about="extension_progress")

    async def hang_killed(self) -> None:
        """A tool that starts processes in other sessions and spins: killed at its deadline, whole."""
        stage = self._stage
        stage.timeline.note("alice calls a tool of it that hangs, and has processes in sessions of their own")
        hung = await self._call("hang", children=0 if stage.sabotage == "hang_killed" else CHILDREN)
        self._expect(hung, "timeout", "extension_timeout")
        if hung["elapsed_ms"] < hung["timeout_ms"]:
            raise CheckFailedError(f"it was killed after {hung['elapsed_ms']} ms, before its deadline")
        if hung.get("processes", 0) < 1 + CHILDREN or hung["survivors"]:
            raise CheckFailedError(f"{hung.get('survivors')} of {hung.get('processes')} processes are left")
        stage.timeline.note(
            f"killed {hung['elapsed_ms'] - hung['timeout_ms']:.1f} ms after its deadline: "
            f"{hung['processes']} processes, {hung['survivors']} survivors"
        )
        self._hung = {hung["worker"]}

    async def served_after_kill(self) -> None:
        """The next call is served as if nothing had happened, by another worker."""
        sabotage = self._stage.sabotage == "served_after_kill"
        again = await (self._call("hang") if sabotage else self._outline(NEWS))
        self._expect(again, "ok", None)
        if again["value"] != OUTLINE or again["worker"] in self._hung:
            raise CheckFailedError("it was not served as before, by another worker")

    async def _outline(self, markdown: str) -> dict[str, Any]:
        return await self._call("outline", markdown=markdown)

    async def _call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return await self._stage.ask("alice", "call", tool=tool, arguments=arguments, human="alice's person")

    def _expect(self, called: dict[str, Any], ended: str, code: str | None) -> None:
        if (called.get("ended"), called.get("failure")) != (ended, code):
            raise CheckFailedError(f"the call came to {called.get('ended')}: {called.get('failure')}")
