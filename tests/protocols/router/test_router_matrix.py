"""ROUTE-1, ROUTE-2: every type reaches exactly its target; what has none is told apart."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from tests.protocols.cip.examples import PAYLOADS
from tests.protocols.router.hosts import ADA, EXAMPLES, Host, delivery
from web4.protocols.errors import TryAgainLater
from web4.protocols.gates import GATES
from web4.protocols.messages.vocabulary import TYPES
from web4.protocols.router import MATRIX, HandlerResult, Output, ProtocolRouter, RegistrationError
from web4.testing.clocks import START_MS
from web4.trust import Conflict, OperatorBlock, TrustViolationError

if TYPE_CHECKING:
    from web4.protocols.cip import Delivery

# Section 14 written a second time, kept apart from the code's own.
SECTION_14 = {
    "HELLO VERIFY": "handshake, then TrustFSM",
    "ERROR RECEIPT": "outbox",
    "STATE_UPDATE": "peer state",
    "INTENT REPLY": "agent loop",
    "FACT_PROPOSE FACT_CONFIRM FACT_REJECT FACT_CHALLENGE": "knowledge ledger",
    "DECISION_SHARE": "DMP and causal memory",
    "HCP_HELLO HCP_STATE_UPDATE": "human state and consent",
    "HCP_INTENT HCP_CONTEXT": "gate, then agent loop",
    "HCP_DECISION HCP_FEEDBACK": "gate, then DMP and social trust",
    "LIP_FETCH": "fetcher",
    "LIP_EVIDENCE LIP_CONFLICT LIP_ACCEPT LIP_REJECT": "knowledge ledger",
    "MESH_HELLO MESH_ROUTES MESH_INTRODUCE MESH_REVOKE MESH_RELAY": "mesh",
    "SERVICE_INVOKE SERVICE_RESULT": "service registry",
}
ROUTED = {name: route for name, route in MATRIX.items() if route.way == "router"}


def test_route_matrix_names_every_type() -> None:
    """Section 14: every type that there is has exactly one route, and no other has."""
    assert MATRIX.keys() == GATES.keys() == TYPES.keys()
    assert all(MATRIX[name].protocol == one.protocol for name, one in TYPES.items())
    says = {name: target for names, target in SECTION_14.items() for name in names.split()}
    assert {name: route.target for name, route in MATRIX.items()} == says


async def test_route_matrix() -> None:
    """Each type comes to the handlers of its target, in order of registration, and to no others."""
    host = Host().trusts(ADA)
    router = ProtocolRouter(host, emit=host.emit)
    asked: defaultdict[str, list[str]] = defaultdict(list)

    def target(name: str, what: str) -> Any:
        async def handle(one: Delivery) -> None:
            assert one.message.type == name
            asked[name].append(what)

        return handle

    for name, route in ROUTED.items():
        router.register(route.protocol, name, target(name, f"first {route.target}"))
        router.register(route.protocol, name, target(name, f"then {route.target}"))
    for name, payload in EXAMPLES.items():
        if name not in ROUTED:
            continue
        result = await router.route(delivery(payload))
        assert result.status == "handled", name
        assert asked[name] == [f"first {MATRIX[name].target}", f"then {MATRIX[name].target}"]
    assert asked.keys() == ROUTED.keys() & EXAMPLES.keys()
    assert host.kinds() == ["envelope_routed"] * len(asked)


async def test_route_unknown_unhandled() -> None:
    """Unknown types cannot be registered; a valid type without a handler is `unhandled`, with an event of its own."""
    host = Host().trusts(ADA)
    router = ProtocolRouter(host, emit=host.emit)

    async def handler(_: Delivery) -> None: ...

    for protocol, name in (("cip", "GOSSIP"), ("hcp", "INTENT"), ("cip", "hello"), ("", "")):
        with pytest.raises(RegistrationError, match="unknown_type"):
            router.register(protocol, name, handler)
    for name, route in MATRIX.items():
        if route.way != "router":
            with pytest.raises(RegistrationError, match="not_routed"):
                router.register(route.protocol, name, handler)
    one = delivery()
    assert (await router.route(one)).status == "unhandled"
    assert host.kinds() == ["envelope_unhandled"]
    assert host.settlements == [(one.msg_id, "unhandled")]
    assert not router.dead_letters


async def test_route_min_trust() -> None:
    """ROUTE-1: a handler can ask for more trust than the gate, never for less; a handler behind it is not asked."""
    host = Host()
    router = ProtocolRouter(host, emit=host.emit)
    asked: list[str] = []

    async def anybody(one: Delivery) -> None:
        asked.append("anybody")

    async def friends(one: Delivery) -> None:
        asked.append("friends")

    router.register("cip", "INTENT", anybody)
    router.register("cip", "INTENT", friends, min_trust="trusted")
    refused = await router.route(delivery(trust="probing"))
    assert refused.status == "refused"
    assert isinstance(refused.error, TrustViolationError)
    assert refused.error.code == "gate"
    assert asked == ["anybody"]
    assert host.kinds() == ["envelope_rejected"]
    host.trusts(ADA)
    assert (await router.route(delivery())).status == "handled"
    assert asked == ["anybody", "anybody", "friends"]
    # Blacklisted since it was let in: nobody is asked, whatever he asks for (TRUST-8).
    host.trust.handle(ADA, OperatorBlock(at_ms=START_MS, human="grace", reason="spam"))
    assert (await router.route(delivery())).status == "refused"
    assert len(asked) == 3


async def test_route_capability() -> None:
    """ROUTE-1: a handler is asked only about peers with whom its capability was agreed."""
    host = Host().trusts(ADA)
    router = ProtocolRouter(host, emit=host.emit)

    async def handler(_: Delivery) -> None: ...

    router.register("cip", "INTENT", handler, capability="telepathy")
    router.register("cip", "REPLY", handler, capability="dmp_trace")
    result = await router.route(delivery())
    assert (result.status, result.error and result.error.code) == ("refused", "capability")
    assert (await router.route(delivery(PAYLOADS["REPLY"][0]))).status == "handled"


async def test_route_idempotent() -> None:
    """ROUTE-4: delivered twice, while it is handled or later, a message has its effects once."""
    host = Host().trusts(ADA)
    router = ProtocolRouter(host, emit=host.emit)
    effects: list[str] = []
    again: list[str] = []
    reply = PAYLOADS["REPLY"][0]

    async def handler(one: Delivery) -> HandlerResult:
        effects.append(one.msg_id)
        if len(effects) == 1:
            again.append((await router.route(one)).status)
        return HandlerResult(outputs=(Output(ADA, reply),))

    router.register("cip", "INTENT", handler)
    one = delivery(corr_id="0" * 8 + "-0000-4000-8000-" + "0" * 12)
    first, second = await router.route(one), await router.route(one)
    assert (first.status, *again, second.status) == ("handled", "duplicate", "duplicate")
    assert effects == [one.msg_id]
    assert host.sent == [(ADA, reply, one.message.corr_id)]
    assert first.outputs == (Output(ADA, reply),)
    assert host.settlements == [(one.msg_id, "handled")]


async def test_route_one_trust_effect() -> None:
    """ROUTE-3: of all that handlers say about a peer because of one message, only the first counts."""
    host = Host().trusts(ADA)
    router = ProtocolRouter(host, emit=host.emit)
    other = "c" * 64
    first = Conflict(at_ms=START_MS, claim_key="0f" * 32, confidence=0.5, confirmers=0)

    async def says(_: Delivery) -> HandlerResult:
        return HandlerResult(trust=((ADA, first), (other, first), (ADA, first)))

    router.register("cip", "INTENT", says)
    router.register("cip", "INTENT", says)
    one = delivery()
    result = await router.route(one)
    cause = f"{one.peer}:{one.msg_id}"
    assert host.said == [(ADA, first, cause), (other, first, cause)]
    assert [event.to for event in result.transition if event.moved] == ["probing"]
    assert host.trust.state(ADA) == "probing"


@pytest.mark.parametrize("status", ["deferred", "refused"])
async def test_route_a_gate_ends_the_chain(status: Any) -> None:
    """ROUTE-2: who refuses or defers keeps the message from those behind; what was said before is done."""
    host = Host().trusts(ADA)
    router = ProtocolRouter(host, emit=host.emit)
    error = TryAgainLater("later", code="deferred", retry_after_ms=5)

    async def gate(_: Delivery) -> HandlerResult:
        return HandlerResult(status, error=error, outputs=(Output(ADA, PAYLOADS["REPLY"][0]),))

    async def agent(_: Delivery) -> None:
        raise AssertionError("behind the gate")

    router.register("cip", "INTENT", gate)
    router.register("cip", "INTENT", agent)
    result = await router.route(delivery())
    assert (result.status, result.error) == (status, error)
    assert len(host.sent) == 1
    assert [one[1] for one in host.settlements] == [status]
