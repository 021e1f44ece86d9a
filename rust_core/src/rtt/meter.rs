//! What sessions have done, added up over any number of them (RTT-59).

use super::channel::Channel;
use super::histogram::Histogram;
use super::limits::Kind;
use super::session::{Session, State};

/// Totals of the channels of one kind. Frames are those that carry messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindTotals {
    pub frames_sent: u64,
    pub frames_received: u64,
    pub messages_sent: u64,
    pub messages_received: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub messages_lost: u64,
    pub dropped_oldest: u64,
    pub dropped_newest: u64,
    pub blocked: u64,
    pub overflows: u64,
    /// Messages and bytes that wait to be written now.
    pub queued: u64,
    pub queued_bytes: u64,
    /// Messages that wait to be read now, and all bytes held of received ones.
    pub unread: u64,
    pub unread_bytes: u64,
}

impl KindTotals {
    /// Every field by its name.
    pub fn fields(&self) -> [(&'static str, u64); 15] {
        [
            ("frames_sent", self.frames_sent),
            ("frames_received", self.frames_received),
            ("messages_sent", self.messages_sent),
            ("messages_received", self.messages_received),
            ("bytes_sent", self.bytes_sent),
            ("bytes_received", self.bytes_received),
            ("messages_lost", self.messages_lost),
            ("dropped_oldest", self.dropped_oldest),
            ("dropped_newest", self.dropped_newest),
            ("blocked", self.blocked),
            ("overflows", self.overflows),
            ("queued", self.queued),
            ("queued_bytes", self.queued_bytes),
            ("unread", self.unread),
            ("unread_bytes", self.unread_bytes),
        ]
    }

    fn add(&mut self, other: &KindTotals) {
        self.frames_sent += other.frames_sent;
        self.frames_received += other.frames_received;
        self.messages_sent += other.messages_sent;
        self.messages_received += other.messages_received;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.messages_lost += other.messages_lost;
        self.dropped_oldest += other.dropped_oldest;
        self.dropped_newest += other.dropped_newest;
        self.blocked += other.blocked;
        self.overflows += other.overflows;
        self.queued += other.queued;
        self.queued_bytes += other.queued_bytes;
        self.unread += other.unread;
        self.unread_bytes += other.unread_bytes;
    }

    /// Adds what a channel has done; what it holds counts while its session lives.
    pub(super) fn add_channel(&mut self, channel: &Channel, live: bool) {
        let stats = channel.measure();
        self.add(&KindTotals {
            frames_sent: stats.frames_sent,
            frames_received: stats.frames_received,
            messages_sent: stats.sent,
            messages_received: stats.received,
            bytes_sent: stats.sent_bytes,
            bytes_received: stats.received_bytes,
            messages_lost: stats.lost,
            dropped_oldest: stats.dropped_oldest,
            dropped_newest: stats.dropped_newest,
            blocked: stats.blocked,
            overflows: stats.overflow_events,
            ..KindTotals::default()
        });
        if live {
            self.queued += stats.queued;
            self.queued_bytes += stats.queued_bytes;
            self.unread += channel.inbound.waiting() as u64;
            self.unread_bytes += channel.inbound.held_bytes();
        }
    }
}

/// The totals of any number of sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// Per kind, in the order of `Kind::ALL`.
    pub kinds: [KindTotals; 3],
    /// All frames, those without messages included.
    pub frames_sent: u64,
    pub frames_received: u64,
    /// Numbered frames that had arrived before, and were dropped (RTT-50).
    pub replayed: u64,
    /// Numbered frames that were written again after a resume.
    pub resent: u64,
    /// Carriers that a session went on upon, and updates of our sending keys.
    pub resumes: u64,
    pub rekeys: u64,
    /// Optional frames of a type unknown here (RTT-16).
    pub skipped: u64,
    /// Bytes of written frames that are kept for resending now.
    pub resend_bytes: u64,
    /// How often each limit was hit, by its name.
    pub limits: Vec<(&'static str, u64)>,
    /// From PING to PONG.
    pub heartbeat: Histogram,
    /// From writing a numbered frame to its acknowledgement, sampled.
    pub acknowledgement: Histogram,
}

impl Meter {
    /// Adds one session. What it holds counts only while it is not closed.
    pub fn add_session(&mut self, session: &Session) {
        let live = session.state != State::Closed;
        for channel in session.channels.values() {
            self.kinds[channel.kind as usize].add_channel(channel, live);
        }
        if let Some(forgotten) = &session.forgotten {
            for kind in Kind::ALL {
                self.kinds[kind as usize].add(&forgotten[kind as usize]);
            }
        }
        let stats = session.stats();
        self.frames_sent += stats.frames_sent;
        self.frames_received += stats.frames_received;
        self.replayed += stats.replayed;
        self.skipped += stats.skipped;
        self.resent += stats.resent;
        self.resumes += stats.resumes;
        self.rekeys += stats.rekeys;
        self.resend_bytes += if live { stats.resend_bytes } else { 0 };
        for &(name, count) in &session.limits {
            hit(&mut self.limits, name, count);
        }
        for (name, count) in session.memory.iter().flat_map(|memory| memory.hits()) {
            if count > 0 {
                hit(&mut self.limits, name, count);
            }
        }
        self.heartbeat.merge(&session.latency.heartbeat);
        self.acknowledgement.merge(&session.latency.acknowledgement);
    }

    /// Every total that is of no kind, by its name.
    pub fn fields(&self) -> [(&'static str, u64); 8] {
        [
            ("frames_sent", self.frames_sent),
            ("frames_received", self.frames_received),
            ("replayed", self.replayed),
            ("resent", self.resent),
            ("resumes", self.resumes),
            ("rekeys", self.rekeys),
            ("skipped", self.skipped),
            ("resend_bytes", self.resend_bytes),
        ]
    }

    /// Adds another meter.
    pub fn merge(&mut self, other: &Meter) {
        for kind in Kind::ALL {
            self.kinds[kind as usize].add(&other.kinds[kind as usize]);
        }
        self.frames_sent += other.frames_sent;
        self.frames_received += other.frames_received;
        self.replayed += other.replayed;
        self.skipped += other.skipped;
        self.resent += other.resent;
        self.resumes += other.resumes;
        self.rekeys += other.rekeys;
        self.resend_bytes += other.resend_bytes;
        for &(name, count) in &other.limits {
            hit(&mut self.limits, name, count);
        }
        self.heartbeat.merge(&other.heartbeat);
        self.acknowledgement.merge(&other.acknowledgement);
    }
}

/// Counts a limit among those that were hit; there are as many as `Session::LIMITS` names.
fn hit(limits: &mut Vec<(&'static str, u64)>, name: &'static str, count: u64) {
    match limits.iter_mut().find(|limit| limit.0 == name) {
        Some(limit) => limit.1 += count,
        None => limits.push((name, count)),
    }
}

impl Session {
    /// The limits of section 15 that lie inside a session, by the words of their codes.
    pub const LIMITS: [&'static str; 11] = [
        "too_many_channels",
        "message_too_large",
        "batch_too_large",
        "frame_too_large",
        "credit_overrun",
        "bad_window",
        "ping_flood",
        "open_flood",
        "resend_buffer",
        "memory_per_peer",
        "memory",
    ];

    /// Counts that a limit was hit, by this side or by the peer (RTT-51). Other words count nothing.
    pub(super) fn count_limit(&mut self, word: &str) {
        if let Some(name) = Self::LIMITS.into_iter().find(|name| *name == word) {
            hit(&mut self.limits, name, 1);
        }
    }

    /// Keeps the totals of a channel that goes.
    pub(super) fn keep_totals(&mut self, channel: &Channel) {
        self.forgotten.get_or_insert_default()[channel.kind as usize].add_channel(channel, false);
    }
}
