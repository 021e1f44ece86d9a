"""What an endpoint may be told: limits, windows and times, checked once at construction (RTT-51)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from web4._core import CoreError
from web4._core import Endpoint as NativeEndpoint
from web4.rtt.errors import LimitError

if TYPE_CHECKING:
    from web4.foundation.identity import Identity

KIB = 1024
LONGEST_WINDOW = 4_000_000
"""The longest resume window, in seconds: milliseconds of it go into 32 bits on the wire."""
LONGEST = 366 * 86_400.0
"""The largest time that an option may name, in seconds."""


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """Limits of the channels of one kind: the largest message, and the send queue and credit (section 6)."""

    max_message: int
    """Bytes."""
    messages: int
    """Messages that may wait, here to be written or there to be read."""
    window: int
    """Bytes of their contents; at least `max_message` (RTT-19)."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of an endpoint. Times are in seconds; the defaults are those of section 15.

    Raises:
        LimitError: `bad_option`, with the field: no finite time above 0, or no whole number above 0. What depends on
            several fields is found when the endpoint is opened, and raises the same.
    """

    frame_payload: int = 16 * KIB
    channels: int = 64
    control: ChannelLimits = field(default=ChannelLimits(64 * KIB, 256, 256 * KIB))
    state: ChannelLimits = field(default=ChannelLimits(64 * KIB, 64, 256 * KIB))
    knowledge: ChannelLimits = field(default=ChannelLimits(1024 * KIB, 1024, 1024 * KIB))
    heartbeat: float = 5.0
    drain_timeout: float = 5.0
    ack_delay: float = 0.025
    resume_window: float = 600.0
    """How long a session without a carrier waits for another one; the smaller of both ends holds. 0: not at all."""
    reconnect_base: float = 0.1
    """The longest first wait between two attempts to reconnect; it doubles with each (RTT-45)."""
    reconnect_cap: float = 5.0
    rekey_after: float = 600.0
    """The sending keys are updated after this long, or `rekey_bytes`, or `rekey_frames` (RTT-47)."""
    rekey_bytes: int = 1 << 30
    rekey_frames: int = 1 << 20
    carrier_lifetime: float = 86_400.0
    """A carrier older than this is replaced (RTT-48)."""
    resend_bytes: int = 4 * 1024 * KIB
    resend_reserve: int = 256 * KIB
    handshake_timeout: float = 5.0
    """From the first byte to CONFIRM."""
    hook_timeout: float = 5.0
    """How long a lifecycle hook may take for one event (RTT-56)."""
    sessions_per_peer: int = 4
    sessions: int = 16_384
    suspended_sessions: int = 4096
    """Sessions without a carrier; the one longest without is lost when there are more."""
    memory_per_peer: int = 16 * 1024 * KIB
    """Bytes that all sessions with one peer may hold, from 64 KiB: accepted and not acknowledged, arrived and not read.
    Then its queues count as full, and it gets no more credit and no more channels."""
    memory: int = 1024 * 1024 * KIB
    """Bytes that all sessions may hold, at least `memory_per_peer`. Then no session more is granted, and who holds much
    gets no more credit for `state` and `knowledge`."""
    half_open: int = 256
    """Carriers that have not opened."""
    half_open_per_address: int = 64
    carriers_per_second: int = 200
    """New carriers of one address; more are closed without an answer."""
    carriers_burst: int = 400

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, ChannelLimits):
                for part in fields(value):
                    _check_count(f"{entry.name}.{part.name}", getattr(value, part.name))
            elif isinstance(entry.default, float):
                if entry.name == "resume_window" and value > LONGEST_WINDOW:
                    raise _bad_option(entry.name, f"is at most {LONGEST_WINDOW} s")
                # So that it can be told in nanoseconds, and added to a clock; NaN is in no range.
                if not (0 < value <= LONGEST or (value == 0 and entry.name == "resume_window")):
                    raise _bad_option(entry.name, f"is above 0 and at most {LONGEST:.0f} s")
            else:
                _check_count(entry.name, value)

    def build(self, identity: Identity, boot_id: bytes) -> NativeEndpoint:
        """The native endpoint with these options.

        Raises:
            LimitError: `bad_option`, with the field that cannot work.
        """
        arguments: dict[str, Any] = {
            "frame_payload": self.frame_payload,
            "channels": self.channels,
            "kinds": [
                (kind.max_message, kind.messages, kind.window)
                for kind in (self.control, self.state, self.knowledge)
            ],
            "heartbeat_ns": round(self.heartbeat * 1e9),
            "drain_timeout_ns": round(self.drain_timeout * 1e9),
            "ack_delay_ns": round(self.ack_delay * 1e9),
            "resend_bytes": self.resend_bytes,
            "resend_reserve": self.resend_reserve,
            "resume_window_ms": round(self.resume_window * 1e3),
            "rekey_after_ns": round(self.rekey_after * 1e9),
            "rekey_bytes": self.rekey_bytes,
            "rekey_frames": self.rekey_frames,
            "carrier_lifetime_ns": round(self.carrier_lifetime * 1e9),
            "memory_per_peer": self.memory_per_peer,
            "memory": self.memory,
        }
        try:
            return NativeEndpoint(identity, boot_id, **arguments)
        except CoreError as error:
            raise LimitError(str(error), code="bad_option", field=error.field) from None


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or not 0 < value < 1 << 32:
        raise _bad_option(name, "is a whole number from 1 to 2**32 - 1")


def _bad_option(name: str, rule: str) -> LimitError:
    return LimitError(f"the option {name} {rule}", code="bad_option", field=name)
