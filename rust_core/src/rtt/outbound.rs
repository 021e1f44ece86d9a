//! The sending half of a channel: its queue, who waits for room in it, its credit, what is unacknowledged.

use std::collections::VecDeque;

use bytes::Bytes;

use super::frame::{DATA_OVERHEAD, MIN_FRAGMENT};
use super::limits::{Policy, Window};
use super::memory::{Allowance, MESSAGE_COST};
use super::stats::ChannelStats;

/// Names a send or flush that waits; given by the driver, unique in its session.
pub type Ticket = u64;

/// What became of one message (RTT-22, RTT-39).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Queued: it will be delivered, or reported.
    Accepted,
    /// Queued, and older ones were evicted for it.
    EvictedOldest,
    /// Dropped, as the policy says.
    DroppedNewest,
}

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Offered {
    /// Every message was accepted, none evicted: the usual case, and it costs no list.
    AllAccepted,
    /// One outcome per message, under a drop policy.
    Each(Vec<Outcome>),
    /// The batch waits for room; an event will name its ticket (RTT-41).
    Waiting,
}

/// Why a batch was not taken. Nothing of it was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// No such channel, or its sending half is ended.
    ChannelClosed,
    /// The session accepts no more messages.
    SessionClosed,
    /// A message is larger than the channel allows.
    MessageTooLarge,
    /// The batch could not fit even an empty queue.
    BatchTooLarge,
    /// No room now, and the policy or the caller does not wait.
    QueueFull,
}

#[derive(Debug)]
struct Queued {
    index: u64,
    message: Bytes,
}

#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    messages: Vec<Bytes>,
    bytes: usize,
}

/// A message of which the peer has not acknowledged everything.
#[derive(Debug)]
pub struct Unacknowledged {
    /// Its number on this channel, from 0, in order of acceptance.
    pub index: u64,
    /// Its content.
    pub message: Bytes,
    /// Whether no byte of it was ever written.
    pub unsent: bool,
}

/// The next piece of a message, ready to be framed.
#[derive(Debug)]
pub(crate) struct Fragment<'a> {
    /// The number of its message, and where in it the piece begins.
    pub index: u64,
    pub offset: usize,
    /// The length of the whole message, on its first fragment.
    pub total: Option<u32>,
    pub last: bool,
    pub payload: &'a [u8],
}

#[derive(Debug)]
pub(crate) struct Outbound {
    pub policy: Policy,
    pub max_message: u32,
    room: Window,
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    waiters: VecDeque<Waiter>,
    /// Bytes of the queue's head that are written already; its credit is then spent.
    progress: usize,
    started: bool,
    in_flight: VecDeque<Queued>,
    next_index: u64,
    granted: (u64, u64),
    spent: (u64, u64),
    flushes: VecDeque<(u64, Ticket)>,
    /// Bytes of what is accepted and not acknowledged, with what messages cost beyond their bytes.
    held: usize,
}

fn cost(queued: &Queued) -> usize {
    queued.message.len() + MESSAGE_COST
}

impl Outbound {
    pub fn new(policy: Policy, max_message: u32, room: Window, credit: Window) -> Outbound {
        Outbound {
            policy,
            max_message,
            room,
            queue: VecDeque::new(),
            queued_bytes: 0,
            waiters: VecDeque::new(),
            progress: 0,
            started: false,
            in_flight: VecDeque::new(),
            next_index: 0,
            granted: (u64::from(credit.messages), u64::from(credit.bytes)),
            spent: (0, 0),
            flushes: VecDeque::new(),
            held: 0,
        }
    }

    /// Takes a batch as the policy says. With `wait` false, `block` behaves like `error`. What does not fit `memory`
    /// finds the queue as good as full.
    pub fn offer(
        &mut self,
        messages: Vec<Bytes>,
        wait: bool,
        ticket: Ticket,
        memory: &mut Allowance,
        stats: &mut ChannelStats,
    ) -> Result<Offered, SendError> {
        let count = messages.len() as u64;
        stats.attempted += count;
        let outcome = self.admit(messages, wait, ticket, memory, stats);
        if outcome.is_err() {
            stats.failed += count;
        }
        outcome
    }

    fn admit(
        &mut self,
        messages: Vec<Bytes>,
        wait: bool,
        ticket: Ticket,
        memory: &mut Allowance,
        stats: &mut ChannelStats,
    ) -> Result<Offered, SendError> {
        if messages.iter().any(|message| message.len() > self.max_message as usize) {
            return Err(SendError::MessageTooLarge);
        }
        if matches!(self.policy, Policy::DropOldest | Policy::DropNewest) {
            return Ok(self.admit_each(messages, memory, stats));
        }
        let bytes = messages.iter().map(Bytes::len).sum();
        if messages.len() > self.room.messages as usize || bytes > self.room.bytes as usize {
            return Err(SendError::BatchTooLarge);
        }
        if self.waiters.is_empty() && memory.takes(messages.len(), bytes) && self.fits(messages.len(), bytes)
        {
            self.enqueue_all(messages, stats);
            return Ok(Offered::AllAccepted);
        }
        stats.overflow_events += 1;
        if !wait || self.policy == Policy::Error {
            return Err(SendError::QueueFull);
        }
        stats.blocked += messages.len() as u64;
        stats.waiting += messages.len() as u64;
        self.waiters.push_back(Waiter { ticket, messages, bytes });
        Ok(Offered::Waiting)
    }

    fn admit_each(
        &mut self,
        messages: Vec<Bytes>,
        memory: &mut Allowance,
        stats: &mut ChannelStats,
    ) -> Offered {
        let mut plain = true;
        let outcomes = messages
            .into_iter()
            .map(|message| {
                let outcome = self.admit_or_drop(message, memory, stats);
                plain &= outcome == Outcome::Accepted;
                outcome
            })
            .collect();
        if plain { Offered::AllAccepted } else { Offered::Each(outcomes) }
    }

    fn admit_or_drop(&mut self, message: Bytes, memory: &mut Allowance, stats: &mut ChannelStats) -> Outcome {
        let mut outcome = Outcome::Accepted;
        if !memory.takes(1, message.len()) || !self.fits(1, message.len()) {
            stats.overflow_events += 1;
            let may_evict = self.policy == Policy::DropOldest
                && self.fits_beside_started(message.len())
                && memory.after(self.evictable()).takes(1, message.len());
            if !may_evict {
                stats.dropped_newest += 1;
                return Outcome::DroppedNewest;
            }
            while !memory.takes(1, message.len()) || !self.fits(1, message.len()) {
                let Some(evicted) = self.queue.remove(usize::from(self.started)) else { break };
                self.queued_bytes -= evicted.message.len();
                self.held -= cost(&evicted);
                *memory = memory.after(cost(&evicted));
                stats.dropped_oldest += 1;
                outcome = Outcome::EvictedOldest;
            }
        }
        memory.take(1, message.len());
        self.enqueue(message, stats);
        outcome
    }

    fn fits(&self, messages: usize, bytes: usize) -> bool {
        self.queue.len() + messages <= self.room.messages as usize
            && self.queued_bytes + bytes <= self.room.bytes as usize
    }

    /// Whether the queue takes a message of this size as it is.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.waiters.is_empty() && self.fits(1, bytes)
    }

    /// Whether evicting makes enough room. A head of which some byte was written stays (RTT-40), and nothing is
    /// evicted in vain.
    fn fits_beside_started(&self, bytes: usize) -> bool {
        let kept = self.queue.front().filter(|_| self.started).map(|head| head.message.len());
        usize::from(kept.is_some()) < self.room.messages as usize
            && kept.unwrap_or(0) + bytes <= self.room.bytes as usize
    }

    /// What evicting everything that may be evicted would free.
    fn evictable(&self) -> usize {
        let kept = self.queue.front().filter(|_| self.started).map_or(0, cost);
        self.queued_bytes + self.queue.len() * MESSAGE_COST - kept
    }

    fn enqueue(&mut self, message: Bytes, stats: &mut ChannelStats) {
        self.held += message.len() + MESSAGE_COST;
        self.queued_bytes += message.len();
        self.queue.push_back(Queued { index: self.next_index, message });
        self.next_index += 1;
        stats.accepted += 1;
        stats.max_queued = stats.max_queued.max(self.queue.len() as u64);
    }

    fn enqueue_all(&mut self, messages: Vec<Bytes>, stats: &mut ChannelStats) {
        for message in messages {
            self.enqueue(message, stats);
        }
    }

    /// Lets waiters in, first come first served, as far as there is room now; calls `done` with their tickets. True when
    /// the next one waits for nothing but memory.
    pub fn admit_waiters(
        &mut self,
        memory: &mut Allowance,
        stats: &mut ChannelStats,
        mut done: impl FnMut(Ticket),
    ) -> bool {
        while let Some(waiter) = self.waiters.front() {
            if !self.fits(waiter.messages.len(), waiter.bytes) {
                return false;
            }
            if !memory.takes(waiter.messages.len(), waiter.bytes) {
                return true;
            }
            let Some(waiter) = self.waiters.pop_front() else { break };
            memory.take(waiter.messages.len(), waiter.bytes);
            stats.waiting -= waiter.messages.len() as u64;
            self.enqueue_all(waiter.messages, stats);
            done(waiter.ticket);
        }
        false
    }

    /// Forgets a waiter. False when it does not wait any more: its batch was accepted, or failed.
    pub fn cancel(&mut self, ticket: Ticket, stats: &mut ChannelStats) -> bool {
        let Some(position) = self.waiters.iter().position(|waiter| waiter.ticket == ticket) else {
            return false;
        };
        if let Some(waiter) = self.waiters.remove(position) {
            stats.waiting -= waiter.messages.len() as u64;
            stats.cancelled += waiter.messages.len() as u64;
        }
        true
    }

    /// Ends the wait of everybody who waits for room: the session accepts no more.
    pub fn refuse_waiters(&mut self, stats: &mut ChannelStats, mut failed: impl FnMut(Ticket)) {
        for waiter in self.waiters.drain(..) {
            stats.waiting -= waiter.messages.len() as u64;
            stats.failed += waiter.messages.len() as u64;
            failed(waiter.ticket);
        }
    }

    /// Takes in what the peer granted since the channel opened. False if it shrank (RTT-38).
    pub fn grant(&mut self, messages: u64, bytes: u64) -> bool {
        if messages < self.granted.0 || bytes < self.granted.1 {
            return false;
        }
        self.granted = (messages, bytes);
        true
    }

    /// Whether a fragment could be written now: a started message goes on, a new one needs credit for all of it.
    pub fn has_fragment(&self) -> bool {
        let Some(head) = self.queue.front() else { return false };
        self.started
            || (self.spent.0 < self.granted.0 && self.spent.1 + head.message.len() as u64 <= self.granted.1)
    }

    pub fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.waiters.is_empty()
    }

    /// The next fragment, if there is one and it is worth writing into `space` bytes of a record; `cap` bounds its
    /// payload. A message that fits a fragment is never cut.
    pub fn next_fragment(&self, cap: usize, space: usize) -> Option<Fragment<'_>> {
        if !self.has_fragment() {
            return None;
        }
        let (Queued { index, message }, offset) = (self.queue.front()?, self.progress);
        let rest = message.len() - offset;
        let room = space.checked_sub(DATA_OVERHEAD)?;
        let length = if rest <= room.min(cap) {
            rest
        } else if rest > cap && room >= MIN_FRAGMENT {
            room.min(cap)
        } else {
            return None;
        };
        Some(Fragment {
            index: *index,
            offset,
            total: (!self.started).then_some(message.len() as u32),
            last: length == rest,
            payload: &message[offset..offset + length],
        })
    }

    /// The next fragment, of `length` bytes, was written. True when its message is complete with it.
    pub fn wrote_fragment(&mut self, length: usize, stats: &mut ChannelStats) -> bool {
        let Some(size) = self.queue.front().map(|head| head.message.len()) else { return false };
        if !self.started {
            self.started = true;
            self.spent.0 += 1;
            self.spent.1 += size as u64;
        }
        self.progress += length;
        if self.progress < size {
            return false;
        }
        (self.progress, self.started) = (0, false);
        self.queued_bytes -= size;
        stats.sent += 1;
        stats.sent_bytes += size as u64;
        self.in_flight.extend(self.queue.pop_front());
        true
    }

    /// The last fragments of the `count` oldest messages in flight were acknowledged. Fewer may be left of them: what
    /// a reset gave up is not acknowledged any more.
    pub fn acknowledge(&mut self, count: usize, stats: &mut ChannelStats) {
        let known = count.min(self.in_flight.len());
        self.held -= self.in_flight.drain(..known).map(|sent| cost(&sent)).sum::<usize>();
        stats.acknowledged += known as u64;
    }

    /// A message of which something was written and not everything acknowledged, by its number.
    pub fn written_message(&self, index: u64) -> Option<&Bytes> {
        let started = self.queue.front().filter(|head| self.started && head.index == index);
        let in_flight = || {
            self.in_flight.binary_search_by_key(&index, |sent| sent.index).ok().map(|at| &self.in_flight[at])
        };
        started.or_else(in_flight).map(|queued| &queued.message)
    }

    /// The tickets of flushes that are complete now: everything accepted before them is acknowledged.
    pub fn completed_flushes(&mut self, mut done: impl FnMut(Ticket)) {
        let oldest = self.oldest_outstanding();
        while let Some(&(target, ticket)) = self.flushes.front() {
            if oldest.is_some_and(|index| index < target) {
                return;
            }
            self.flushes.pop_front();
            done(ticket);
        }
    }

    /// Registers a flush of everything accepted so far. True when there is nothing to wait for.
    pub fn flush(&mut self, ticket: Ticket) -> bool {
        if self.oldest_outstanding().is_none() {
            return true;
        }
        self.flushes.push_back((self.next_index, ticket));
        false
    }

    /// Forgets a flush; the messages are not touched (RTT-62).
    pub fn cancel_flush(&mut self, ticket: Ticket) {
        self.flushes.retain(|(_, waiting)| *waiting != ticket);
    }

    fn oldest_outstanding(&self) -> Option<u64> {
        self.in_flight.front().or(self.queue.front()).map(|queued| queued.index)
    }

    /// Nothing is accepted and unacknowledged.
    pub fn is_settled(&self) -> bool {
        self.queue.is_empty() && self.in_flight.is_empty()
    }

    /// Gives back memory that is not in use.
    pub fn rest(&mut self) {
        self.queue.shrink_to_fit();
        self.in_flight.shrink_to_fit();
        self.waiters.shrink_to_fit();
        self.flushes.shrink_to_fit();
    }

    /// Ends this half: everything not acknowledged is handed out as lost; `failed` gets the tickets of all waiters.
    pub fn abandon(
        &mut self,
        stats: &mut ChannelStats,
        mut failed: impl FnMut(Ticket),
    ) -> Vec<Unacknowledged> {
        self.refuse_waiters(stats, &mut failed);
        for (_, ticket) in self.flushes.drain(..) {
            failed(ticket);
        }
        let partly = self.started;
        let in_flight = self.in_flight.drain(..).map(|sent| (sent, false));
        let queued =
            self.queue.drain(..).enumerate().map(|(position, queued)| (queued, position > 0 || !partly));
        let lost: Vec<Unacknowledged> = in_flight
            .chain(queued)
            .map(|(Queued { index, message }, unsent)| Unacknowledged { index, message, unsent })
            .collect();
        stats.lost += lost.len() as u64;
        (self.queued_bytes, self.progress, self.started, self.held) = (0, 0, false, 0);
        lost
    }

    /// Whether somebody waits for room.
    pub fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// The memory of what is accepted and not acknowledged. What waits for room is still its sender's.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Fills in the gauges.
    pub fn measure(&self, stats: &mut ChannelStats) {
        stats.queued = self.queue.len() as u64;
        stats.queued_bytes = self.queued_bytes as u64;
        stats.in_flight = self.in_flight.len() as u64;
    }
}
