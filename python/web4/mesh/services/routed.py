"""Services behind the ProtocolRouter: SERVICE_INVOKE and SERVICE_RESULT as they come out of the inbox (section 14)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.mesh.services.errors import ServiceError
from web4.protocols.messages.mesh import ServiceInvokeEnvelope, ServiceResultEnvelope
from web4.protocols.router.results import HandlerResult

if TYPE_CHECKING:
    from web4.mesh.services.services import Services
    from web4.protocols.cip.actions import Delivery
    from web4.protocols.router.router import ProtocolRouter


def register_services(router: ProtocolRouter, services: Services) -> None:
    """Let `services` handle SERVICE_INVOKE and SERVICE_RESULT. Both are idempotent by the envelope's id (ROUTE-4)."""

    async def called(delivery: Delivery) -> HandlerResult | None:
        assert isinstance(delivery.message, ServiceInvokeEnvelope)
        reply = await services.called(delivery.peer, delivery.message, delivery.received_ms)
        if reply != "full":
            return None
        error = ServiceError("no more calls can be remembered", code="busy", peer=delivery.peer)
        return HandlerResult(status="refused", error=error)

    async def answered(delivery: Delivery) -> HandlerResult | None:
        assert isinstance(delivery.message, ServiceResultEnvelope)
        services.answered(delivery.peer, delivery.message)
        return None

    router.register("mesh", "SERVICE_INVOKE", called, idempotent=True)
    router.register("mesh", "SERVICE_RESULT", answered, idempotent=True)
