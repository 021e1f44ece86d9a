//! Everything a session does because time passed: acknowledge, prove life, notice death, stop waiting.

use super::code::Code;
use super::limits::{Nanos, Options};
use super::session::{Event, Session, State};

/// Silence of this many heartbeat intervals is death (RTT-44).
const DEATH: u64 = 3;
/// More PINGs than this in a second are a violation (RTT-44).
const PINGS_PER_SECOND: u32 = 20;
const SECOND: Nanos = 1_000_000_000;

#[derive(Debug)]
pub(super) struct Timing {
    heard: Nanos,
    ping_at: Option<Nanos>,
    death_at: Option<Nanos>,
    ack_at: Option<Nanos>,
    drain_at: Option<Nanos>,
    ping_window: (Nanos, u32),
}

impl Timing {
    pub fn new(now: Nanos, options: &Options) -> Timing {
        Timing {
            heard: now,
            ping_at: Some(now + options.heartbeat),
            death_at: Some(now + DEATH * options.heartbeat),
            ack_at: None,
            drain_at: None,
            ping_window: (now, 0),
        }
    }

    /// Authenticated bytes from the peer, and only they, prove life (RTT-43).
    pub fn heard(&mut self, now: Nanos, options: &Options) {
        self.heard = now;
        if self.ping_at.is_some() {
            self.ping_at = Some(now + options.heartbeat);
            self.death_at = Some(now + DEATH * options.heartbeat);
        }
    }

    /// Something waits to be acknowledged.
    pub fn ack_within(&mut self, now: Nanos, options: &Options) {
        self.ack_at.get_or_insert(now + options.ack_delay);
    }

    pub fn acked(&mut self) {
        self.ack_at = None;
    }

    pub fn drain_until(&mut self, now: Nanos, options: &Options) {
        self.drain_at = Some(now + options.drain_timeout);
    }

    pub fn stop(&mut self) {
        (self.ping_at, self.death_at, self.ack_at, self.drain_at) = (None, None, None, None);
    }

    /// Counts a PING of the peer; false when it is one too many.
    pub fn allow_ping(&mut self, now: Nanos) -> bool {
        if now.saturating_sub(self.ping_window.0) >= SECOND {
            self.ping_window = (now, 0);
        }
        self.ping_window.1 += 1;
        self.ping_window.1 <= PINGS_PER_SECOND
    }

    fn next(&self) -> Option<Nanos> {
        [self.ping_at, self.death_at, self.ack_at, self.drain_at].into_iter().flatten().min()
    }
}

impl Session {
    /// When `handle_timeout` wants to be called next, if nothing else happens before.
    pub fn deadline(&self) -> Option<Nanos> {
        self.timing.next()
    }

    /// Does what is due at `now`. Bytes that have arrived by then must have been taken in before, or a process that
    /// was stopped for a while would take its own absence for the peer's.
    pub fn handle_timeout(&mut self, now: Nanos) {
        let due = |at: Option<Nanos>| at.is_some_and(|at| at <= now);
        if due(self.timing.drain_at) && self.state == State::Closing {
            self.close("local", Code::NORMAL, "", true);
            return;
        }
        if due(self.timing.death_at) {
            self.events.push_back(Event::HeartbeatTimeout);
            self.close("heartbeat_timeout", Code::HEARTBEAT_TIMEOUT, "", true);
            return;
        }
        if due(self.timing.ping_at) {
            self.timing.ping_at = Some(now + self.options.heartbeat);
            self.writing.ping_due(now);
        }
        if due(self.timing.ack_at) {
            self.timing.ack_at = None;
            self.writing.ack_due();
        }
    }
}
