"""What becomes of work that a restart found unfinished: worked out from the journal alone (JRN-13, JRN-14)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from web4.journal.event_types import EventType

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from web4.journal.record import OpenWork

RecoveryClass = Literal["recoverable", "failed"]
Reason = Literal[
    "lane_halted",
    "payload_unavailable",
    "not_started",
    "effect_idempotent",
    "effect_not_idempotent",
    "requester_gone",
]
MOST_ITEMS: Final = 100


class RecoveryClassified(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Unfinished work was classified after a restart (JRN-13c).

    Args:
        boot: Number of the boot that did it.
        subject: Id of the command or effect.
        kind: Which of the two.
        class_: `recoverable` or `failed`; written as `class`.
        reason: Of JRN-13's table.
        lane: Whose work it is, where that is not the lane of the record: a halted lane's is recorded in `server`.
    """

    boot: int
    subject: str
    kind: Literal["command", "effect"]
    class_: RecoveryClass = msgspec.field(name="class")
    reason: Reason
    lane: str | None = None


class EffectLate(msgspec.Struct, frozen=True, kw_only=True):
    """An answer came to an effect that had been concluded without it (JRN-13e). It alters no outcome.

    Args:
        effect_id: Which effect.
        answer: What kind of answer: the name of the command that brought it.
    """

    effect_id: str
    answer: str


RECOVERY_EVENTS: Final = (
    EventType(
        name="recovery.classified",
        struct=RecoveryClassified,
        classes=dict.fromkeys(("boot", "subject", "kind", "class", "reason", "lane"), "structural"),
    ),
    EventType(
        name="effect.late",
        struct=EffectLate,
        classes=dict.fromkeys(("effect_id", "answer"), "structural"),
        refs={"effect": "effect_id"},
    ),
)


class Verdict(NamedTuple):
    """What becomes of one command, or of one effect that belongs to no unfinished command.

    Args:
        work: The command or the effect.
        class_: `recoverable` or `failed`.
        reason: The row of JRN-13's table that decided.
        requests: A command's open requests; the effect itself.
    """

    work: OpenWork
    class_: RecoveryClass
    reason: Reason
    requests: tuple[OpenWork, ...]


def classify(
    work: Sequence[OpenWork],
    *,
    halted: bool = False,
    erased: Collection[int] = (),
    gone: Collection[str] = (),
) -> list[Verdict]:
    """Classify a lane's unfinished work: the first row of JRN-13's table that fits decides.

    A pure function of the journal: the same bytes give the same verdicts at each boot (JRN-13d). A command with an
    open request counts as started, whether or not its lane records starts.

    Args:
        work: All of one lane's, in order of its numbers.
        halted: Whether the lane is halted.
        erased: Numbers of those records in `work` whose payload was erased.
        gone: Effects of no unfinished command whose asker no longer exists (JRN-13a).

    Returns:
        A verdict for each command and for each effect of no unfinished command, in the order of `work`.
    """
    commands = {one.subject for one in work if one.kind == "command"}
    requests: dict[str, list[OpenWork]] = {}
    for one in work:
        if one.kind == "effect" and one.command in commands and one.command is not None:
            requests.setdefault(one.command, []).append(one)
    verdicts = []
    for one in work:
        if one.kind == "command":
            of = tuple(requests.get(one.subject, ()))
            needed = (one, *of)
        elif one.command in commands:
            continue
        else:
            needed = of = (one,)
        class_, reason = _row(
            one,
            of,
            halted=halted,
            erased=any(part.seq in erased for part in needed),
            gone=one.subject in gone,
        )
        verdicts.append(Verdict(one, class_, reason, of))
    return verdicts


def _row(
    work: OpenWork, requests: Sequence[OpenWork], *, halted: bool, erased: bool, gone: bool
) -> tuple[RecoveryClass, Reason]:
    if halted:
        return "failed", "lane_halted"
    if erased:
        return "failed", "payload_unavailable"
    if work.kind == "effect" and gone:
        return "failed", "requester_gone"
    if work.kind == "command" and not work.started and not requests:
        return "recoverable", "not_started"
    if requests and all(one.idempotent for one in requests):
        return "recoverable", "effect_idempotent"
    return "failed", "effect_not_idempotent"


class RecoveryItem(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of unfinished work, as the summary lists it.

    Args:
        subject: Id of the command or effect.
        type: Of the event that began or requested it; empty if its record cannot be read.
        lane: Where it is.
        phase: The last that the journal shows: `begin`, `start` or `request`.
        class_: See `Verdict`; written as `class`.
        reason: See `Verdict`.
    """

    subject: str
    type: str
    lane: str
    phase: Literal["begin", "start", "request"]
    class_: RecoveryClass = msgspec.field(name="class")
    reason: Reason


class RecoverySummary(msgspec.Struct, kw_only=True):
    """What a boot found and did (JRN-14). Counts are exact; lists hold up to 100 and say when they hold not all.

    Args:
        profile: What an append outlives: `strict`, `relaxed` or `none`.
        state: `pending`, `ready`, `failed` or `timed_out`.
        error: What went wrong, if it did.
        schema: Of the store, where the backend has one.
        records_scanned: Records that were applied to rebuild lanes with unfinished work.
        malformed_records: Records that could not be read.
        unsupported_versions: Records of types or versions that are not known here.
        torn_batches: Unfinished commits that were discarded at open.
        lanes_halted: Lanes that take nothing.
        outcomes_restored: Terminal outcomes that the rebuilt lanes hold.
        outcomes: Their ids.
        outcomes_truncated: Whether there are more than are listed.
        unfinished: Pieces of unfinished work by class.
        items: What they are.
        items_truncated: Whether there are more than are listed.
    """

    profile: str
    state: Literal["pending", "ready", "failed", "timed_out"] = "pending"
    error: str | None = None
    schema: int | None = None
    records_scanned: int = 0
    malformed_records: int = 0
    unsupported_versions: int = 0
    torn_batches: int = 0
    lanes_halted: int = 0
    outcomes_restored: int = 0
    outcomes: list[str] = msgspec.field(default_factory=list)
    outcomes_truncated: bool = False
    unfinished: dict[str, int] = msgspec.field(default_factory=lambda: {"recoverable": 0, "failed": 0})
    items: list[RecoveryItem] = msgspec.field(default_factory=list)
    items_truncated: bool = False

    def add(self, verdict: Verdict, type_: str) -> None:
        """Count a verdict; `type_` is the type of the event that began or requested the work."""
        self.unfinished[verdict.class_] += 1
        if len(self.items) >= MOST_ITEMS:
            self.items_truncated = True
            return
        work = verdict.work
        self.items.append(
            RecoveryItem(
                subject=work.subject,
                type=type_,
                lane=str(work.lane),
                phase="request" if work.kind == "effect" else "start" if work.started else "begin",
                class_=verdict.class_,
                reason=verdict.reason,
            )
        )

    def merge(self, lane: RecoverySummary) -> None:
        """Add what was found in one lane. In order of the lanes' names, so that equal boots say the same."""
        for name in ("records_scanned", "malformed_records", "unsupported_versions", "outcomes_restored"):
            setattr(self, name, getattr(self, name) + getattr(lane, name))
        for class_, number in lane.unfinished.items():
            self.unfinished[class_] += number
        self.items_truncated |= lane.items_truncated or len(self.items) + len(lane.items) > MOST_ITEMS
        self.items = [*self.items, *lane.items][:MOST_ITEMS]
        listed = [*self.outcomes, *lane.outcomes]
        self.outcomes_truncated |= lane.outcomes_truncated or len(listed) > MOST_ITEMS
        self.outcomes = listed[:MOST_ITEMS]

    def restore(self, outcomes: Iterable[str]) -> None:
        """Count terminal outcomes that a rebuilt lane holds."""
        for one in outcomes:
            self.outcomes_restored += 1
            if len(self.outcomes) < MOST_ITEMS:
                self.outcomes.append(one)
            else:
                self.outcomes_truncated = True
