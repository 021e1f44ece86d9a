//! A session: what two endpoints share, whatever carries it (section 4). Commands go in here; `reading` and
//! `writing` are its two ends towards the carrier, `timing` its relation to time, `ending` how it and its channels end.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::budget::{Share, Way};
use super::channel::{CHANNEL_ZERO, Channel, ChannelId};
use super::code::Code;
use super::frame::MAX_NAME;
use super::latency::Latency;
use super::limits::{Kind, Limits, Nanos, Options, Policy};
use super::memory::Allowance;
use super::meter::KindTotals;
use super::opening_frame::SessionId;
use super::outbound::{Offered, SendError, Ticket, Unacknowledged};
use super::resume::Resumption;
use super::stats::{ChannelStats, SessionStats};
use super::timing::Timing;
use super::writing::Writing;

/// How many times as many channels as agreed may exist, those included that wait for nothing but acknowledgements.
const LINGERING: usize = 4;

/// What both ends settled when the session opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Whether this side dialled the session's first carrier.
    pub initiator: bool,
    /// The limits that hold.
    pub limits: Limits,
    /// The smaller resume window of both.
    pub resume_window_ms: u32,
}

/// Something the driver of a session has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer opened a channel.
    ChannelOpened(ChannelId),
    /// Messages can be taken out, or the end or a reset can be seen, where before there was nothing.
    Readable(ChannelId),
    /// A waiting batch was accepted.
    SendDone(Ticket),
    /// A waiting batch was not accepted, or a flush cannot complete: look at the channel, then at the session.
    WaitFailed(Ticket),
    /// A flush is complete.
    FlushDone(Ticket),
    /// The peer sends no more messages on any channel.
    PeerShutdown,
    /// Three intervals of silence (RTT-44).
    HeartbeatTimeout,
    /// The session has no carrier; `Session::suspension` says why.
    Suspended,
    /// The session goes on, on another carrier.
    Resumed,
    /// The keys of our direction were updated (RTT-47).
    Rekeyed,
    /// Memory was given back that other sessions wait for: `Budget::take_waiting` names them.
    MemoryFreed,
    /// The carrier is old: replace it by resuming on a new one (RTT-48).
    CarrierAged,
    /// The session is closed; `Session::closed` says why.
    Closed,
}

/// Where a session is in its life, seen from this core: it begins open (RTT-37).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Messages flow.
    Open,
    /// Between two carriers: messages wait (section 9).
    Suspended,
    /// Draining (RTT-13).
    Closing,
    /// Final.
    Closed,
}

/// Why a session is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// `local`, `peer`, `protocol_error`, `lost`, or without a resume window `connection_lost` or `heartbeat_timeout`.
    pub reason: &'static str,
    /// If the session was lost: how, as `SessionLost` says it (RTT-25).
    pub loss: Option<&'static str>,
    /// The code of the CLOSE that was sent or received.
    pub code: Code,
    /// The reason text of that CLOSE.
    pub text: String,
}

/// A message that was accepted and not acknowledged when the session ended (RTT-25).
#[derive(Debug)]
pub struct Lost {
    /// The channel's id.
    pub channel: ChannelId,
    /// The channel's name.
    pub name: String,
    /// The channel's kind.
    pub kind: Kind,
    /// The message.
    pub message: Unacknowledged,
}

/// One end of a session. Sans-I/O: bytes, commands and `now` go in; bytes, messages, events and the next deadline
/// come out (RTT-1).
#[derive(Debug)]
pub struct Session {
    pub(super) id: SessionId,
    pub(super) agreement: Agreement,
    pub(super) options: Options,
    pub(super) state: State,
    pub(super) closed: Option<Closed>,
    pub(super) epoch: u32,
    pub(super) suspension: Option<&'static str>,
    pub(super) resumption: Option<Box<Resumption>>,
    /// Boxed, because a map of them makes room for several at once and most sessions have one (RTT-52).
    pub(super) channels: BTreeMap<ChannelId, Box<Channel>>,
    pub(super) next_local: ChannelId,
    pub(super) next_remote: ChannelId,
    pub(super) events: VecDeque<Event>,
    pub(super) lost: VecDeque<Lost>,
    pub(super) lost_bytes: usize,
    /// What the budget has been told of `lost_bytes`.
    pub(super) lost_counted: [u64; 2],
    pub(super) peer_shutdown: bool,
    pub(super) cursor: u64,
    pub(super) partial: Vec<u8>,
    pub(super) writing: Writing,
    pub(super) timing: Timing,
    pub(super) stats: SessionStats,
    pub(super) latency: Latency,
    /// How often each limit was hit, by its name.
    pub(super) limits: Vec<(&'static str, u64)>,
    /// What channels did that are gone, per kind.
    pub(super) forgotten: Option<Box<[KindTotals; 3]>>,
    /// A channel of which the budget has not been told what it received just now.
    pub(super) uncounted: Option<ChannelId>,
    /// Its part of a budget, if it has to keep to one.
    pub(super) memory: Option<Box<Share>>,
}

impl Session {
    /// A session that was just opened.
    pub fn new(id: SessionId, agreement: Agreement, options: &Options, now: Nanos) -> Session {
        let control = agreement.limits.kind(Kind::Control);
        let zero = Channel::new(Kind::Control, "control", Policy::Block, control, control.window);
        let (next_local, next_remote) = if agreement.initiator { (1, 2) } else { (2, 1) };
        Session {
            id,
            agreement,
            options: *options,
            state: State::Open,
            closed: None,
            epoch: 0,
            suspension: None,
            resumption: None,
            channels: BTreeMap::from([(CHANNEL_ZERO, Box::new(zero))]),
            next_local,
            next_remote,
            events: VecDeque::new(),
            lost: VecDeque::new(),
            lost_bytes: 0,
            lost_counted: [0; 2],
            peer_shutdown: false,
            cursor: 0,
            partial: Vec::new(),
            writing: Writing::default(),
            timing: Timing::new(now, options),
            stats: SessionStats::default(),
            latency: Latency::default(),
            limits: Vec::new(),
            forgotten: None,
            uncounted: None,
            memory: None,
        }
    }

    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// What was agreed.
    pub fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// Where the session is in its life.
    pub fn state(&self) -> State {
        self.state
    }

    /// Why it is closed, once it is.
    pub fn closed(&self) -> Option<&Closed> {
        self.closed.as_ref()
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How many numbered frames have got through, either way. A carrier that adds nothing to it was of no use.
    pub fn progress(&self) -> u64 {
        self.cursor + self.writing.resend.acknowledged()
    }

    /// Whether `poll_event` has something.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether the next write grants credit.
    pub fn grants_credit(&self) -> bool {
        self.writing.grants_credit()
    }

    /// Why a channel was reset, and whether by the peer.
    pub fn channel_reset(&self, channel: ChannelId) -> Option<(Code, bool)> {
        self.channels.get(&channel).and_then(|entry| entry.reset)
    }

    /// What was accepted and never acknowledged, by channel and in order of acceptance; empties the list.
    ///
    /// Complete for the channels that lived until the session closed. What resets of channels lost before that is
    /// kept up to the size of the resend buffer, latest first; `SessionStats::lost_unlisted` counts the rest.
    pub fn take_lost(&mut self) -> Vec<Lost> {
        self.lost_bytes = 0;
        self.count_lost();
        std::mem::take(&mut self.lost).into()
    }

    /// Opens a channel; the peer learns of it with the next write (RTT-65).
    pub fn open_channel(&mut self, kind: Kind, name: &str, policy: Policy) -> Result<ChannelId, OpenError> {
        if !self.takes_messages() {
            return Err(OpenError::SessionClosed);
        }
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        {
            return Err(OpenError::BadName);
        }
        if !kind.allows(policy) {
            return Err(OpenError::BadPolicy);
        }
        if !self.has_room_for_channel() {
            self.count_limit(Code::TOO_MANY_CHANNELS.word());
            return Err(OpenError::TooManyChannels);
        }
        let id = self.next_local;
        self.next_local = id.checked_add(2).ok_or(OpenError::TooManyChannels)?;
        let limits = self.agreement.limits.kind(kind);
        let mut channel = Channel::new(kind, name, policy, limits, limits.window);
        channel.announce = true;
        channel.inbound.ended = self.peer_shutdown;
        self.channels.insert(id, Box::new(channel));
        self.schedule(id);
        Ok(id)
    }

    /// Chooses the policy for what this side sends on a channel that the peer opened.
    pub fn set_policy(&mut self, channel: ChannelId, policy: Policy) -> Result<(), OpenError> {
        let channel = self.channels.get_mut(&channel).ok_or(OpenError::SessionClosed)?;
        if !channel.kind.allows(policy) {
            return Err(OpenError::BadPolicy);
        }
        channel.outbound.policy = policy;
        Ok(())
    }

    /// Hands messages to a channel, in order, as its policy says. `Offered::Waiting` is concluded by an event with
    /// `ticket`; with `wait` false nothing waits.
    pub fn send(
        &mut self,
        channel: ChannelId,
        messages: Vec<Bytes>,
        wait: bool,
        ticket: Ticket,
    ) -> Result<Offered, SendError> {
        if !self.takes_messages() {
            return Err(SendError::SessionClosed);
        }
        let entry = self.channels.get_mut(&channel).ok_or(SendError::ChannelClosed)?;
        if !entry.may_send() {
            return Err(SendError::ChannelClosed);
        }
        let before = entry.outbound.has_waiters();
        let (count, bytes) = (messages.len(), messages.iter().map(Bytes::len).sum());
        let mut room = Allowance::to_send(&self.memory, entry.kind);
        let scarce = !before && !room.takes(count, bytes);
        let offered = entry.outbound.offer(messages, wait, ticket, &mut room, &mut entry.stats);
        if let Some(memory) = &mut self.memory {
            match &offered {
                Ok(Offered::AllAccepted) => memory.found_room(),
                Ok(Offered::Waiting) if scarce => memory.wait(Way::Sent, entry.kind),
                Ok(Offered::Each(_)) | Err(SendError::QueueFull) if scarce => {
                    memory.hit(Way::Sent, entry.kind);
                }
                _ => {}
            }
        }
        entry.count(&mut self.memory);
        let offered = offered.inspect_err(|error| match error {
            SendError::MessageTooLarge => self.count_limit("message_too_large"),
            SendError::BatchTooLarge => self.count_limit("batch_too_large"),
            _ => {}
        })?;
        if matches!(offered, Offered::Each(_)) {
            // A flush may have waited for nothing but what was evicted.
            self.complete_flushes(channel);
        }
        self.schedule(channel);
        Ok(offered)
    }

    /// Whether the application may send: with a carrier or between two.
    fn takes_messages(&self) -> bool {
        matches!(self.state, State::Open | State::Suspended)
    }

    /// Whether a message of this size may wait a moment before it is written: it is not control, and has room.
    pub fn may_share_write(&self, channel: ChannelId, size: usize) -> bool {
        let may = |entry: &Channel| entry.kind != Kind::Control && entry.outbound.has_room(size);
        self.channels.get(&channel).is_some_and(|entry| may(entry))
    }

    /// Takes a batch back that still waits. False when it was accepted, or failed, already (RTT-62).
    pub fn cancel_send(&mut self, channel: ChannelId, ticket: Ticket) -> bool {
        let Some(entry) = self.channels.get_mut(&channel) else { return false };
        let cancelled = entry.outbound.cancel(ticket, &mut entry.stats);
        if cancelled {
            // A large batch at the head may have held back smaller ones behind it.
            self.admit_waiters(channel);
        }
        cancelled
    }

    /// Waits for the acknowledgement of everything accepted so far. True when there is nothing to wait for.
    pub fn flush(&mut self, channel: ChannelId, ticket: Ticket) -> Result<bool, SendError> {
        if self.state == State::Closed {
            return Err(SendError::SessionClosed);
        }
        let entry = self.channels.get_mut(&channel).ok_or(SendError::ChannelClosed)?;
        if entry.reset.is_some() {
            return Err(SendError::ChannelClosed);
        }
        Ok(entry.outbound.flush(ticket))
    }

    /// Forgets a flush.
    pub fn cancel_flush(&mut self, channel: ChannelId, ticket: Ticket) {
        if let Some(entry) = self.channels.get_mut(&channel) {
            entry.outbound.cancel_flush(ticket);
        }
    }

    /// Takes the oldest message out of a channel. That frees credit, which the next write grants.
    pub fn receive(&mut self, channel: ChannelId) -> Result<Vec<u8>, Nothing> {
        let closed = self.state == State::Closed;
        let entry = self.channels.get_mut(&channel).ok_or(Nothing::Ended)?;
        match entry.inbound.take() {
            Some(message) => {
                entry.count(&mut self.memory);
                if !closed {
                    self.writing.credit_due(channel, entry, &mut self.memory);
                }
                self.notice_freed();
                Ok(message)
            }
            None if entry.inbound.ended => Err(Nothing::Ended),
            None => match entry.reset {
                Some((code, by_peer)) => Err(Nothing::Reset { code, by_peer }),
                None if closed => Err(Nothing::SessionClosed),
                None => Err(Nothing::Yet),
            },
        }
    }

    /// How many messages of a channel wait to be taken.
    pub fn readable(&self, channel: ChannelId) -> usize {
        self.channels.get(&channel).map_or(0, |entry| entry.inbound.waiting())
    }

    /// Whether one channel more may be opened, by either side. A channel counts until it is over and nobody here
    /// holds it; one that then only waits for acknowledgements counts against a wider bound.
    pub(super) fn has_room_for_channel(&self) -> bool {
        let limit = self.agreement.limits.channels as usize;
        let in_use = self.channels.values().filter(|channel| !channel.released || !channel.is_over()).count();
        in_use < limit && self.channels.len() < LINGERING * limit
    }

    /// The counters of one channel.
    pub fn channel_stats(&self, channel: ChannelId) -> Option<ChannelStats> {
        self.channels.get(&channel).map(|entry| entry.measure())
    }

    /// Kind, name and largest message of one channel.
    pub fn channel_info(&self, channel: ChannelId) -> Option<(Kind, &str, u32)> {
        self.channels.get(&channel).map(|entry| (entry.kind, entry.name.as_str(), entry.outbound.max_message))
    }

    /// The counters of the session.
    pub fn stats(&self) -> SessionStats {
        SessionStats { resend_bytes: self.writing.resend.bytes().iter().sum(), ..self.stats }
    }
}

/// Why a channel was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The session opens no more channels.
    SessionClosed,
    /// The name is not 1 to 64 printable ASCII characters (RTT-18).
    BadName,
    /// The kind does not allow the policy (RTT-39).
    BadPolicy,
    /// As many channels are open as were agreed.
    TooManyChannels,
}

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// None has arrived.
    Yet,
    /// The peer ended its direction.
    Ended,
    /// The channel was reset.
    Reset { code: Code, by_peer: bool },
    /// The session is closed.
    SessionClosed,
}
