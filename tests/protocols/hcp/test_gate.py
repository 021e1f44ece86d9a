"""The gate (HCP-1, HCP-2): the table of the specification, on both sides of every bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from web4.protocols.gates import GATES
from web4.protocols.hcp.gate import PRESSED, STRICTNESS, UNCLEAR, Question, Result, gate
from web4.protocols.hcp.scope import checked_scope, covers, standing, wider
from web4.protocols.hcp.social import ALLOWED, SocialState
from web4.protocols.hcp.values import STALE_MS, Facts, Said
from web4.protocols.messages.fields import Presence
from web4.protocols.messages.hcp import Affect, Consent
from web4.trust import TrustState

if TYPE_CHECKING:
    from web4.protocols.hcp.gate import Verdict

NOW = 1_800_000_000_000
WELL = Facts(consent="granted", said_ms=NOW)
TYPES = ("HCP_HELLO", "HCP_STATE_UPDATE", "HCP_INTENT", "HCP_CONTEXT", "HCP_DECISION", "HCP_FEEDBACK")


def asked(*, local: Facts = WELL, remote: Facts = WELL, **other: Any) -> Question:
    fields: dict[str, Any] = {
        "type": "HCP_DECISION",
        "topic": "garden/fence",
        "trust": "trusted",
        "social": "trusted",
        "now_ms": NOW,
    }
    return Question(local=local, remote=remote, **(fields | other))


def each(facts: Facts, **other: Any) -> Verdict:
    """The gate's word where one of the two humans is like this: the same for either."""
    mine, theirs = gate(asked(local=facts, **other)), gate(asked(remote=facts, **other))
    assert mine.result == theirs.result
    assert [one.code for one in mine.reasons] == [one.code for one in theirs.reasons]
    assert {one.whose for one in mine.reasons} <= {"local", "both"}
    assert {one.whose for one in theirs.reasons} <= {"remote", "both"}
    return mine


def being(**said: Any) -> Facts:
    return replace(WELL, said=Said(**said))


def test_hcp_boundaries() -> None:
    """HCP-1: pressure 79/80, clarity 30/31, each affect and presence: the result of the table."""
    assert (PRESSED, UNCLEAR) == (80, 30)
    for pressure, clarity, result in (
        (79, 31, "ALLOW"),
        (80, 31, "SLOW"),
        (79, 30, "SLOW"),
        (80, 30, "DEFER"),
        (100, 0, "DEFER"),
        (0, 100, "ALLOW"),
    ):
        assert each(being(pressure=pressure, clarity=clarity)).result == result
    for affect in get_args(Affect):
        expected = "CHECK_IN" if affect in {"tense", "anxious"} else "ALLOW"
        assert each(being(affect=affect)).result == expected
    for presence in get_args(Presence):
        assert each(being(presence=presence)).result == ("DEFER" if presence == "overloaded" else "ALLOW")
    assert each(replace(WELL, flags=("slow_pacing",))).result == "SLOW"
    assert each(replace(WELL, flags=("avoid_conflict",))).result == "ALLOW"
    for consent, reason in (
        (None, "no_consent"),
        ("revoked", "consent_revoked"),
        ("limited", "out_of_scope"),
    ):
        verdict = each(replace(WELL, consent=consent))
        assert (verdict.result, verdict.code) == ("DENY", reason)


def test_hcp_gate_pressure_of_one_and_confusion_of_another_do_not_add_up() -> None:
    """HCP-1: "pressure and clarity" is about one human; each alone is slow."""
    verdict = gate(asked(local=being(pressure=90), remote=being(clarity=10)))
    assert verdict.result == "SLOW"
    assert set(verdict.slow) == {"local", "remote"}


@pytest.mark.parametrize("type_name", TYPES)
def test_hcp_gate_of_every_type(type_name: str) -> None:
    """HCP-3, HCP-8, HCP-9: what each peer trust, social trust and consent leave of each type, in every combination."""
    left = {"HCP_HELLO", "HCP_STATE_UPDATE", "HCP_FEEDBACK"}
    for trust in get_args(TrustState):
        for social in get_args(SocialState):
            for consent in (None, *get_args(Consent)):
                facts = replace(WELL, consent=consent, scope=("topic:garden",))
                verdict = each(facts, type=type_name, trust=trust, social=social)
                allowed = GATES[type_name][trust] not in {"no", "drop"} and (
                    type_name in left or (consent in {"granted", "limited"} and type_name in ALLOWED[social])
                )
                assert verdict.result == ("ALLOW" if allowed else "DENY")


@pytest.mark.parametrize(
    ("facts", "result"),
    [
        (being(presence="overloaded"), "DEFER"),
        (being(pressure=80, clarity=30), "DEFER"),
        (being(affect="tense"), "CHECK_IN"),
        (being(pressure=80), "SLOW"),
        (being(clarity=30), "SLOW"),
        (replace(WELL, flags=("slow_pacing",)), "SLOW"),
        (replace(WELL, consent="revoked"), "ALLOW"),
        (replace(WELL, consent="limited"), "ALLOW"),
    ],
)
def test_hcp_boundaries_of_what_a_revocation_leaves(facts: Facts, result: Result) -> None:
    """HCP-1, HCP-3: consent closes no feedback, but a human is spared it as all else; how one is may always be said."""
    assert each(facts, type="HCP_FEEDBACK", social="restricted").result == result
    for signal in ("HCP_HELLO", "HCP_STATE_UPDATE"):
        assert each(facts, type=signal, social="restricted").result == "ALLOW"


def test_hcp_limited_scope() -> None:
    """HCP-2: topics inside, below and outside the scope."""
    limited = replace(WELL, consent="limited", scope=("topic:garden/fence", "topic:music"))
    for topic, inside in (
        ("garden/fence", True),
        ("garden/fence/colour", True),
        ("garden/fences", False),
        ("garden", False),
        ("music/jazz/1959", True),
        ("musical", False),
        ("work", False),
        (None, False),
    ):
        assert each(limited, topic=topic).result == ("ALLOW" if inside else "DENY"), topic
    everything = replace(limited, scope=("topic:*",))
    for topic in ("garden", "work", None):
        assert each(everything, topic=topic).result == "ALLOW"


def test_hcp_stale_state() -> None:
    """HCP-2: what is older than 10 minutes makes granted count as limited; exactly that old does not yet."""
    scope = ("topic:music",)
    for age, consent in ((0, "granted"), (STALE_MS, "granted"), (STALE_MS + 1, "limited")):
        facts = Facts(consent="granted", scope=scope, said_ms=NOW - age)
        assert standing(facts, NOW) == consent
        assert each(facts, topic="work").result == ("ALLOW" if consent == "granted" else "DENY")
        assert each(facts, topic="music").result == "ALLOW"
    others: tuple[Consent | None, ...] = (None, "limited", "revoked")
    for other in others:
        assert standing(Facts(consent=other, said_ms=0), NOW) == other


_SAID = st.builds(
    Said,
    presence=st.sampled_from(get_args(Presence)),
    affect=st.sampled_from(get_args(Affect)),
    clarity=st.sampled_from((0, 29, 30, 31, 100)),
    pressure=st.sampled_from((0, 79, 80, 81, 100)),
)
_FACTS = st.builds(
    Facts,
    consent=st.sampled_from((None, *get_args(Consent))),
    scope=st.sampled_from(((), ("topic:a",), ("topic:*",))),
    said=_SAID,
    said_ms=st.sampled_from((NOW, NOW - STALE_MS, NOW - STALE_MS - 1)),
    flags=st.sampled_from(((), ("slow_pacing",), ("avoid_conflict",))),
)
_QUESTIONS = st.builds(
    Question,
    type=st.sampled_from(TYPES[2:5]),
    topic=st.sampled_from(("a", "a/b", "b")),
    trust=st.sampled_from(get_args(TrustState)),
    social=st.sampled_from(get_args(SocialState)),
    local=_FACTS,
    remote=_FACTS,
    now_ms=st.just(NOW),
)


def plainly(question: Question) -> Result:
    """HCP-1 said another way: sentence by sentence."""
    results: set[Result] = {"ALLOW"}
    for one in (question.local, question.remote):
        consent, said = one.consent, one.said
        if consent == "granted" and NOW - one.said_ms > 600_000:
            consent = "limited"
        if consent in {None, "revoked"}:
            results.add("DENY")
        covered = "topic:*" in one.scope or ("topic:a" in one.scope and question.topic in {"a", "a/b"})
        if consent == "limited" and not covered:
            results.add("DENY")
        if said.presence == "overloaded" or (said.pressure >= 80 and said.clarity <= 30):
            results.add("DEFER")
        if said.affect in {"tense", "anxious"}:
            results.add("CHECK_IN")
        if said.pressure >= 80 or said.clarity <= 30 or "slow_pacing" in one.flags:
            results.add("SLOW")
    needed = {"HCP_INTENT": {"probing", "trusted"}, "HCP_CONTEXT": {"probing", "trusted"}}
    if question.trust != "trusted" or question.social not in needed.get(question.type, {"trusted"}):
        results.add("DENY")
    return next(one for one in STRICTNESS if one in results)


@given(_QUESTIONS)
def test_hcp_gate_against_a_plain_reading(question: Question) -> None:
    """HCP-1: the table and a reading of it as sentences agree; the strictest wins, with reasons."""
    verdict = gate(question)
    assert verdict.result == plainly(question)
    assert bool(verdict.reasons) == (verdict.result != "ALLOW")


@given(_QUESTIONS)
def test_hcp_gate_a_yes_takes_back_the_question_only(question: Question) -> None:
    """HCP-5: an answered check-in is no reason any more; whatever else stands against it stands."""
    before, after = gate(question), gate(replace(question, answered=True))
    if before.result in {"DENY", "DEFER", "SLOW", "ALLOW"}:
        assert after.result == before.result
    else:
        assert after.result in {"SLOW", "ALLOW"}


def test_hcp_scope_is_of_one_form() -> None:
    """HCP-2: a scope says topics in the one spelling there is; covering is by whole words."""
    assert checked_scope(("topic:b", "topic:a/b", "topic:b")) == ("topic:a/b", "topic:b")
    for odd in ("a", "topic:", "topic:/a", "topic:a/", "topic:a//b", "topic:a/*", "topic:a b"):
        with pytest.raises(ValueError, match="topic"):
            checked_scope((odd,))
        assert not covers(odd, "zzz")
    with pytest.raises(ValueError, match="at most"):
        checked_scope(tuple(f"topic:{one}" for one in range(65)))


def test_hcp_what_is_wider() -> None:
    """HCP-4: a higher step, or a topic that was not covered."""
    assert wider("limited", (), "revoked", ())
    assert wider("granted", (), "limited", ("topic:*",))
    assert wider("limited", ("topic:a",), "limited", ("topic:a/b",))
    assert wider("limited", ("topic:*",), "limited", ("topic:a",))
    assert not wider("limited", ("topic:a/b",), "limited", ("topic:a",))
    assert not wider("limited", ("topic:a",), "granted", ())
    assert not wider("revoked", ("topic:*",), "limited", ())
    assert not wider("granted", ("topic:*",), "granted", ())
