"""Claims as people see them."""

from typing import Annotated, Any, Final

from cyclopts import Parameter

from web4.cli.running import Answer
from web4.cli.text import moment, visible

_WAITS: Final = {"h": "waits for confirmers"}
"""What no reason is given for."""
ClaimWord = Annotated[
    str,
    Parameter(
        name="CLAIM",
        help="Its key, the first digits of that, eight at least, or the msg_id of a proposal.",
    ),
]


def told(data: dict[str, Any]) -> Answer:
    """What became of a claim that something was said of."""
    return Answer(data, line_of(data))


def line_of(one: dict[str, Any]) -> list[str]:
    """A claim on two lines."""
    reason = one["reason"] or _WAITS.get(one["rule"])
    reason = f" ({reason})" if reason else ""
    human = f", by {one['human']['human']}: {one['human']['reason']}" if one["human"] else ""
    return [
        visible(f"{one['key'][:16]}  {one['status']}{reason}, rule {one['rule']}{human}"),
        visible(f"    {one['domain']}: {one['statement']}"),
    ]


def lines_of(data: dict[str, Any]) -> list[str]:
    """A claim in full."""
    lines = line_of(data)
    lines.append(f"    since {moment(data['since_ms'])}, key {data['key']}")
    if data["triple"]:
        triple = data["triple"]
        lines.append(visible(f"    triple {triple['subject']} | {triple['predicate']} | {triple['object']}"))
    for one in data["proposals"]:
        sources = f", sources {' '.join(one['sources'])}" if one["sources"] else ""
        complete = "" if one["complete"] else ", trace incomplete"
        lines.append(visible(f"    proposed {moment(one['at_ms'])} by {one['peer'][:16]}{sources}{complete}"))
    for one in data["votes"]:
        counted = ", counted" if one["peer"] in data["counted"] else ""
        reason = f", {one['reason']}" if one["reason"] else ""
        lines.append(
            visible(f"    {one['kind']:<9} {moment(one['at_ms'])} by {one['peer'][:16]}{reason}{counted}")
        )
    for one in data["events"]:
        lines.append(visible(f"    {moment(one['at_ms'])}  {one['type']}{_moved(one['event'])}"))
    return lines


def _moved(event: Any) -> str:
    if isinstance(event, dict) and "was" in event and "status" in event:
        return f"  {event['was']} → {event['status']} {event.get('reason', '')}".rstrip()
    return "" if event is not None else "  erased"
