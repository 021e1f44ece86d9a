"""Services that are really invoked: let in, run once per id, answered; and all that can go wrong (GRAPH-4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.extensions.hosting import running, write_extension
from tests.mesh.people import seal_mesh
from tests.mesh.services.pair import Node, pair
from web4.mesh.services import calling
from web4.mesh.services.catalogue import MAX_SERVICES, Service, ServiceCall, ServiceCatalogue
from web4.mesh.services.errors import ServiceDefinitionError, ServiceError, ServiceRefusal
from web4.mesh.services.extension_services import extension_service
from web4.mesh.services.running import MAX_RESULT_BYTES
from web4.protocols.messages.mesh import ServiceInvoke, ServiceResult
from web4.trust import Conflict, HandshakeOk, OperatorBlock

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
SUM = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}


class Adder:
    """A handler that can be seen, held up and made to fail."""

    def __init__(self) -> None:
        self.calls: list[ServiceCall] = []
        self.ended: list[str] = []
        self.go = trio.Event()
        self.go.set()
        self.give: Any = None

    async def __call__(self, call: ServiceCall) -> dict[str, Any]:
        self.calls.append(call)
        try:
            await self.go.wait()
        except trio.Cancelled:
            self.ended.append("cancelled")
            raise
        self.ended.append("done")
        if isinstance(self.give, Exception):
            raise self.give
        return {"sum": call.args["a"] + call.args["b"]} if self.give is None else self.give

    def service(self, **more: Any) -> Service:
        fields: dict[str, Any] = {
            "name": "sum",
            "version": "1.2",
            "input_schema": NUMBERS,
            "output_schema": SUM,
        }
        return Service(handler=self, **{**fields, **more})


async def failing(caller: Node, server: Node, *call: Any, **more: Any) -> tuple[str, str | None]:
    """How a call fails: the error's code, and the reason that the other node gave."""
    given = call or ("sum", "1.0", {"a": 1, "b": 2})
    with pytest.raises(ServiceError) as caught:
        await caller.services.invoke(server.fingerprint, *given, **more)
    assert caught.value.peer == server.fingerprint
    return caught.value.code, caught.value.reason


async def test_graph_service_end_to_end() -> None:
    """GRAPH-4: the handler really runs, once per id; events and deferral are seen."""
    adder = Adder()
    async with pair(adder.service(), max_running_of_one=2) as (caller, server):
        result = await caller.services.invoke(server.fingerprint, "sum", "1.0", {"a": 40, "b": 2})
        assert result == {"sum": 42}
        (call,) = adder.calls
        assert (call.peer, call.args) == (caller.fingerprint, {"a": 40, "b": 2})
        # The same envelope again, as after a crash of its sender: the same id, and nothing runs.
        (invoke,) = caller.sent.values()
        assert await server.take(caller.fingerprint, invoke) == "duplicate"
        (invoked,) = server.said.of("service_invoked")
        assert (invoked["peer"], invoked["msg_id"]) == (caller.fingerprint, invoke.id)
        assert (invoked["service"], invoked["state"], invoked["code"]) == ("sum", "ok", None)

        # More at once than it does for one peer: put off, and answered so.
        adder.go = trio.Event()
        results: list[Any] = []

        async def ask() -> None:
            results.append(await caller.services.invoke(server.fingerprint, "sum", "1.0", {"a": 1, "b": 1}))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert await failing(caller, server) == ("refused", "busy")
            for invoke in tuple(caller.sent.values()):
                assert await server.take(caller.fingerprint, invoke) == "duplicate"
            adder.go.set()
        assert results == [{"sum": 2}] * 2
        assert len(adder.calls) == 3
        await trio.testing.wait_all_tasks_blocked()
        state = await server.services.state()
        assert (len(state.running), len(state.answering), state.count) == (0, 0, 4)
        assert len(server.sent) == 4, "one answer for each call"


async def test_a_call_is_judged_before_it_runs() -> None:
    """GRAPH-4: trust, name, major version, schema, deadline; each under its own word, and no handler runs."""
    adder = Adder()
    async with pair(adder.service(version="2.1.7")) as (caller, server):
        for call, more, expected in (
            (("sums", "2.0", {}), {}, ("refused", "unknown_service")),
            (("sum", "1.9", {"a": 1, "b": 2}), {}, ("refused", "version")),
            (("sum", "2.0", {"a": 1}), {}, ("refused", "arguments")),
            (("sum", "2.0", {"a": 1, "b": "2"}), {}, ("refused", "arguments")),
            (("sum", "2.0", {"a": 1, "b": 2, "c": 3}), {}, ("refused", "arguments")),
        ):
            assert await failing(caller, server, *call, **more) == expected
        too_late = ServiceInvoke(service="sum", version="2.0", args={"a": 1, "b": 2}, deadline_ms=0)
        envelope, _ = seal_mesh(
            caller.identity, too_late, id=caller.ids.uuid4(), now_ms=caller.clock.wall_ms()
        )
        assert await server.take(caller.fingerprint, envelope) == "refused"
        await trio.testing.wait_all_tasks_blocked()
        answer = list(server.sent.values())[-1]
        assert (answer.payload.status, answer.payload.error) == ("timeout", "deadline")
        assert answer.reply_to == envelope.id
        # A newer minor version of the same major one is served as it is here.
        assert await caller.services.invoke(server.fingerprint, "sum", "2.9", {"a": 1, "b": 2}) == {"sum": 3}
        conflict = Conflict(at_ms=server.clock.wall_ms(), claim_key="9" * 64)
        await server.trust(caller.fingerprint, conflict)
        assert await failing(caller, server, "sum", "2.0", {"a": 1, "b": 2}) == ("refused", "trust")
        assert len(adder.calls) == 1


async def test_min_trust_may_be_lower_for_what_the_gate_lets_in() -> None:
    adder = Adder()
    stranger, server = Node(3), Node(2)
    server.offers.append(adder.service(min_trust="probing"))
    async with server.up():
        await server.trust(stranger.fingerprint, HandshakeOk(at_ms=server.clock.wall_ms()))
        invoke = ServiceInvoke(service="sum", version="1.0", args={"a": 1, "b": 2}, deadline_ms=9_000)
        envelope, _ = seal_mesh(stranger.identity, invoke, id=stranger.ids.uuid4(), now_ms=0)
        assert await server.take(stranger.fingerprint, envelope) == "running"


@pytest.mark.parametrize(
    ("give", "expected"),
    [
        (ServiceRefusal("not_today"), ("refused", "not_today")),
        (ServiceRefusal("Not today!"), ("refused", "refused")),
        (ValueError("secret"), ("failed", "handler_failed")),
        ({"sum": "3"}, ("failed", "bad_result")),
        ([3], ("failed", "bad_result")),
        ({"sum": 3, "x": 2**60}, ("failed", "bad_result")),
        ({"sum": 3, "x": object()}, ("failed", "bad_result")),
        ({"sum": 3, "x": "y" * MAX_RESULT_BYTES}, ("failed", "result_too_large")),
    ],
)
async def test_what_handlers_do_wrong(give: Any, expected: tuple[str, str]) -> None:
    """Nothing of a handler's exception leaves the node, and nothing that its schema does not allow."""
    adder = Adder()
    adder.give = give
    async with pair(adder.service()) as (caller, server):
        assert await failing(caller, server) == expected
        assert not any("secret" in repr(one) for one in (*server.said.events, *server.sent.values()))


async def test_deadlines_cut_off_handlers_and_callers(autojump_clock: trio.testing.MockClock) -> None:
    """GRAPH-4: the handler is cancelled at the deadline, and the caller does not wait longer."""
    adder = Adder()
    adder.go = trio.Event()
    async with pair(adder.service()) as (caller, server):
        began = trio.current_time()
        code, _ = await failing(caller, server, deadline_seconds=5.0)
        assert (code, trio.current_time() - began) == ("timeout", 5.0)
        await trio.testing.wait_all_tasks_blocked()
        assert adder.ended == ["cancelled"]
        (answer,) = server.sent.values()
        assert (answer.payload.status, answer.payload.error) == ("timeout", "deadline")


async def test_calls_are_cut_off_by_hand_and_by_blacklisting() -> None:
    """TRUST-8: what runs for a peer that is blacklisted ends; an operator may end any."""
    adder = Adder()
    adder.go = trio.Event()
    async with pair(adder.service()) as (caller, server), trio.open_nursery() as nursery:
        seen: list[tuple[str, str | None]] = []

        async def ask() -> None:
            seen.append(await failing(caller, server, deadline_seconds=60.0))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        (call,) = adder.calls
        assert not await server.services.cancel(server.fingerprint, call.call_id)
        assert await server.services.cancel(call.peer, call.call_id)
        await trio.testing.wait_all_tasks_blocked()
        assert seen == [("failed", "cancelled")]
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        block = OperatorBlock(at_ms=server.clock.wall_ms(), human="ada", reason="enough")
        await server.trust(caller.fingerprint, block)
        await trio.testing.wait_all_tasks_blocked()
        assert adder.ended == ["cancelled"] * 2
        assert not (await server.services.state()).running


@pytest.mark.parametrize("idempotent", [False, True])
async def test_a_crash_runs_no_handler_twice_that_must_not(idempotent: bool) -> None:
    """GRAPH-4, JRN-13: what was cut off by a crash is failed, or run again if it may be; the answer is sent once."""
    adder = Adder()
    adder.go = trio.Event()
    caller, server = Node(1), Node(2)
    server.offers.append(adder.service(idempotent=idempotent))
    await server.trusts(caller)
    invoke = ServiceInvoke(service="sum", version="1.0", args={"a": 1, "b": 2}, deadline_ms=60_000)
    envelope, _ = seal_mesh(caller.identity, invoke, id=caller.ids.uuid4(), now_ms=server.clock.wall_ms())
    with trio.CancelScope() as crash:
        async with server.up():
            assert await server.take(caller.fingerprint, envelope) == "running"
            await trio.testing.wait_all_tasks_blocked()
            crash.cancel()
            await trio.sleep_forever()
    adder.go.set()
    async with server.up():
        await trio.testing.wait_all_tasks_blocked()
        assert await server.take(caller.fingerprint, envelope) == "duplicate"
        (answer,) = server.sent.values()
        status = ("ok", "done") if idempotent else ("failed", "cancelled")
        assert (answer.payload.status, adder.ended[-1]) == status
        assert len(adder.calls) == (2 if idempotent else 1)
        if not idempotent:
            assert answer.payload.error == "crashed"


async def test_an_answer_outlives_a_crash_under_the_same_id() -> None:
    """OUT-2: between the handler's end and the outbox the node dies: the answer is sent at its next start."""
    adder = Adder()
    caller, server = Node(1), Node(2)
    server.offers.append(adder.service())
    await server.trusts(caller)
    invoke = ServiceInvoke(service="sum", version="1.0", args={"a": 1, "b": 2}, deadline_ms=60_000)
    envelope, _ = seal_mesh(caller.identity, invoke, id=caller.ids.uuid4(), now_ms=server.clock.wall_ms())

    async def stuck(*_: Any) -> None:
        await trio.sleep_forever()

    server.wire = stuck
    with trio.CancelScope() as crash:
        async with server.up():
            await server.take(caller.fingerprint, envelope)
            await trio.testing.wait_all_tasks_blocked()
            assert len((await server.services.state()).answering) == 1
            crash.cancel()
            await trio.sleep_forever()
    server.wire = None
    async with server.up():
        await trio.testing.wait_all_tasks_blocked()
        assert not (await server.services.state()).answering
    assert server.attempts == [next(iter(server.sent))] * 2
    assert len(adder.calls) == 1


async def test_only_the_peer_that_was_called_answers() -> None:
    """An answer of somebody else, or to nothing, wakes nobody; the caller's own memory is bounded."""
    caller, server, other = Node(1), Node(2), Node(3)
    async with caller.up(), trio.open_nursery() as nursery:
        got: list[Any] = []

        async def ask() -> None:
            got.append(await caller.services.invoke(server.fingerprint, "sum", "1.0", {}))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        (invoke,) = caller.sent.values()
        answer = ServiceResult(status="ok", result={"sum": 1})

        def result(node: Node, reply_to: str | None) -> Any:
            return seal_mesh(node.identity, answer, id=node.ids.uuid4(), now_ms=0, reply_to=reply_to)[0]

        assert not await caller.take(other.fingerprint, result(other, invoke.id))
        assert not await caller.take(server.fingerprint, result(server, other.ids.uuid4()))
        assert not await caller.take(server.fingerprint, result(server, None))
        assert await caller.take(server.fingerprint, result(server, invoke.id))
        await trio.testing.wait_all_tasks_blocked()
        assert got == [{"sum": 1}]
        assert len(caller.said.of("envelope_unhandled")) == 3


async def test_a_caller_waits_for_so_many_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "MAX_WAITING", 0)
    caller, server = Node(1), Node(2)
    async with caller.up():
        assert await failing(caller, server) == ("busy", None)
    assert caller.sent == {}


def test_what_may_be_offered() -> None:
    catalogue = ServiceCatalogue()
    adder = Adder()
    catalogue.offer(adder.service())
    catalogue.offer(adder.service(version="2.0"))
    for more, code in (
        ({"version": "1.9"}, "service_known"),
        ({"name": "Sum"}, "service_name"),
        ({"version": "3"}, "service_name"),
        ({"name": "x", "input_schema": {"type": "nonsense"}}, "service_schema"),
        ({"name": "x", "output_schema": {"$ref": "https://example.org/x"}}, "service_schema"),
    ):
        with pytest.raises(ServiceDefinitionError) as caught:
            catalogue.offer(adder.service(**more))
        assert caught.value.code == code
    assert catalogue.names() == [("sum", "1.2"), ("sum", "2.0")]
    catalogue.withdraw("sum", "2.5")
    assert catalogue.find("sum", "2.0") == "version"
    for number in range(MAX_SERVICES - 1):
        catalogue.offer(adder.service(name=f"s{number}"))
    with pytest.raises(ServiceDefinitionError) as caught:
        catalogue.offer(adder.service(name="more"))
    assert caught.value.code == "too_many_services"


async def test_an_extension_tells_the_calls_of_two_peers_apart(tmp_path: Path) -> None:
    """GRAPH-4, EXT-23: what a caller chose as its id is no other caller's idempotency key."""
    source = """
from web4.ext import Context, Extension

ext = Extension("acme.bench")

@ext.tool()
def key(ctx: Context) -> str:
    \"\"\"Give the key.\"\"\"
    return str(ctx.idempotency_key)
"""
    directory = write_extension(tmp_path / "bench", source)
    async with running(directory, runtime=tmp_path / "run") as host:
        service = extension_service(host, "acme.bench.key", version="1.0", kind="tool")
        keys = []
        for peer in ("a" * 64, "b" * 64, "b" * 64):
            call = ServiceCall(peer=peer, call_id="one", service="key", version="1.0", args={}, deadline_ms=0)
            keys.append((await service.handler(call))["value"])
        assert keys == [f"{'a' * 64}:one", f"{'b' * 64}:one", f"{'b' * 64}:one"]


async def test_an_extension_does_it_in_a_worker(tmp_path: Path) -> None:
    """GRAPH-4, EXT-4: a real worker process; what crashes it fails the call, and nothing else."""
    directory = write_extension(tmp_path / "bench")
    async with running(directory, runtime=tmp_path / "run") as host:
        services = (
            extension_service(host, "acme.bench.add", version="1.0", kind="command", name="add"),
            extension_service(host, "acme.bench.leave", version="1.0", kind="tool", name="leave"),
            extension_service(host, "acme.bench.echo", version="1.0", kind="tool"),
        )
        async with pair(*services) as (caller, server):
            peer = server.fingerprint
            assert await caller.services.invoke(peer, "add", "1.0", {"one": 40, "other": 2}) == {"sum": 42}
            assert await caller.services.invoke(peer, "acme.bench.echo", "1.0", {"value": "x"}) == {
                "value": "x"
            }
            assert await failing(caller, server, "add", "1.0", {"one": "x"}) == ("refused", "arguments")
            crashed = await failing(caller, server, "leave", "1.0", {"status": 1})
            assert crashed == ("failed", "handler_failed")
            assert await caller.services.invoke(peer, "add", "1.0", {"one": 1, "other": 2}) == {"sum": 3}
