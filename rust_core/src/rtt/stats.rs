//! What is counted, per channel and per session.

/// Counters and gauges of one channel (RTT-42).
///
/// At every instant `attempted = accepted + dropped_newest + failed + cancelled + waiting`, and
/// `accepted = queued + in_flight + acknowledged + dropped_oldest + lost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelStats {
    pub attempted: u64,
    pub accepted: u64,
    pub dropped_oldest: u64,
    pub dropped_newest: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub waiting: u64,
    pub blocked: u64,
    pub overflow_events: u64,
    pub queued: u64,
    pub queued_bytes: u64,
    pub max_queued: u64,
    pub in_flight: u64,
    pub acknowledged: u64,
    pub lost: u64,
    pub sent: u64,
    pub sent_bytes: u64,
    pub received: u64,
    pub received_bytes: u64,
    /// Frames that carried messages; not among the fields of RTT-42.
    pub frames_sent: u64,
    pub frames_received: u64,
}

impl ChannelStats {
    /// Every field by its name, in the order of RTT-42, the sum `dropped` included.
    pub fn fields(&self) -> [(&'static str, u64); 20] {
        [
            ("attempted", self.attempted),
            ("accepted", self.accepted),
            ("dropped_oldest", self.dropped_oldest),
            ("dropped_newest", self.dropped_newest),
            ("dropped", self.dropped_oldest + self.dropped_newest),
            ("failed", self.failed),
            ("cancelled", self.cancelled),
            ("waiting", self.waiting),
            ("blocked", self.blocked),
            ("overflow_events", self.overflow_events),
            ("queued", self.queued),
            ("queued_bytes", self.queued_bytes),
            ("max_queued", self.max_queued),
            ("in_flight", self.in_flight),
            ("acknowledged", self.acknowledged),
            ("lost", self.lost),
            ("sent", self.sent),
            ("sent_bytes", self.sent_bytes),
            ("received", self.received),
            ("received_bytes", self.received_bytes),
        ]
    }

    /// Whether both balances of RTT-42 hold.
    pub fn balances(&self) -> bool {
        self.attempted == self.accepted + self.dropped_newest + self.failed + self.cancelled + self.waiting
            && self.accepted
                == self.queued + self.in_flight + self.acknowledged + self.dropped_oldest + self.lost
    }
}

/// Counters of one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionStats {
    pub frames_sent: u64,
    pub frames_received: u64,
    pub replayed: u64,
    /// Numbered frames written again after a resume.
    pub resent: u64,
    pub resumes: u64,
    pub rekeys: u64,
    pub skipped: u64,
    pub acks_sent: u64,
    pub pings_sent: u64,
    pub resend_bytes: u64,
    /// Messages lost by resets that are no longer listed by `Session::take_lost`.
    pub lost_unlisted: u64,
}

impl SessionStats {
    /// Every field by its name.
    pub fn fields(&self) -> [(&'static str, u64); 11] {
        [
            ("frames_sent", self.frames_sent),
            ("frames_received", self.frames_received),
            ("replayed", self.replayed),
            ("resent", self.resent),
            ("resumes", self.resumes),
            ("rekeys", self.rekeys),
            ("skipped", self.skipped),
            ("acks_sent", self.acks_sent),
            ("pings_sent", self.pings_sent),
            ("resend_bytes", self.resend_bytes),
            ("lost_unlisted", self.lost_unlisted),
        ]
    }
}
