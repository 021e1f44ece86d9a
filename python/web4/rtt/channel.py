"""A channel as Trio sees it: an ordered stream of messages in each direction (RTT-60 to RTT-63)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled

from web4._core import CoreError
from web4.rtt.drops import Drops
from web4.rtt.errors import (
    BackpressureError,
    BatchTooLargeError,
    ChannelClosedError,
    ChannelResetError,
    MessageTooLargeError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from web4.rtt.session import RttSession


class Outcome(StrEnum):
    """What became of a message that was handed to a channel (RTT-39)."""

    ACCEPTED = "accepted"
    EVICTED_OLDEST = "evicted_oldest"
    DROPPED_NEWEST = "dropped_newest"


_OUTCOMES = (Outcome.ACCEPTED, Outcome.EVICTED_OLDEST, Outcome.DROPPED_NEWEST)
_WAITING = 3
# What `receive` of the native session says instead of messages.
_NONE_YET, _ENDED, _RESET_BY_PEER, _RESET_HERE = 0, 1, 2, 3


class Channel(trio.abc.Channel[bytes]):
    """An ordered, bidirectional stream of messages of one kind.

    Any number of tasks may send; they are served in order of arrival. One task at a time may receive. Iterating
    ends when the peer has ended its direction. Leaving the channel's block normally delivers what was accepted;
    leaving it by an exception resets the channel.
    """

    def __init__(self, session: RttSession, channel_id: int, *, block_timeout: float | None = None) -> None:
        info = session.link.channel_info(channel_id)
        assert info is not None
        self._session = session
        self._link = session.link
        self._block_timeout = block_timeout
        self._receiving = False
        self._receiver: trio.lowlevel.Task | None = None
        self._closed = False
        self._drops: Drops | None = None
        self.id = channel_id
        self.kind, self.name, self.max_message = info

    async def send(self, value: bytes) -> Outcome:  # type: ignore[override] # says more than Trio's None
        """Hand one message to the channel, waiting for room if its policy is `block`.

        If this returns, the message was accepted (or the policy dropped it, and the outcome says so). If it raises
        `trio.Cancelled`, the message was not accepted and never will be delivered (RTT-62).

        The first message after a pause is on its way when this returns. Those that follow at once share writes, and are
        on their way when 16 KiB are together, when no task is ready to run, or at the end of the loop's pass in which
        a millisecond has passed. Control does not wait, nor do `send_many`, `send_nowait`, `flush` and every end.

        Raises:
            MessageTooLargeError: It can never be sent here.
            BackpressureError: `queue_full` under policy `error`; `block_timeout`.
            ChannelClosedError, ChannelResetError, SessionClosedError, SessionLost, ProtocolError: It is over.
        """
        await checkpoint_if_cancelled()
        ticket = self._session.waits.ticket
        try:
            code = self._link.send(self.id, value, True, True, ticket)
        except CoreError as error:
            self._raise(error)
        if code:
            if code & 3 == _WAITING:
                await self._wait_for_room(ticket, code >> 2)
                return Outcome.ACCEPTED
            self._session.react(code >> 2)
            if code & 3:
                self._dropped()
        await cancel_shielded_checkpoint()
        return _OUTCOMES[code & 3]

    def send_nowait(self, value: bytes) -> Outcome:
        """Like `send`, but instead of waiting raises `BackpressureError(queue_full)`, a `trio.WouldBlock`."""
        try:
            code = self._link.send(self.id, value, False, False, 0)
        except CoreError as error:
            self._raise(error)
        if code:
            self._session.react(code >> 2)
            if code & 3:
                self._dropped()
        return _OUTCOMES[code & 3]

    async def send_many(self, values: Sequence[bytes]) -> list[Outcome]:
        """Hand a batch to the channel, contiguous and in order: the fast way to send much.

        Under `block` and `error` it is all or nothing, under the drop policies it never waits; one outcome each.

        Raises:
            BatchTooLargeError: It could not fit even an empty queue; send it in parts.
            Also everything that `send` raises.
        """
        await checkpoint_if_cancelled()
        ticket = self._session.waits.ticket
        batch = values if isinstance(values, list) else list(values)
        try:
            outcomes, status = self._link.send_many(self.id, batch, True, ticket)
        except CoreError as error:
            self._raise(error)
        if outcomes == _WAITING:
            await self._wait_for_room(ticket, status)
            return [Outcome.ACCEPTED] * len(batch)
        if status:
            self._session.react(status)
        await cancel_shielded_checkpoint()
        if isinstance(outcomes, int):
            return [Outcome.ACCEPTED] * len(batch)
        self._dropped()
        return [_OUTCOMES[outcome] for outcome in outcomes]

    async def _wait_for_room(self, ticket: int, status: int) -> None:
        with trio.move_on_after(float("inf") if self._block_timeout is None else self._block_timeout):
            if not await self._session.waits.wait(
                ticket, status, lambda: self._link.cancel_send(self.id, ticket)
            ):
                self._raise_over()
            return
        raise BackpressureError(
            f"no room on channel {self.name!r} within {self._block_timeout} s", code="block_timeout"
        )

    async def flush(self) -> None:
        """Wait until the peer's session holds everything accepted so far (RTT-24).

        Cancelling changes nothing about the messages.

        Raises:
            ChannelResetError, SessionClosedError, SessionLost, ProtocolError: That cannot happen any more.
        """
        await checkpoint_if_cancelled()
        ticket = self._session.waits.ticket
        try:
            done, status = self._link.flush(self.id, ticket)
        except CoreError as error:
            self._raise(error)
        if done:
            self._session.react(status)
            await cancel_shielded_checkpoint()
            return

        def cancel() -> bool:
            self._link.cancel_flush(self.id, ticket)
            return True

        if not await self._session.waits.wait(ticket, status, cancel):
            self._raise_over()

    async def receive(self) -> bytes:
        """Take the next message, waiting for it. Cancelled, it has taken nothing (RTT-63).

        Raises:
            trio.EndOfChannel: The peer has ended its direction, and everything has been read.
            trio.BusyResourceError: Another task is receiving.
            ChannelClosedError, ChannelResetError, SessionClosedError, SessionLost, ProtocolError: It is over.
        """
        await checkpoint_if_cancelled()
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this channel")
        got = self._link.receive_one(self.id)
        if not isinstance(got, bytes):
            if got is None:
                return (await self._wait_for_messages(1))[0]
            got, status = got
            self._session.react(status)
        await cancel_shielded_checkpoint()
        return got

    async def receive_many(self, max: int = 256) -> list[bytes]:  # noqa: A002 - the specification's name
        """Wait for one message and take all that are ready, up to `max`. Otherwise like `receive`.

        Raises:
            ValueError: `max` is below 1.
        """
        if max < 1:
            raise ValueError(f"max is a number of messages from 1, not {max}")
        await checkpoint_if_cancelled()
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this channel")
        got, status = self._link.receive(self.id, max)
        if isinstance(got, int):
            return await self._wait_for_messages(max)
        if status:
            self._session.react(status)
        await cancel_shielded_checkpoint()
        return got

    async def _wait_for_messages(self, most: int) -> list[bytes]:
        """Wait for messages that are not there yet, by reading them in if nobody else does."""
        self._receiving = True
        parked = False
        try:
            while True:
                got, status = self._link.receive(self.id, most)
                if status:
                    self._session.react(status)
                if not isinstance(got, int):
                    return got
                if got != _NONE_YET or self._closed:
                    self._raise_nothing(got)
                if self._session.pump.takes_leader:
                    await self._session.pump.lead(self)
                else:
                    parked = True
                    await self._park()
        finally:
            self._receiving = False
            if parked:
                # It may have been woken to lead, and have left without.
                self._session.pump.attend()

    def receive_nowait(self) -> list[bytes]:
        """Take all messages that are ready, possibly none; never waits.

        Raises:
            The same as `receive`, when there is nothing and never will be.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this channel")
        got, status = self._link.receive(self.id, 1 << 30)
        if status:
            self._session.react(status)
        if isinstance(got, int):
            if got != _NONE_YET or self._closed:
                self._raise_nothing(got)
            return []
        return got

    async def _park(self) -> None:
        self._receiver = trio.lowlevel.current_task()
        self._session.parked[self] = None

        def abort(_: object) -> trio.lowlevel.Abort:
            self._receiver = None
            del self._session.parked[self]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _dropped(self) -> None:
        if self._drops is None:
            self._drops = Drops(self._session, self)
        self._drops.happened()

    def end(self) -> None:
        """For the session: it is over."""
        if self._drops is not None:
            self._drops.end()
        self.wake()

    def wake(self) -> None:
        """For session and pump: there is something to read, or nothing will be any more, or nobody else reads."""
        if self._receiver is not None:
            trio.lowlevel.reschedule(self._receiver)
            self._receiver = None
            del self._session.parked[self]
        else:
            self._session.pump.dismiss(self)

    async def aclose(self) -> None:
        """End the channel: what was accepted is still delivered, nothing more is read.

        Does not wait for the delivery; `flush` before does. Channel 0 lives as long as its session.
        """
        self._close(self._link.release_channel)
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """End both directions at once; what is not acknowledged may never arrive, the peer sees a reset."""
        self._close(self._link.reset_channel)

    def _close(self, native: Callable[[int], int]) -> None:
        if self.id == 0 or self._closed:
            return
        self._closed = True
        if self._drops is not None:
            self._drops.end()
        self._session.react(native(self.id))
        self._session.forget(self)
        self.wake()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            self.reset()
        await self.aclose()

    def stats(self) -> dict[str, int]:
        """The counters of RTT-42; empty once the channel is closed and forgotten."""
        return self._link.channel_stats(self.id) or {}

    def _raise(self, error: CoreError) -> NoReturn:
        peer = self._session.peer
        if error.code == "queue_full":
            raise BackpressureError(
                f"the send queue of {self.name!r} is full", code="queue_full", peer=peer
            ) from None
        if error.code == "message_too_large":
            raise MessageTooLargeError(
                f"messages on {self.name!r} have at most {self.max_message} bytes"
            ) from None
        if error.code == "batch_too_large":
            raise BatchTooLargeError(
                f"the batch can never fit the queue of {self.name!r}: send it in parts"
            ) from None
        self._raise_over()

    def _raise_nothing(self, reason: int) -> NoReturn:
        if reason == _ENDED and not self._closed:
            raise trio.EndOfChannel
        self._raise_over()

    def _raise_over(self) -> NoReturn:
        """Raise why this channel is of no use any more: closed here, reset by the peer, or with its session."""
        if self._closed:
            raise ChannelClosedError(f"channel {self.name!r} was closed here")
        reset = self._link.channel_reset(self.id)
        if self._session.state != "closed" and reset is not None:
            raise ChannelResetError(
                f"the peer reset channel {self.name!r}: {reset[0]}",
                reset_code=reset[0],
                peer=self._session.peer,
            )
        raise self._session.error()
