"""What has to hold after a campaign, and the numbers that say so."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING, Any, Final

from tests.chaos.hostile.campaign import KINDS, middle

if TYPE_CHECKING:
    from tests.chaos.hostile.campaign import Findings

MIB: Final = 1 << 20
HALF: Final = 0.5
"""Of its rate honest traffic keeps at least this."""
MEMORY: Final = 96 * MIB
"""By how much an honest process may have grown: its ring of events, its ledger's bounds, its replay windows."""
JOURNAL: Final = 64 * MIB
"""By how much a journal may have grown beyond `JOURNAL_EACH` for each message sent by the attacker."""
JOURNAL_EACH: Final = 4_096


def judge(found: Findings) -> list[str]:
    """Everything that is wrong; nothing is right."""
    return [*found.wrong, *_trust(found), *_claims(found), *_traffic(found), *_held(found)]


def _trust(found: Findings) -> list[str]:
    before, after = found.trust
    wrong = []
    for name, seen in after.items():
        for peer, record in seen["trust"].items():
            was = dict(before[name]["trust"][peer])
            now = dict(record)
            was.pop("verified")
            now.pop("verified")
            if was != now:
                wrong.append(f"{name}'s trust in an honest node changed: {was} to {now}")
    return wrong


def _claims(found: Findings) -> list[str]:
    after = found.trust[-1]
    wrong = [
        f"{name}: claim {key} is {how}" for name, one in after.items() for key, how in one["odd"].items()
    ]
    if len({one["digest"] for one in after.values()}) > 1:
        wrong.append(f"ledgers differ: { {name: one['claims'] for name, one in after.items()} }")
    return wrong


def _traffic(found: Findings) -> list[str]:
    wrong = []
    attacked = found.attacked()
    for kind in KINDS:
        done = sum(one.done.get(kind, 0) for one, _ in attacked)
        due = sum(one.seconds * mean(near.rate(kind) for near in beside) for one, beside in attacked)
        if not due or done < HALF * due:
            wrong.append(f"{kind}: {done} under attack, {due:.0f} in as much time without")
    kept = middle([one.rate() / mean(near.rate() for near in beside) for one, beside in attacked])
    if kept < HALF:
        wrong.append(f"of the rate without an attack {kept:.2f} is kept under one")
    quiet = found.rates(quiet=True)
    if middle(quiet[-4:]) < HALF * HALF * middle(quiet[:4]):
        wrong.append(
            f"{middle(quiet[-4:]):.1f}/s at the end, {middle(quiet[:4]):.1f}/s before the first attack"
        )
    for name, one in found.last.items():
        if one["failures"]:
            wrong.append(f"{name}: {one['failures']} exchanges failed, the last {one['failed']}")
    return wrong


def _held(found: Findings) -> list[str]:
    wrong = []
    sent = sum(one.sent for one in found.windows)
    for name, now in found.last.items():
        was = found.first[name]
        if now["rss"] - was["rss"] > MEMORY:
            wrong.append(f"{name} grew from {was['rss'] / MIB:.0f} to {now['rss'] / MIB:.0f} MiB")
        if now["journal"] - was["journal"] > JOURNAL + JOURNAL_EACH * sent:
            wrong.append(f"{name}'s journal grew to {now['journal'] / MIB:.0f} MiB")
        if now["descriptors"] > was["descriptors"] + 8:
            wrong.append(f"{name} holds {now['descriptors']} descriptors, before {was['descriptors']}")
    return wrong


def summary(found: Findings) -> dict[str, Any]:
    """The numbers."""
    by_attack: dict[str, list[float]] = {}
    for one in found.windows:
        by_attack.setdefault(one.attack or "quiet", []).append(one.rate())
    quiet = middle(by_attack["quiet"])
    return {
        "quiet": round(quiet),
        "attacked": round(middle(found.rates(quiet=False))),
        "of_quiet": {name: round(middle(rates) / quiet, 2) for name, rates in by_attack.items()},
        "memory_mib": {
            name: [round(found.first[name]["rss"] / MIB), round(one["rss"] / MIB)]
            for name, one in found.last.items()
        },
        "journal_mib": {
            name: [round(found.first[name]["journal"] / MIB, 1), round(one["journal"] / MIB, 1)]
            for name, one in found.last.items()
        },
        "sent": sum(one.sent for one in found.windows),
    }
