"""A connection to PostgreSQL as Trio sees it: psycopg's protocol generators, waited for natively (JRN-24b).

The generators do libpq's part without blocking and say what they wait for; here that is waited for with
`trio.lowlevel`. There is no thread and no second event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import psycopg
import trio
from psycopg import generators, pq
from psycopg.waiting import Ready, Wait

from web4.journal.backends.postgresql.addresses import attempts, without_secrets

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from psycopg.pq.abc import PGconn, PGresult

_CANCEL_WITHIN: Final = 1.0
"""Seconds that a cancel request may take; the connection is dropped in any case."""
_SESSION: Final = (
    # Every query of ours goes by an index, with few rows on the other side: a plan that was made while the tables
    # were small must still be right when they are not, so it is made once and never guesses otherwise.
    "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
    " -c jit=off"
    # Nobody but an operator holds our rows for long; waiting for one must end before the lease does.
    " -c lock_timeout=3s"
)
"""What a connection string may override."""
_MANDATORY: Final = "-c default_transaction_isolation=read\\ committed -c synchronous_commit="
"""What it may not: what is said of durability hangs on it."""
_KEEPALIVE: Final = {
    "tcp_user_timeout": "10000",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
}

Result = TypeVar("Result")


class ConnectionLostError(Exception):
    """The connection is gone, or could not be made. `sent`: the server may have got what was to be run."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class StatementRefusedError(Exception):
    """The server answered with an error: nothing of what was run together happened. The connection is usable."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(f"{sqlstate}: {message}")
        self.sqlstate = sqlstate


class Statement(NamedTuple):
    """One SQL text, prepared on first use by each connection. `@` stands for the journal's schema."""

    name: str
    sql: str


Call = tuple[Statement, "Sequence[bytes | None]"]
"""A statement with its binary parameters."""


class Connection:
    """One connection; one task uses it at a time. After an exception other than a refusal it is closed."""

    def __init__(self, native: PGconn, schema: str) -> None:
        self._native = native
        self.schema = schema
        self._prepared: set[str] = set()
        self._closed = False

    @classmethod
    async def open(
        cls, conninfo: str, *, schema: str, synchronous: bool, within: float, application: str = "web4"
    ) -> Connection:
        """Connect to the first address that answers.

        Args:
            conninfo: As libpq takes it.
            schema: Where the journal's tables are.
            synchronous: Whether commits on this connection wait until they are on stable storage.
            within: Seconds after which no answer is a failure.
            application: What the server's own tables call the connection.

        Raises:
            ConnectionLostError: No address answers. The message holds no password.
        """
        reason = "no address"
        settings = (_SESSION, _MANDATORY + ("on" if synchronous else "off"))
        defaults = {"application_name": application, **_KEEPALIVE}
        with trio.move_on_after(within) as scope:
            for attempt in await attempts(conninfo, settings=settings, defaults=defaults):
                try:
                    native = await _drive_connecting(generators.connect(attempt))
                except psycopg.Error as error:
                    reason = without_secrets(str(error), conninfo)
                    continue
                return cls(native, schema)
        if scope.cancelled_caught:
            reason = f"no answer within {within:g} s"
        raise ConnectionLostError(reason, sent=False)

    @property
    def closed(self) -> bool:
        """Whether it can be used no more."""
        return self._closed

    @property
    def server_version(self) -> int:
        """As libpq writes it: 150018 is 15.18."""
        return self._native.server_version

    @property
    def backend_pid(self) -> int:
        """The process that serves it."""
        return self._native.backend_pid

    async def run(self, *calls: Call) -> list[PGresult]:
        """Run statements in one round trip and in one transaction: all of them happen, or none.

        Without a `BEGIN` among them, what stands in one pipeline up to its end is one transaction to the server, and
        is committed when this returns. Cancellation: the server is asked to stop, and the connection is closed.

        Raises:
            StatementRefusedError: The server refused one of them.
            ConnectionLostError: The connection ended; with `sent`, whether they happened is not known.
        """
        self._check()
        return await self._guarded(self._pipeline(calls))

    async def script(self, sql: str) -> None:
        """Run SQL without parameters by itself, outside any pipeline: what cannot be part of a transaction.

        Raises:
            StatementRefusedError, ConnectionLostError: As `run`.
        """
        self._check()
        await self._guarded(self._simple(sql))

    async def notifications(self) -> list[str]:
        """Wait for notifications of the channels that this connection listens to; what they say.

        Raises:
            ConnectionLostError: The connection ended.
        """
        self._check()
        news = await self._guarded(generators.notifies(self._native))
        return [item.extra.decode(errors="replace") for item in news]

    def close(self) -> None:
        """Close it, whatever it does. May be repeated."""
        if not self._closed:
            self._closed = True
            if self._native.status != pq.ConnStatus.BAD:
                trio.lowlevel.notify_closing(self._native.socket)
            self._native.finish()

    def _check(self) -> None:
        if self._closed:
            raise ConnectionLostError("the connection was closed", sent=False)

    async def _guarded(self, steps: Generator[Any, Any, Result]) -> Result:
        try:
            return await _drive(steps, self._native.socket)
        except StatementRefusedError:
            if self._native.status == pq.ConnStatus.BAD:
                # The server's last words: after them nobody knows how far it came.
                self.close()
                raise ConnectionLostError("the server ended the connection", sent=True) from None
            raise
        except (psycopg.Error, OSError) as error:
            self.close()
            raise ConnectionLostError(str(error).strip() or "the connection ended", sent=True) from None
        except BaseException:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _CANCEL_WITHIN):
                await self._ask_to_stop()
            self.close()
            raise

    async def _ask_to_stop(self) -> None:
        """Send a cancel request, so that the server does not go on for nobody."""
        if not psycopg.capabilities.has_cancel_safe():
            return  # an older libpq can send one only by blocking; the server stops when it meets the closed socket
        request = self._native.cancel_conn()
        try:
            request.start()
            await _drive_connecting(generators.cancel(request))
        except (psycopg.Error, OSError):
            pass  # it is a courtesy
        finally:
            request.finish()

    def _pipeline(self, calls: Sequence[Call]) -> Generator[Any, Any, list[PGresult]]:
        native = self._native
        if native.pipeline_status == pq.PipelineStatus.OFF:
            native.enter_pipeline_mode()
        preparing: list[str | None] = []
        for statement, parameters in calls:
            if statement.name not in self._prepared and statement.name not in preparing:
                preparing.append(statement.name)
                native.send_prepare(
                    statement.name.encode(), statement.sql.replace("@", f'"{self.schema}"').encode()
                )
            preparing.append(None)
            native.send_query_prepared(
                statement.name.encode(), parameters, [1] * len(parameters), result_format=1
            )
        native.pipeline_sync()
        yield from generators.send(native)
        results, refused = [], None
        while True:
            answer = yield from generators.fetch_many(native)
            if not answer:
                continue
            if answer[0].status == pq.ExecStatus.PIPELINE_SYNC:
                break
            prepared = preparing.pop(0)
            if answer[0].status == pq.ExecStatus.FATAL_ERROR:
                refused = refused or _refusal(answer[0])
            elif answer[0].status != pq.ExecStatus.PIPELINE_ABORTED:
                if prepared is None:
                    results.append(answer[0])
                else:
                    self._prepared.add(prepared)
        if refused is not None:
            raise refused
        return results

    def _simple(self, sql: str) -> Generator[Any, Any, None]:
        native = self._native
        if native.pipeline_status != pq.PipelineStatus.OFF:
            native.exit_pipeline_mode()
        native.send_query(sql.replace("@", f'"{self.schema}"').encode())
        answers = yield from generators.execute(native)
        for answer in answers:
            if answer.status == pq.ExecStatus.FATAL_ERROR:
                raise _refusal(answer)


def _refusal(answer: PGresult) -> StatementRefusedError:
    sqlstate = answer.error_field(pq.DiagnosticField.SQLSTATE) or b"XX000"
    message = answer.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b""
    return StatementRefusedError(sqlstate.decode(), message.decode(errors="replace"))


async def _drive(steps: Generator[Any, Any, Result], descriptor: int) -> Result:
    """Wait for what a generator of psycopg waits for, until it is through."""
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(await _ready(descriptor, wanted))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def _drive_connecting(steps: Generator[Any, Any, Result]) -> Result:
    """The same where the descriptor changes on the way."""
    try:
        descriptor, wanted = next(steps)
        while True:
            descriptor, wanted = steps.send(await _ready(descriptor, wanted))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()


async def _ready(descriptor: int, wanted: Wait) -> Ready:
    try:
        if wanted == Wait.R:
            await trio.lowlevel.wait_readable(descriptor)
            return Ready.R
        if wanted == Wait.W:
            await trio.lowlevel.wait_writable(descriptor)
            return Ready.W
        return await _either_ready(descriptor)
    except trio.ClosedResourceError:
        raise psycopg.OperationalError("the connection was closed") from None


async def _either_ready(descriptor: int) -> Ready:
    """Only when more is to be sent than the socket takes at once."""
    ready: int = Ready.NONE

    async def wait(waiting: Any, what: Ready) -> None:
        nonlocal ready
        await waiting(descriptor)
        ready |= what
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, trio.lowlevel.wait_readable, Ready.R)
        nursery.start_soon(wait, trio.lowlevel.wait_writable, Ready.W)
    return Ready(ready)
