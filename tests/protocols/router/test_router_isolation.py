"""ROUTE-5: what a handler does wrong costs its own message; peers, order and others go on."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from tests.protocols.cip.examples import PAYLOADS
from tests.protocols.router.hosts import ADA, BOB, EVE, Host, delivery
from web4.protocols.errors import NotConnectedError
from web4.protocols.router import HandlerResult, Output, ProtocolRouter, RouterOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.protocols.cip import Delivery


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


class Exotic(BaseException):
    """What no `except Exception` stops."""


async def nested(_: Delivery) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        raise SystemExit(3)


async def raises_exit(_: Delivery) -> None:
    sys.exit(3)


async def raises_exotic(_: Delivery) -> None:
    raise Exotic


async def raises(_: Delivery) -> None:
    raise RuntimeError("a secret of the peer")


async def hangs(_: Delivery) -> None:
    await trio.sleep_forever()


async def no_result(_: Delivery) -> Any:
    return "handled"


@pytest.mark.parametrize(
    ("handler", "code"),
    [
        (raises, "handler_failed"),
        (raises_exit, "handler_failed"),
        (raises_exotic, "handler_failed"),
        (nested, "handler_failed"),
        (no_result, "handler_failed"),
        (hangs, "handler_timeout"),
    ],
)
async def test_route_isolation(
    handler: Callable[[Delivery], Awaitable[Any]], code: str, clock: MockClock
) -> None:
    """One handler fails on a message; the next handler, the next message and other peers are served."""
    host = Host().trusts(ADA, BOB)
    router = ProtocolRouter(host, emit=host.emit, options=RouterOptions(handler_ms=5_000))
    seen: list[tuple[str, str]] = []

    async def second(one: Delivery) -> None:
        seen.append((one.peer[0], one.message.type))

    router.register("cip", "INTENT", handler)
    router.register("cip", "INTENT", second)
    router.register("cip", "REPLY", second)
    bad = delivery(peer=ADA)
    for one in (bad, delivery(PAYLOADS["REPLY"][0], peer=ADA), delivery(PAYLOADS["REPLY"][0], peer=BOB)):
        host.inbox.put(one)
    await drained(router, host, 3)
    assert sorted(seen) == [("a", "INTENT"), ("a", "REPLY"), ("b", "REPLY")]
    assert (bad.msg_id, "failed") in host.settlements
    (letter,) = router.dead_letters
    assert (letter.delivery, letter.code) == (bad, code)
    errors = [fields for kind, fields in host.events if kind == "error"]
    assert [(one["code"], one["where"]) for one in errors] == [(code, "handler")]
    assert "secret" not in repr(host.events)


async def drained(router: ProtocolRouter, host: Host, count: int) -> None:
    """Run the router until so many messages are settled."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(router.run)
        await host.until_settled(count)
        nursery.cancel_scope.cancel()


async def test_route_a_failing_guard_is_a_no(clock: MockClock) -> None:
    """Where consent decides, and wherever a handler says so, nobody behind a gate that failed is asked."""
    host = Host().trusts(ADA)
    router = ProtocolRouter(host, emit=host.emit)
    asked: list[str] = []

    async def behind(_: Delivery) -> None:
        asked.append("behind")

    router.register("cip", "INTENT", raises, guard=True)
    router.register("cip", "INTENT", behind)
    assert (await router.route(delivery())).status == "failed"
    assert not asked
    for name in ("HCP_INTENT", "HCP_CONTEXT", "HCP_DECISION", "HCP_FEEDBACK"):
        router.register("hcp", name, behind)
        assert router._handlers.of(name)[0].guard


async def test_route_retries_idempotent(clock: MockClock) -> None:
    """An idempotent handler is asked 3 times more; another is not."""
    for idempotent, times in ((True, 4), (False, 1)):
        host = Host().trusts(ADA)
        router = ProtocolRouter(host, emit=host.emit)
        asked: list[float] = []

        async def fails(_: Delivery, asked: list[float] = asked) -> None:
            asked.append(trio.current_time())
            raise OSError

        router.register("cip", "INTENT", fails, idempotent=idempotent)
        result = await router.route(delivery())
        assert (result.status, len(asked)) == ("failed", times)
        pauses = [round(b - a, 1) for a, b in pairwise(asked)]
        assert pauses == [0.1, 0.2, 0.4][: times - 1]
        assert len(router.dead_letters) == 1


async def test_route_retry_that_succeeds_is_handled(clock: MockClock) -> None:
    host = Host().trusts(ADA)
    router = ProtocolRouter(host, emit=host.emit)
    attempts: list[int] = []

    async def flaky(_: Delivery) -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError

    router.register("cip", "INTENT", flaky, idempotent=True)
    assert (await router.route(delivery())).status == "handled"
    assert not router.dead_letters


async def test_route_order_of_a_peer_and_peers_at_once(clock: MockClock) -> None:
    """Messages of one peer are handled in order, one after another; a slow peer delays nobody."""
    host = Host().trusts(ADA, BOB, EVE)
    router = ProtocolRouter(host, emit=host.emit)
    log: list[tuple[str, int]] = []

    async def slow(one: Delivery) -> None:
        if one.peer == ADA:
            await trio.sleep(1)
        log.append((one.peer[0], one.size))

    router.register("cip", "INTENT", slow)
    sent = [delivery(peer=peer) for _ in range(5) for peer in (ADA, BOB, EVE)]
    for one in sent:
        host.inbox.put(one)
    await drained(router, host, len(sent))
    by_peer = [name for name, _ in log]
    assert by_peer[:10].count("a") == 0, "others did not wait"
    handled = [msg_id for msg_id, _ in host.settlements]
    for peer in (ADA, BOB, EVE):
        wanted = [one.msg_id for one in sent if one.peer == peer]
        assert [one for one in handled if one in wanted] == wanted


async def test_route_a_handler_that_will_not_yield_is_given_up(clock: MockClock) -> None:
    """A handler that shields itself from its cancellation holds up its own message only."""
    host = Host().trusts(ADA)
    router = ProtocolRouter(host, emit=host.emit, options=RouterOptions(handler_ms=1_000))
    done: list[str] = []

    async def stubborn(one: Delivery) -> HandlerResult:
        if not done:
            done.append("stuck")
            with trio.CancelScope(shield=True):
                await trio.sleep(60)
            done.append("woke")
            return HandlerResult(outputs=(Output(ADA, PAYLOADS["REPLY"][0]),))
        done.append("next")
        return HandlerResult()

    router.register("cip", "INTENT", stubborn)
    stuck, after = delivery(), delivery()
    host.inbox.put(stuck)
    host.inbox.put(after)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(router.run)
        await trio.sleep(30)
        assert done == ["stuck", "next"]
        assert host.settlements == [(stuck.msg_id, "failed"), (after.msg_id, "handled")]
        await trio.sleep(60)
        assert done == ["stuck", "next", "woke"]
        nursery.cancel_scope.cancel()
    assert not host.sent, "nobody listens to what it gives so late"
    assert len(host.settlements) == 2
    assert host.inbox.room(ADA)
    assert "handler_abandoned" in [fields.get("code") for _, fields in host.events]


async def test_route_the_place_in_the_inbox_is_held_while_a_message_waits(clock: MockClock) -> None:
    """LIM-1: a peer whose handler hangs is refused at the inbox once its places are taken; others are not."""
    host = Host().trusts(ADA, BOB)
    router = ProtocolRouter(host, emit=host.emit, options=RouterOptions(handler_ms=1_000_000))
    router.register("cip", "INTENT", hangs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(router.run)
        for _ in range(256):
            assert host.inbox.put(delivery(peer=ADA))
        await trio.testing.wait_all_tasks_blocked()
        assert not host.inbox.put(delivery(peer=ADA))
        assert host.inbox.put(delivery(peer=BOB))
        nursery.cancel_scope.cancel()
    assert not host.settlements, "what was cancelled comes again after a restart"


async def test_route_the_rest_goes_on_while_the_next_messages_are_handled(clock: MockClock) -> None:
    """A message is settled at the end of its rest, with what that gives."""
    host = Host().trusts(ADA)
    router = ProtocolRouter(host, emit=host.emit)
    order: list[str] = []

    async def begins(_: Delivery) -> HandlerResult:
        async def rest() -> HandlerResult:
            await trio.sleep(5)
            order.append("rest")
            return HandlerResult(outputs=(Output(ADA, PAYLOADS["REPLY"][1]),))

        return HandlerResult(rest=rest)

    async def quick(_: Delivery) -> None:
        order.append("quick")

    router.register("cip", "INTENT", begins)
    router.register("cip", "REPLY", quick)
    host.inbox.put(delivery())
    host.inbox.put(delivery(PAYLOADS["REPLY"][0]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(router.run)
        await trio.sleep(1)
        assert [status for _, status in host.settlements] == ["handled"]
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert order == ["quick", "rest"]
    assert len(host.settlements) == 2
    assert len(host.sent) == 1


async def test_route_outputs_that_cannot_be_sent_make_a_dead_letter(clock: MockClock) -> None:
    host = Host(refuses=NotConnectedError("gone", peer=BOB)).trusts(ADA)
    router = ProtocolRouter(host, emit=host.emit)

    async def answers(_: Delivery) -> HandlerResult:
        return HandlerResult(outputs=(Output(BOB, PAYLOADS["REPLY"][0]),))

    router.register("cip", "INTENT", answers)
    result = await router.route(delivery())
    assert (result.status, result.error and result.error.code) == ("failed", "not_connected")
    assert [one.handler for one in router.dead_letters] == ["output"]


async def test_route_a_journal_that_is_down_leaves_the_message_open(clock: MockClock) -> None:
    """Nothing is settled, and the same message may come again."""
    host = Host(journal_down=True).trusts(ADA)
    router = ProtocolRouter(host, emit=host.emit)
    asked: list[int] = []

    async def handler(_: Delivery) -> None:
        asked.append(1)

    router.register("cip", "INTENT", handler, idempotent=True)
    one = delivery()
    assert (await router.route(one)).status == "failed"
    host.journal_down = False
    assert (await router.route(one)).status == "handled"
    assert len(asked) == 2
    assert not router.dead_letters


async def test_route_dead_letters_are_bounded_and_say_so(clock: MockClock) -> None:
    host = Host().trusts(ADA)
    router = ProtocolRouter(host, emit=host.emit, options=RouterOptions(dead_letters=2))
    router.register("cip", "INTENT", raises)
    sent = [delivery() for _ in range(3)]
    for one in sent:
        await router.route(one)
    assert [letter.delivery for letter in router.dead_letters] == sent[1:]
    forgotten = [fields for kind, fields in host.events if fields.get("code") == "forgotten"]
    assert [one["msg_id"] for one in forgotten] == [sent[0].msg_id]
    assert router.dead_letters.take(ADA, sent[1].msg_id) is not None
    assert len(router.dead_letters) == 1


async def test_route_each_message_has_its_own_limit(clock: MockClock) -> None:
    """ROUTE-5: handlers of one peer share a scope, and each is cancelled when its own time is over, not before."""
    host = Host().trusts(ADA)
    router = ProtocolRouter(host, emit=host.emit)
    ended: list[tuple[float, str]] = []

    def sleeps(seconds: float) -> Callable[[Delivery], Awaitable[None]]:
        async def handler(_: Delivery) -> None:
            began, how = trio.current_time(), "cancelled"
            try:
                await trio.sleep(seconds)
                how = "done"
            finally:
                ended.append((round(trio.current_time() - began, 6), how))

        return handler

    router.register("cip", "INTENT", sleeps(4.9), limit_ms=5_000)
    router.register("cip", "REPLY", sleeps(60), limit_ms=50)
    router.register("cip", "REPLY", sleeps(0.03), limit_ms=50)
    sent = [delivery(payload) for payload in (PAYLOADS["INTENT"][0], PAYLOADS["REPLY"][0]) * 3]
    for one in sent:
        host.inbox.put(one)
    await drained(router, host, len(sent))
    assert ended == [(4.9, "done"), (0.05, "cancelled"), (0.03, "done")] * 3
    assert [status for _, status in host.settlements] == ["handled", "failed"] * 3


async def test_route_a_handler_that_ends_though_cancelled(clock: MockClock) -> None:
    """What it gives after its limit, and before it is given up, counts; the next messages are asked about as ever."""
    host = Host().trusts(ADA)
    router = ProtocolRouter(host, emit=host.emit)
    seen: list[int] = []

    async def shielded(_: Delivery) -> None:
        seen.append(1)
        with trio.CancelScope(shield=len(seen) == 1):
            await trio.sleep(1.2 if len(seen) == 1 else 0.5)

    router.register("cip", "INTENT", shielded, limit_ms=1_000)
    for _ in range(3):
        host.inbox.put(delivery())
    await drained(router, host, 3)
    assert [status for _, status in host.settlements] == ["handled"] * 3
    assert len(seen) == 3


async def test_route_an_interrupt_passes_a_shared_scope() -> None:
    """Ctrl+C in a handler ends the router, as it ends everything else."""
    host = Host().trusts(ADA)
    router = ProtocolRouter(host, emit=host.emit)

    async def interrupted(_: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        raise KeyboardInterrupt

    router.register("cip", "INTENT", interrupted)
    host.inbox.put(delivery())
    with pytest.RaisesGroup(KeyboardInterrupt, flatten_subgroups=True):
        await router.run()
    assert not host.settlements


async def test_route_a_limit_that_ends_while_the_watch_looks(clock: MockClock) -> None:
    """ROUTE-5: a handler whose time ends while another is given up is cancelled at once, and not given up itself."""
    host = Host().trusts(ADA, BOB)
    ended: list[tuple[float, str]] = []
    given_up: list[str] = []

    def emit(kind: str, /, **fields: Any) -> None:
        host.emit(kind, **fields)
        if fields.get("code") == "handler_abandoned":
            given_up.append(fields["peer"])
            clock.jump(0.5)  # what an observer took

    async def stubborn(_: Delivery) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(60)

    async def patient(_: Delivery) -> None:
        try:
            await trio.sleep(60)
        finally:
            ended.append((trio.current_time() - began, "cancelled"))

    options = RouterOptions(grace_ms=1_000)
    router = ProtocolRouter(host, emit=emit, options=options)
    router.register("cip", "INTENT", stubborn, limit_ms=1_000)  # given up after 2 s
    router.register("cip", "REPLY", patient, limit_ms=2_250)
    began = trio.current_time()
    host.inbox.put(delivery(peer=ADA))
    host.inbox.put(delivery(PAYLOADS["REPLY"][0], peer=BOB))
    await drained(router, host, 2)
    assert given_up == [ADA]
    assert ended == [(2.5, "cancelled")]
