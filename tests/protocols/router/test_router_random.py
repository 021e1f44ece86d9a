"""ROUTE-4, ROUTE-5: whatever handlers do, each message is settled once, in its peer's order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.protocols.router.hosts import ADA, BOB, EVE, EXAMPLES, Host, delivery
from web4.protocols.messages.cip import Intent
from web4.protocols.router import HandlerResult, Output, ProtocolRouter, RouterOptions

if TYPE_CHECKING:
    from web4.protocols.cip import Delivery

ACTS = ["ok", "slow", "fails", "hangs", "stubborn", "defers", "rests", "answers"]
STATUS = {"fails": "failed", "hangs": "failed", "stubborn": "failed", "defers": "deferred"}
messages = st.lists(
    st.tuples(st.sampled_from([ADA, BOB, EVE]), st.sampled_from(ACTS), st.booleans(), st.floats(0, 2)),
    max_size=20,
)


async def act(one: Delivery) -> HandlerResult | None:
    payload = one.message.payload
    assert isinstance(payload, Intent)
    match payload.topic:
        case "slow":
            await trio.sleep(1)
        case "fails":
            raise ValueError
        case "hangs":
            await trio.sleep_forever()
        case "stubborn":
            with trio.CancelScope(shield=True):
                await trio.sleep(30)
        case "defers":
            return HandlerResult("deferred")
        case "rests":
            return HandlerResult(rest=_rest)
        case "answers":
            return HandlerResult(outputs=(Output(one.peer, EXAMPLES["REPLY"]),))
    return None


async def _rest() -> None:
    await trio.sleep(7)


async def _play(sent: list[Any]) -> None:
    host = Host().trusts(ADA, BOB, EVE)
    router = ProtocolRouter(host, emit=host.emit, options=RouterOptions(handler_ms=2_000, peers=2))
    router.register("cip", "INTENT", act)
    order: dict[str, tuple[str, str]] = {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(router.run)
        for peer, what, again, pause in sent:
            asked = Intent(goal="ask", topic=what, priority="normal", context={})
            one = delivery(asked, peer=peer)
            order[one.msg_id] = (peer, what)
            host.inbox.put(one)
            if again:
                host.inbox.put(one)
            await trio.sleep(pause)
        with trio.fail_after(1_000):
            await host.until_settled(len(order))
        await trio.sleep(200)
        nursery.cancel_scope.cancel()
    settled = dict(host.settlements)
    assert len(settled) == len(host.settlements) == len(order)
    assert settled == {msg_id: STATUS.get(what, "handled") for msg_id, (_, what) in order.items()}
    for peer in (ADA, BOB, EVE):
        in_turn = [msg_id for msg_id, (of, what) in order.items() if of == peer and what != "rests"]
        assert [msg_id for msg_id, _ in host.settlements if msg_id in set(in_turn)] == in_turn
    assert len(host.sent) == sum(what == "answers" for _, what in order.values())
    assert router.waiting == 0
    told = [
        fields["msg_id"]
        for kind, fields in host.events
        if kind == "envelope_routed" and fields["status"] != "duplicate"
    ]
    assert sorted(told) == sorted(order)
    for peer in (ADA, BOB, EVE):
        assert all(host.inbox.hold(delivery(peer=peer)) for _ in range(256)), "every place was given back"


@settings(max_examples=40, deadline=None)
@given(messages)
def test_route_random(sent: list[Any]) -> None:
    trio.run(_play, sent, clock=MockClock(autojump_threshold=0))
