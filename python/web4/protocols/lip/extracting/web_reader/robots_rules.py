"""What a robots.txt says, by RFC 9309, with crawl-delay beside it (FETCH-7)."""

from __future__ import annotations

import re

from protego import Protego

_AGENT_LINE = re.compile(r"^([ \t]*user-?agent[ \t]*:)[ \t]*([^\s#/]*)[^\n]*$", re.IGNORECASE | re.MULTILINE)


def verdict_of(body: bytes, uri: str, agent: str) -> tuple[bool, float]:
    """Whether an agent may fetch a URI, and how long it should wait between two requests, in seconds."""
    text = body.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")

    def exact(line: re.Match[str]) -> str:
        # The library takes `web` for a beginning of `web4`; the RFC wants the whole product token.
        token = line[2].lower()
        return f"{line[1]} {token if token in {agent, '*'} else 'somebody-else'}"

    rules = Protego.parse(_AGENT_LINE.sub(exact, text))
    delay = rules.crawl_delay(agent)
    rate = rules.request_rate(agent)
    pause = float(delay or 0.0)
    if rate is not None and rate.requests:
        pause = max(pause, rate.seconds / rate.requests)
    return rules.can_fetch(uri, agent), max(pause, 0.0)
