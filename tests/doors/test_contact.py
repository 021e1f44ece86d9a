"""Why there is no session: what lasts, out of records alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from web4.doors.views.contact import session_row
from web4.trust import TrustRecord

AT_REST: Any = cast("Any", SimpleNamespace(node=None))


@pytest.mark.parametrize(
    ("record", "told", "why"),
    [
        (TrustRecord(state="unknown"), True, ["not_vouched", "never_greeted"]),
        (TrustRecord(state="unknown"), False, ["never_greeted"]),
        (TrustRecord(state="probing"), True, ["never_greeted"]),
        (TrustRecord(state="unknown", handshaken=True), True, []),
        (TrustRecord(state="blacklisted", handshaken=True), True, ["blocked"]),
    ],
)
def test_whom_others_brought(record: TrustRecord, told: bool, why: list[str]) -> None:
    """Decision 0029: whom others brought is dialled while somebody vouches, or if it was met; `why` says the same."""
    row = session_row(AT_REST, "5a" * 32, record, ("tcp://192.0.2.7:1",), told=told)
    assert row["why"] == ["not_running", *why]
