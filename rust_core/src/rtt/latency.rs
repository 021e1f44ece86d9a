//! How long the peer takes: one frame at a time is timed from its writing to its acknowledgement, and every PING to its
//! PONG (RTT-59).

use super::histogram::Histogram;
use super::limits::Nanos;
use super::session::Session;

/// A numbered frame that is being timed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timed {
    seq: u64,
    written: Option<Nanos>,
}

#[derive(Debug, Default)]
pub(super) struct Latency {
    pub acknowledgement: Histogram,
    pub heartbeat: Histogram,
    ping: Option<Nanos>,
}

/// To time every frame would cost a clock each; the first one after the last answer is the one that waits longest.
pub(super) fn begin(timed: &mut Option<Timed>, seq: u64) {
    timed.get_or_insert(Timed { seq, written: None });
}

impl Latency {
    /// PING with `now` as its token is about to be written.
    pub fn pinged(&mut self, now: Nanos) {
        self.ping = Some(now);
    }

    /// Only the token of the latest PING answers it; any other says nothing.
    pub fn ponged(&mut self, token: [u8; 8], now: Nanos) {
        if let Some(sent) = self.ping.take_if(|sent| sent.to_be_bytes() == token) {
            self.heartbeat.record(now.saturating_sub(sent));
        }
    }
}

impl Session {
    /// Whether a frame was written whose acknowledgement is to be timed, and `written_at` should say when.
    pub fn wants_time(&self) -> bool {
        self.writing.timed.is_some_and(|timed| timed.written.is_none())
    }

    /// What `transmit` gave was written at `now`, or nobody knows when. A driver that never says so has no
    /// acknowledgement latencies.
    pub fn written_at(&mut self, now: Option<Nanos>) {
        let writing = &mut self.writing;
        writing.timed = writing.timed.take().and_then(|timed| {
            let written = timed.written.or(now)?;
            Some(Timed { written: Some(written), ..timed })
        });
    }

    /// The peer has everything up to `cursor`.
    pub(super) fn time_acknowledgement(&mut self, cursor: u64, now: Nanos) {
        if let Some(timed) = self.writing.timed.take_if(|timed| timed.seq <= cursor)
            && let Some(written) = timed.written
        {
            self.latency.acknowledgement.record(now.saturating_sub(written));
        }
    }
}
