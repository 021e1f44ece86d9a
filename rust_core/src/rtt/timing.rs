//! Everything a session does because time passed: acknowledge, prove life, notice death, stop waiting.

use std::collections::VecDeque;

use super::code::Code;
use super::limits::{Nanos, Options};
use super::session::{Event, Session, State};

/// Silence of this many heartbeat intervals is death (RTT-44).
const DEATH: u64 = 3;
/// More PINGs than this in a second are a violation (RTT-44).
const PINGS_PER_SECOND: usize = 20;
const SECOND: Nanos = 1_000_000_000;

#[derive(Debug)]
pub(super) struct Timing {
    ping_at: Option<Nanos>,
    death_at: Option<Nanos>,
    ack_at: Option<Nanos>,
    drain_at: Option<Nanos>,
    expire_at: Option<Nanos>,
    rekey_at: Option<Nanos>,
    replace_at: Option<Nanos>,
    /// When the peer's PINGs of the last second came.
    pings: VecDeque<Nanos>,
}

impl Timing {
    pub fn new(now: Nanos, options: &Options) -> Timing {
        let mut timing = Timing {
            ping_at: None,
            death_at: None,
            ack_at: None,
            drain_at: None,
            expire_at: None,
            rekey_at: None,
            replace_at: None,
            pings: VecDeque::new(),
        };
        timing.restart(now, options);
        timing
    }

    /// A carrier begins its service.
    pub fn restart(&mut self, now: Nanos, options: &Options) {
        self.stop();
        self.ping_at = Some(now.saturating_add(options.heartbeat));
        self.death_at = Some(death(now, options));
        self.rekey_at = Some(now.saturating_add(options.rekey_after));
        self.replace_at = Some(now.saturating_add(options.carrier_lifetime));
    }

    /// The session has no carrier, and is lost at that time.
    pub fn expire_at(&mut self, at: Nanos) {
        self.expire_at = Some(at);
    }

    pub fn is_expired(&self, now: Nanos) -> bool {
        self.expire_at.is_some_and(|at| at <= now)
    }

    /// Authenticated bytes from the peer, and only they, prove life (RTT-43).
    pub fn heard(&mut self, now: Nanos, options: &Options) {
        if self.ping_at.is_some() {
            self.ping_at = Some(now.saturating_add(options.heartbeat));
            self.death_at = Some(death(now, options));
        }
    }

    /// Something waits to be acknowledged.
    pub fn ack_within(&mut self, now: Nanos, options: &Options) {
        self.ack_at.get_or_insert(now.saturating_add(options.ack_delay));
    }

    pub fn acked(&mut self) {
        self.ack_at = None;
    }

    pub fn drain_until(&mut self, now: Nanos, options: &Options) {
        self.drain_at = Some(now.saturating_add(options.drain_timeout));
    }

    pub fn stop(&mut self) {
        (self.ping_at, self.death_at, self.ack_at, self.drain_at) = (None, None, None, None);
        (self.expire_at, self.rekey_at, self.replace_at) = (None, None, None);
    }

    /// Counts a PING of the peer; false when it is one too many.
    pub fn allow_ping(&mut self, now: Nanos) -> bool {
        while self.pings.front().is_some_and(|at| now.saturating_sub(*at) >= SECOND) {
            self.pings.pop_front();
        }
        let allowed = self.pings.len() < PINGS_PER_SECOND;
        if allowed {
            self.pings.push_back(now);
        }
        allowed
    }

    fn next(&self) -> Option<Nanos> {
        let moments = [
            self.ping_at,
            self.death_at,
            self.ack_at,
            self.drain_at,
            self.expire_at,
            self.rekey_at,
            self.replace_at,
        ];
        moments.into_iter().flatten().min()
    }
}

fn death(now: Nanos, options: &Options) -> Nanos {
    now.saturating_add(options.heartbeat.saturating_mul(DEATH))
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
        self.recheck_memory();
        if due(self.timing.drain_at) && self.state == State::Closing {
            self.close("local", Code::NORMAL, "", true);
            return;
        }
        if due(self.timing.death_at) {
            self.events.push_back(Event::HeartbeatTimeout);
            // While closing, a carrier that ends is what was asked for (section 4).
            if self.state == State::Closing {
                self.close("local", Code::HEARTBEAT_TIMEOUT, "", true);
            } else if self.resumption.is_some() && !self.peer_shutdown {
                self.suspend("heartbeat_timeout", now);
            } else {
                self.close("heartbeat_timeout", Code::HEARTBEAT_TIMEOUT, "", true);
            }
            return;
        }
        if self.timing.is_expired(now) {
            self.lose("expired", Code::TICKET_EXPIRED);
            return;
        }
        if due(self.timing.rekey_at) {
            self.timing.rekey_at = Some(now.saturating_add(self.options.rekey_after));
            self.writing.rekey_due();
        }
        if due(self.timing.replace_at) {
            let again = now.saturating_add(self.options.heartbeat);
            self.timing.replace_at = self.agreement.initiator.then_some(again);
            if self.agreement.initiator && self.resumption.is_some() && self.state == State::Open {
                self.events.push_back(Event::CarrierAged);
            }
        }
        if due(self.timing.ping_at) {
            self.timing.ping_at = Some(now.saturating_add(self.options.heartbeat));
            self.writing.ping_due(now);
            self.latency.pinged(now);
            self.rest();
        }
        if due(self.timing.ack_at) {
            self.timing.ack_at = None;
            self.writing.ack_due();
        }
    }

    /// Gives back the memory that queues keep from busier times (RTT-52). A heartbeat is the sign of an idle
    /// session: the end that sends PING heard nothing for an interval, the other one wrote nothing.
    pub(super) fn rest(&mut self) {
        self.writing.rest();
        self.events.shrink_to_fit();
        self.partial.shrink_to_fit();
        if let Some(memory) = &mut self.memory {
            memory.rest();
        }
        self.notice_freed();
        for channel in self.channels.values_mut() {
            channel.outbound.rest();
            channel.inbound.rest();
        }
    }
}
