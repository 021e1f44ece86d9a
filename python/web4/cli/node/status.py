"""`web4 status`."""

from typing import Annotated, Any, Final

from cyclopts import Parameter

from web4.cli import exits
from web4.cli.node.reaching import ask
from web4.cli.options import COMMON, Common
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import facts, paint, visible

PATIENCE_SECONDS: Final = 15.0
"""A node that takes longer to say how it is, is not well; and who watches it wants to know."""


def status(
    *,
    check: Annotated[
        bool, Parameter(negative=(), help="Exit code 3 if the node does not run, 8 if there are warnings.")
    ] = False,
    common: Common = COMMON,
) -> int:
    """Say how the node is: who, since when, its journal, peers by trust, questions that wait, warnings.

    Of a node that does not run it says what its journal has. Exit code 4: it runs, and does not answer.

    ```
    web4 status
    web4 status --check --json
    ```
    """

    async def body(_: Output) -> Answer:
        data = await ask(common, "node_status", seconds=PATIENCE_SECONDS)
        code = exits.DONE
        if check:
            code = exits.DEGRADED if data["warnings"] else exits.DONE
            code = code if data["running"] else exits.ENVIRONMENT
        return Answer(data, _lines(data), code)

    return perform(common, body)


def _lines(data: dict[str, Any]) -> list[str]:
    running, journal = data["running"], data["journal"]
    lanes = ", ".join(f"{kind} {one['lanes']}" for kind, one in sorted(journal["lanes"].items()))
    profile = ", ".join(filter(None, (journal["backend"], journal["profile"]))) or "none yet"
    state = f", {journal['state']}" if journal["state"] else ""
    peers = ", ".join(f"{count} {state}" for state, count in data["peers"].items())
    lines = facts(
        [
            ("node", f"{data['name']}  {data['fingerprint']}"),
            ("runs", f"for {_duration(data['uptime_ms'])}" if running else "no"),
            ("version", data["version"]),
            ("directory", data["directory"]),
            ("listens", " ".join(data["addresses"]) or "nowhere" if running else None),
            ("journal", f"{profile}{state}; {journal['digest'][:16]}"),
            ("lanes", lanes or "none"),
            ("peers", peers or "none"),
            ("sessions", len(data["sessions"]) if running else None),
            ("messages", f"{data['waiting']} wait to be handled" if running else None),
            ("questions", f"{data['check_ins']} wait for an answer" if data["check_ins"] else None),
            ("consents", f"{data['consents_ending']} end soon" if data["consents_ending"] else None),
        ]
    )
    return lines + [f"{paint('warning', 'yellow')}: {visible(one)}" for one in data["warnings"]]


def _duration(elapsed_ms: int) -> str:
    seconds = elapsed_ms // 1000
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
