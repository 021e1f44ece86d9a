//! What a session may cost: the limits each end announces, and the ones that hold (RTT-14a, RTT-51).

use super::writing::RECORD_BYTES;

/// Nanoseconds from an origin the driver chose; it never goes back.
pub type Nanos = u64;

/// One millisecond, in `Nanos`.
pub const MILLISECOND: Nanos = 1_000_000;

/// The use of a channel; it decides priority, windows and the policies allowed (section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Handshakes, errors, receipts, consent: written before everything else.
    Control = 0,
    /// Latest-value updates.
    State = 1,
    /// Everything with content.
    Knowledge = 2,
}

impl Kind {
    /// All kinds, in the order of their numbers on the wire.
    pub const ALL: [Kind; 3] = [Kind::Control, Kind::State, Kind::Knowledge];

    /// The kind of a number on the wire.
    pub fn from_wire(number: u8) -> Option<Kind> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The name of this kind.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Control => "control",
            Kind::State => "state",
            Kind::Knowledge => "knowledge",
        }
    }

    /// The policy of a channel that names none (section 6).
    pub fn default_policy(self) -> Policy {
        match self {
            Kind::State => Policy::DropOldest,
            Kind::Control | Kind::Knowledge => Policy::Block,
        }
    }

    /// Whether a channel of this kind may use `policy` (section 6).
    pub fn allows(self, policy: Policy) -> bool {
        self != Kind::Control || matches!(policy, Policy::Block | Policy::Error)
    }
}

/// What happens to a message for which the send queue has no room (RTT-39).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Refuse it.
    Error,
    /// Evict unsent messages from the head until it fits.
    DropOldest,
    /// Drop it.
    DropNewest,
    /// Wait for room, first come first served.
    Block,
}

impl Policy {
    /// The policy of a name or of its alias.
    pub fn from_name(name: &str) -> Option<Policy> {
        match name {
            "error" => Some(Policy::Error),
            "drop_oldest" | "dropoldest" => Some(Policy::DropOldest),
            "drop_newest" | "dropnewest" => Some(Policy::DropNewest),
            "block" => Some(Policy::Block),
            _ => None,
        }
    }
}

/// How many messages and bytes may wait somewhere: a send queue, or a channel's credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Window {
    /// Messages.
    pub messages: u32,
    /// Bytes of their contents.
    pub bytes: u32,
}

/// Limits of the channels of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindLimits {
    /// The largest message, in bytes.
    pub max_message: u32,
    /// The send queue, and the credit a channel opened by the other side starts with.
    pub window: Window,
}

/// The limits one end announces in START or STARTED.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest payload of one DATA frame, in bytes.
    pub frame_payload: u32,
    /// Channels per session, channel 0 included.
    pub channels: u32,
    /// Per kind, in the order of `Kind::ALL`.
    pub kinds: [KindLimits; 3],
}

/// The smallest and the largest frame payload that may be agreed.
pub const FRAME_PAYLOAD_RANGE: std::ops::RangeInclusive<u32> = 4 * 1024..=64 * 1024;

/// No channel may take messages larger than this, whatever is configured.
pub const MAX_MESSAGE_CEILING: u32 = 64 * 1024 * 1024;

impl Default for Limits {
    fn default() -> Self {
        const KIB: u32 = 1024;
        let kind =
            |max_message, messages, bytes| KindLimits { max_message, window: Window { messages, bytes } };
        Limits {
            frame_payload: 16 * KIB,
            channels: 64,
            kinds: [
                kind(64 * KIB, 256, 256 * KIB),
                kind(64 * KIB, 64, 256 * KIB),
                kind(1024 * KIB, 1024, 1024 * KIB),
            ],
        }
    }
}

impl Limits {
    /// The limits of one kind.
    pub fn kind(&self, kind: Kind) -> KindLimits {
        self.kinds[kind as usize]
    }

    /// The limits that hold between two ends: the smaller of both, field by field.
    pub fn agree(&self, other: &Limits) -> Limits {
        let kinds = std::array::from_fn(|index| {
            let (ours, theirs) = (self.kinds[index], other.kinds[index]);
            KindLimits {
                max_message: ours.max_message.min(theirs.max_message),
                window: Window {
                    messages: ours.window.messages.min(theirs.window.messages),
                    bytes: ours.window.bytes.min(theirs.window.bytes),
                },
            }
        });
        Limits {
            frame_payload: self.frame_payload.min(other.frame_payload),
            channels: self.channels.min(other.channels),
            kinds,
        }
    }

    /// Names the first field whose value cannot work, or nothing (RTT-19, RTT-51).
    pub fn fault(&self) -> Option<&'static str> {
        if !FRAME_PAYLOAD_RANGE.contains(&self.frame_payload) {
            return Some("frame_payload");
        }
        if self.channels == 0 || self.channels > 65_536 {
            return Some("channels");
        }
        for limits in &self.kinds {
            if limits.max_message == 0 || limits.max_message > MAX_MESSAGE_CEILING {
                return Some("max_message");
            }
            if limits.window.messages == 0 || limits.window.bytes < limits.max_message {
                return Some("window");
            }
        }
        None
    }
}

/// What one endpoint chose for its sessions. Everything here is checked once, at construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Announced to the peer; the smaller of both ends holds.
    pub limits: Limits,
    /// PING after this much silence; three of them without a byte mean death (RTT-43, RTT-44).
    pub heartbeat: Nanos,
    /// How long a graceful end waits for both directions to drain (RTT-13).
    pub drain_timeout: Nanos,
    /// An acknowledgement waits at most this long (RTT-27).
    pub ack_delay: Nanos,
    /// Bytes of written, unacknowledged frames that are kept (RTT-28).
    pub resend_bytes: u32,
    /// The part of `resend_bytes` that only control frames may use (RTT-21).
    pub resend_reserve: u32,
    /// How long a session without a carrier is kept for its peer, in milliseconds. 0: not at all.
    pub resume_window_ms: u32,
    /// The sending keys are updated after this long, this many bytes or this many frames (RTT-47).
    pub rekey_after: Nanos,
    /// See `rekey_after`.
    pub rekey_bytes: u64,
    /// See `rekey_after`.
    pub rekey_frames: u64,
    /// A carrier older than this is replaced (RTT-48).
    pub carrier_lifetime: Nanos,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            limits: Limits::default(),
            heartbeat: 5_000 * MILLISECOND,
            drain_timeout: 5_000 * MILLISECOND,
            ack_delay: 25 * MILLISECOND,
            resend_bytes: 4 * 1024 * 1024,
            resend_reserve: 256 * 1024,
            resume_window_ms: 600_000,
            rekey_after: 600_000 * MILLISECOND,
            rekey_bytes: 1 << 30,
            rekey_frames: 1 << 20,
            carrier_lifetime: 24 * 3_600_000 * MILLISECOND,
        }
    }
}

impl Options {
    /// Names the first field whose value cannot work, or nothing.
    pub fn fault(&self) -> Option<&'static str> {
        if let Some(field) = self.limits.fault() {
            return Some(field);
        }
        // Room is asked for a record at a time: each part of the buffer must take one, or nothing is ever written.
        let record = RECORD_BYTES as u32;
        let too_small = self.resend_reserve.saturating_add(record) > self.resend_bytes;
        match () {
            () if self.heartbeat < 10 * MILLISECOND => Some("heartbeat"),
            () if self.drain_timeout == 0 => Some("drain_timeout"),
            () if self.ack_delay == 0 || self.ack_delay > 25 * MILLISECOND => Some("ack_delay"),
            () if self.resend_reserve < record => Some("resend_reserve"),
            () if too_small => Some("resend_bytes"),
            () if self.rekey_after < 10 * MILLISECOND => Some("rekey_after"),
            () if self.rekey_bytes < u64::from(record) => Some("rekey_bytes"),
            () if self.rekey_frames == 0 => Some("rekey_frames"),
            () if self.carrier_lifetime < 10 * MILLISECOND => Some("carrier_lifetime"),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound_and_agree_with_themselves() {
        let options = Options::default();
        assert_eq!(options.fault(), None);
        assert_eq!(options.limits.agree(&options.limits), options.limits);
    }

    #[test]
    fn agreement_takes_the_smaller_field_by_field() {
        let ours = Limits { frame_payload: 8192, ..Limits::default() };
        let theirs = Limits { channels: 3, ..Limits::default() };
        let agreed = ours.agree(&theirs);
        assert_eq!((agreed.frame_payload, agreed.channels), (8192, 3));
    }

    #[test]
    fn faults_name_their_field() {
        let mut limits = Limits::default();
        limits.kinds[2].window.bytes = limits.kinds[2].max_message - 1;
        assert_eq!(limits.fault(), Some("window"));
        let options = Options { heartbeat: 0, ..Options::default() };
        assert_eq!(options.fault(), Some("heartbeat"));
        let options = Options { resend_reserve: 16 * 1024 - 1, ..Options::default() };
        assert_eq!(options.fault(), Some("resend_reserve"));
        let options = Options { resend_bytes: 272 * 1024 - 1, ..Options::default() };
        assert_eq!(options.fault(), Some("resend_bytes"));
    }
}
