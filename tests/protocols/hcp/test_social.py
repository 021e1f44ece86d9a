"""Social trust (HCP-8): every event in every state, against the sentences of the specification."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from web4.protocols.hcp import social
from web4.protocols.hcp.social import ALLOWED, TABLE, Relation, SocialEvent, SocialState

DAY = 86_400_000


def test_hcp_social_table() -> None:
    """HCP-8: every event in every state."""
    says: dict[tuple[str, str], str] = {
        ("hellos", "untrusted"): "probing",
        ("validated", "probing"): "trusted",
        ("misunderstood", "trusted"): "probing",
        ("regranted", "restricted"): "probing",
        **{("revoked", state): "restricted" for state in get_args(SocialState)},
    }
    for event in get_args(SocialEvent):
        for state in get_args(SocialState):
            assert TABLE[event][state] == says.get((event, state), state), (event, state)


def test_hcp_social_states_allow_what_they_say() -> None:
    """HCP-8: what each state allows."""
    left = {"HCP_HELLO", "HCP_STATE_UPDATE", "HCP_FEEDBACK"}
    assert ALLOWED["untrusted"] == ALLOWED["restricted"] == left
    assert ALLOWED["probing"] == left | {"HCP_INTENT", "HCP_CONTEXT"}
    assert ALLOWED["trusted"] == ALLOWED["probing"] | {"HCP_DECISION"}


def rate(relation: Relation, by: str, intent: str = "i", **what: Any) -> Relation:
    fields = {"satisfaction": 70, "corrected": False, "at_ms": 0} | what
    return social.rated(relation, by=by, intent=intent, **fields)  # type: ignore[arg-type]


def probing() -> Relation:
    return social.greeted(social.greeted(Relation(), by="local"), by="remote")


def test_hcp_social_hello_of_both_sides() -> None:
    """HCP-8: one hello, even twice, is not two."""
    once = social.greeted(social.greeted(Relation(), by="remote"), by="remote")
    assert once.state == "untrusted"
    assert social.greeted(once, by="local").state == "probing"


def test_hcp_social_mutual_validation() -> None:
    """HCP-8: both sides, one intent, satisfaction ≥ 70, no corrections; less validates nothing."""
    assert rate(rate(probing(), "local"), "remote").state == "trusted"
    assert rate(rate(probing(), "remote"), "local").state == "trusted"
    assert rate(rate(probing(), "local"), "local").state == "probing"
    assert rate(rate(probing(), "local", "i"), "remote", "j").state == "probing"
    assert rate(rate(probing(), "local"), "remote", satisfaction=69).state == "probing"
    assert rate(rate(probing(), "local"), "remote", corrected=True).state == "probing"
    assert rate(rate(Relation(), "local"), "remote").state == "untrusted"


def test_hcp_social_misunderstanding() -> None:
    """HCP-8: two within 24 h, with corrections or satisfaction < 40, of either side."""
    trusted = rate(rate(probing(), "local"), "remote")
    assert rate(trusted, "remote", satisfaction=39).state == "trusted"
    twice = rate(
        rate(trusted, "remote", satisfaction=39), "local", corrected=True, satisfaction=100, at_ms=DAY
    )
    assert twice.state == "probing"
    late = rate(rate(trusted, "remote", satisfaction=39), "remote", satisfaction=0, at_ms=DAY + 1)
    assert late.state == "trusted"
    assert rate(late, "remote", satisfaction=0, at_ms=DAY + 2).state == "probing"
    assert rate(rate(trusted, "remote", satisfaction=40), "remote", satisfaction=40).state == "trusted"


def test_hcp_social_a_restriction_ends_by_its_causes() -> None:
    """HCP-4, HCP-8: each cause is taken back by its own; what was said before validates nothing afterwards."""
    half = rate(probing(), "local")
    both = social.restricted(social.restricted(half, by="remote"), by="local")
    assert both.state == "restricted"
    granted = social.regranted(both, ("local",))
    assert granted.state == "restricted"
    again = social.regranted(granted, ("act", "local", "remote"))
    assert (again.state, again.restricted_by) == ("probing", ())
    assert rate(again, "remote").state == "probing"
    assert social.regranted(half, ("act", "local", "remote")) == half


@pytest.mark.parametrize("by", ["local", "remote"])
def test_hcp_social_marks_are_bounded(by: str) -> None:
    """LIM-1: feedback on intents without end keeps the newest."""
    relation = probing()
    for number in range(social.MOST_MARKS + 10):
        relation = rate(relation, by, f"intent {number}")
    assert len(relation.marks) == social.MOST_MARKS
    assert relation.marks[-1][0] == f"intent {social.MOST_MARKS + 9}"
