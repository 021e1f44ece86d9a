"""slim-bindings over TLS 1.3, blocking: a reliable point-to-point session, without MLS on top.

The server's process runs the SLIM node, and its application hangs on that node directly: one hop over TCP. `publish`
returns a handle, to be waited for until the message is delivered; up to 1,024 messages or 4 MiB are on the way, and
the oldest handle is waited for beyond that. There is no call for many messages, so a batch is a loop.
"""

from __future__ import annotations

import datetime
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import slim_bindings as slim

from scripts.bench.credentials import SERVER_NAME
from scripts.bench.peers.free_port import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scripts.bench.figures import Figure
    from scripts.bench.link import Link
    from scripts.bench.side import Side

LOOP = "blocking"
ENCRYPTED = True
PACKAGES = ("slim-bindings",)
ON_THE_WAY = 1_024
ON_THE_WAY_BYTES = 4 * 1024 * 1024
RETRIES, RETRY_AFTER = 10, datetime.timedelta(seconds=1)
_SECRET = "both sides of a benchmark know these words, nobody else has to"


class PublishLink:
    """A link over a session."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._on_the_way: deque[Any] = deque()
        self._most = ON_THE_WAY

    def prepare(self, figure: Figure) -> None:
        """Fit what may be on the way to the messages."""
        self._most = min(ON_THE_WAY, max(1, ON_THE_WAY_BYTES // figure.size))

    async def send(self, message: bytes) -> None:
        """Publish one message."""
        self._on_the_way.append(self._session.publish(message, None, None))
        if len(self._on_the_way) > self._most:
            self._on_the_way.popleft().wait()

    async def send_many(self, messages: list[bytes]) -> None:
        """Publish each message."""
        for message in messages:
            await self.send(message)

    async def receive(self) -> bytes:
        """Return the next message."""
        message: bytes = self._session.get_message(None).payload
        return message

    async def receive_many(self) -> list[bytes]:
        """Return the next message."""
        return [await self.receive()]


def _initialize() -> None:
    tracing = slim.new_tracing_config()
    tracing.log_level = "error"
    slim.initialize_with_configs(slim.new_runtime_config(), tracing, [slim.new_service_config()])


@asynccontextmanager
async def open_link(side: Side) -> AsyncIterator[Link]:
    """Connect both sides and open the session."""
    _initialize()
    service = slim.Service(side.role)
    name, other = (slim.Name("bench", "transport", role) for role in (side.role, "server"))
    certificate, key = (str(side.credentials / file) for file in ("certificate.pem", "key.pem"))
    application = service.create_app_with_secret(name, _SECRET)
    if side.role == "server":
        port = free_port()
        source = slim.TlsSource.FILE(cert=certificate, key=key)
        service.run_server(slim.new_secure_server_config(f"127.0.0.1:{port}", source))
        application.subscribe(name, None)
        side.announce(port)
        yield PublishLink(application.listen_for_session(None))
    else:
        configuration = slim.new_secure_client_config(f"https://{SERVER_NAME}:{(await side.address()).port}")
        configuration.tls = slim.TlsClientConfig(
            insecure=False,
            insecure_skip_verify=False,
            source=slim.TlsSource.NONE(),
            ca_source=slim.CaSource.FILE(path=certificate),
            include_system_ca_certs_pool=False,
            tls_version="tls1.3",
        )
        connection = service.connect(configuration)
        application.subscribe(name, connection)
        application.set_route(other, connection)
        settings = slim.SessionConfig(
            session_type=slim.SessionType.POINT_TO_POINT,
            max_retries=RETRIES,
            interval=RETRY_AFTER,
            metadata={},
            mls_settings=None,
        )
        yield PublishLink(application.create_session_and_wait(settings, other))
