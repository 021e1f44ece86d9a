//! One channel: an ordered stream of messages in each direction (section 6).

use super::code::Code;
use super::inbound::Inbound;
use super::limits::{Kind, KindLimits, Policy, Window};
use super::outbound::Outbound;
use super::stats::ChannelStats;

/// Names a channel in its session; odd ids are the initiator's, even ones the acceptor's (RTT-18).
pub type ChannelId = u32;

/// The control channel that exists in every session.
pub const CHANNEL_ZERO: ChannelId = 0;

/// How far our END is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Open,
    /// To be written once the queue is empty.
    Asked,
    Written,
}

#[derive(Debug)]
pub(crate) struct Channel {
    pub kind: Kind,
    pub name: String,
    pub outbound: Outbound,
    pub inbound: Inbound,
    pub stats: ChannelStats,
    /// Our OPEN has not been written.
    pub announce: bool,
    pub end: End,
    /// The application closed both directions: RESET follows END if the peer has not ended its own.
    pub closing: bool,
    /// A RESET to be written before anything else.
    pub reset_due: Option<Code>,
    /// The channel is over in both directions, by a RESET of this side (`false`) or of the peer (`true`).
    pub reset: Option<(Code, bool)>,
    /// It stands in a queue of the writer.
    pub scheduled: bool,
    /// It stands in the list of channels whose credit is to be written.
    pub credit_listed: bool,
    /// Nobody here holds it any more; it goes once both directions are over.
    pub released: bool,
    /// What the budget has been told that it holds, sent and received.
    pub counted: [u64; 2],
}

impl Channel {
    /// `receive` is what we grant, `credit` what the peer granted; the send queue has the size of our own window.
    pub fn new(kind: Kind, name: &str, policy: Policy, receive: KindLimits, credit: Window) -> Channel {
        Channel {
            kind,
            name: name.to_owned(),
            outbound: Outbound::new(policy, receive.max_message, receive.window, credit),
            inbound: Inbound::new(receive.max_message, receive.window),
            stats: ChannelStats::default(),
            announce: false,
            end: End::Open,
            closing: false,
            reset_due: None,
            reset: None,
            scheduled: false,
            credit_listed: false,
            released: false,
            counted: [0; 2],
        }
    }

    /// Whether it may take messages from the application.
    pub fn may_send(&self) -> bool {
        self.end == End::Open && self.reset.is_none()
    }

    /// Whose turn it takes in the writer. An OPEN goes with control, in the order of ids: a channel of a higher id
    /// could otherwise overtake it, and the peer counts ids.
    pub fn lane(&self) -> Kind {
        if self.announce { Kind::Control } else { self.kind }
    }

    /// Whether the writer could write something for it now.
    pub fn has_work(&self) -> bool {
        self.announce
            || self.reset_due.is_some()
            || (self.reset.is_none()
                && (self.outbound.has_fragment() || self.end_due() || self.late_reset_due()))
    }

    /// Whether what it would write is a fragment of a message.
    pub fn writes_data(&self) -> bool {
        !self.announce && self.reset.is_none() && self.outbound.has_fragment()
    }

    /// END is asked for, and everything before it is written.
    pub fn end_due(&self) -> bool {
        self.end == End::Asked && self.outbound.is_drained()
    }

    /// We ended, nobody here will read, and the peer still may write: tell it to stop.
    pub fn late_reset_due(&self) -> bool {
        self.closing && self.end == End::Written && !self.inbound.ended
    }

    /// The peer may know it: our OPEN is written, or it was the peer's own.
    pub fn is_announced(&self) -> bool {
        !self.announce
    }

    /// Nothing of it will be written any more, RESET aside.
    pub fn is_written(&self) -> bool {
        !self.has_work() && (self.reset.is_some() || self.outbound.is_drained())
    }

    /// Both directions are over. What waits may still be read.
    pub fn is_over(&self) -> bool {
        self.reset_due.is_none() && (self.reset.is_some() || (self.end == End::Written && self.inbound.ended))
    }

    /// The counters with their gauges filled in.
    pub fn measure(&self) -> ChannelStats {
        let mut stats = self.stats;
        self.outbound.measure(&mut stats);
        stats
    }
}
