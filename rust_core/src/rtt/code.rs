//! The one table of codes that RTT frames carry: why a carrier was refused, a channel reset, a session closed.

use std::fmt;

/// A code on the wire: a number for the frame, a stable lowercase word for people and programs.
///
/// Numbers this build does not know stay what they are; their word is `unknown_code`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u16);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal $word:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Code = Code($number);)*

            /// Every code this build knows, with its word.
            pub const ALL: &'static [(Code, &'static str)] = &[$((Code::$name, $word)),*];
        }
    };
}

codes! {
    /// An orderly end.
    NORMAL = 0x0000 "normal";
    /// The application ended it; the reason text is the application's own word.
    APPLICATION = 0x0001 "application";
    /// Nothing was heard from the peer for three heartbeat intervals (RTT-44).
    HEARTBEAT_TIMEOUT = 0x0002 "heartbeat_timeout";

    /// No frame version in common (RTT-15).
    VERSION = 0x0100 "version";
    /// An extension is critical and unknown (RTT-16).
    EXTENSION = 0x0101 "extension";
    /// The acceptor's `admit` said no, and nothing tells why (RTT-6).
    NOT_ADMITTED = 0x0102 "not_admitted";
    /// No such session, or not this peer's (RTT-33).
    UNKNOWN_SESSION = 0x0103 "unknown_session";
    /// The ticket was used before (RTT-32).
    TICKET_SPENT = 0x0104 "ticket_spent";
    /// The resume window is over (RTT-34).
    TICKET_EXPIRED = 0x0105 "ticket_expired";
    /// The epoch is not above the current one (RTT-31).
    STALE_EPOCH = 0x0106 "stale_epoch";
    /// The endpoint is full; worth another try later (RTT-36).
    BUSY = 0x0107 "busy";
    /// This peer has as many sessions or as much memory as it may (RTT-36).
    LIMIT = 0x0108 "limit";

    /// A channel of a kind nobody here knows (RTT-18).
    UNKNOWN_KIND = 0x0200 "unknown_kind";
    /// Credit bytes below the largest message, or limits beyond the agreed ones (RTT-19).
    BAD_WINDOW = 0x0201 "bad_window";
    /// One channel more than agreed.
    TOO_MANY_CHANNELS = 0x0202 "too_many_channels";
    /// The application ended the channel in both directions.
    CANCELLED = 0x0203 "cancelled";

    /// The first byte of a carrier is not the version of the opening format (RTT-15).
    BAD_OPENING = 0x0300 "bad_opening";
    /// A frame is truncated, too long for its fields, or holds a value outside its range (RTT-17).
    MALFORMED = 0x0301 "malformed";
    /// A core or reserved frame type without a meaning (RTT-16).
    UNKNOWN_FRAME = 0x0302 "unknown_frame";
    /// A flag without a meaning (RTT-16).
    UNKNOWN_FLAG = 0x0303 "unknown_flag";
    /// The state does not allow this frame (RTT-17).
    OUT_OF_STATE = 0x0304 "out_of_state";
    /// Longer than the agreed frame payload.
    FRAME_TOO_LARGE = 0x0305 "frame_too_large";
    /// Longer than the largest message of its channel.
    MESSAGE_TOO_LARGE = 0x0306 "message_too_large";
    /// A sequence number was skipped (RTT-50).
    SEQUENCE_GAP = 0x0307 "sequence_gap";
    /// A cursor beyond what was written, or below an earlier one (RTT-29).
    BAD_CURSOR = 0x0308 "bad_cursor";
    /// More was sent than the receiver granted (RTT-38).
    CREDIT_OVERRUN = 0x0309 "credit_overrun";
    /// Credit that shrinks (RTT-38).
    BAD_CREDIT = 0x030a "bad_credit";
    /// A frame for a channel that never was, or an id out of turn (RTT-18).
    BAD_CHANNEL = 0x030b "bad_channel";
    /// Fragments that do not make one message (RTT-26).
    BAD_FRAGMENT = 0x030c "bad_fragment";
    /// More than 20 PINGs a second (RTT-44).
    PING_FLOOD = 0x030d "ping_flood";
    /// A message after END or SHUTDOWN of its direction.
    AFTER_END = 0x030e "after_end";
    /// So many refused channels that no peer which reads its resets could have opened them (RTT-53).
    OPEN_FLOOD = 0x030f "open_flood";
}

impl Code {
    /// The stable word of this code.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(code, _)| *code == self).map_or("unknown_code", |(_, word)| word)
    }

    /// Whether a refused opening may be tried again (RTT-36).
    pub fn is_retryable(self) -> bool {
        self == Self::BUSY || self == Self::LIMIT
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}({:#06x})", self.word(), self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn words_and_numbers_are_unique() {
        let numbers: HashSet<u16> = Code::ALL.iter().map(|(code, _)| code.0).collect();
        let words: HashSet<&str> = Code::ALL.iter().map(|(_, word)| *word).collect();
        assert_eq!(numbers.len(), Code::ALL.len());
        assert_eq!(words.len(), Code::ALL.len());
        assert_eq!(Code(0xffff).word(), "unknown_code");
    }
}
