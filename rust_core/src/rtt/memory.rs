//! What a session holds, what it tells the budget it shares with others, and what it does when that is full: no further
//! credit, queues that count as full, refused channels (section 15, RTT-51).

use super::budget::{Share, Way};
use super::channel::{Channel, ChannelId};
use super::limits::Kind;
use super::session::{Event, Session, State};

/// What a message costs beyond its bytes: its places in queues and the resend buffer, and the allocator's own.
pub(super) const MESSAGE_COST: usize = 64;

impl Channel {
    /// Brings the budget up to date with what this channel holds.
    pub fn count(&mut self, memory: &mut Option<Box<Share>>) {
        if let Some(memory) = memory {
            let held = [self.outbound.held() as u64, self.inbound.held() as u64];
            memory.count(&mut self.counted, held);
        }
    }
}

/// What may still be queued without holding more than the peer may.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    room: i64,
    /// What is larger than this could never fit, and is taken as soon as this much is free.
    own_part: i64,
}

impl Allowance {
    /// For a channel of this kind; without a budget, anything may.
    pub fn to_send(memory: &Option<Box<Share>>, kind: Kind) -> Allowance {
        let (room, own_part) = memory
            .as_ref()
            .map_or((i64::MAX, i64::MAX), |memory| (memory.room(Way::Sent, kind), memory.own_part(kind)));
        Allowance { room, own_part }
    }

    /// Whether so many messages fit, with so many bytes together.
    pub fn takes(&self, messages: usize, bytes: usize) -> bool {
        self.room >= ((bytes + messages * MESSAGE_COST) as i64).min(self.own_part)
    }

    /// What it will be when so many bytes are given back.
    pub fn after(&self, freed: usize) -> Allowance {
        Allowance { room: self.room.saturating_add(freed as i64), ..*self }
    }

    /// They are taken.
    pub fn take(&mut self, messages: usize, bytes: usize) {
        self.room -= (bytes + messages * MESSAGE_COST) as i64;
    }
}

impl Session {
    /// Counts what this session holds, from now on, into a budget that it shares, and keeps to that.
    pub fn share_memory(&mut self, share: Share) {
        self.memory = Some(Box::new(share));
        self.lost_counted = [0; 2];
        for channel in self.channels.values_mut() {
            channel.counted = [0; 2];
            channel.count(&mut self.memory);
        }
        self.count_lost();
    }

    /// What one channel holds has changed.
    pub(super) fn count(&mut self, id: ChannelId) {
        if self.memory.is_some()
            && let Some(channel) = self.channels.get_mut(&id)
        {
            channel.count(&mut self.memory);
            self.notice_freed();
        }
    }

    /// What one channel received has grown: counted when something else changes, or all that arrived with it is read.
    /// Messages of one channel often lie side by side.
    pub(super) fn count_soon(&mut self, id: ChannelId) {
        if self.uncounted != Some(id) {
            self.count_now();
            self.uncounted = Some(id);
        }
    }

    /// Counts what waits to be counted.
    pub(super) fn count_now(&mut self) {
        if let Some(id) = self.uncounted.take() {
            self.count(id);
        }
    }

    /// What was lost and not taken has changed.
    pub(super) fn count_lost(&mut self) {
        if let Some(memory) = &mut self.memory {
            memory.count(&mut self.lost_counted, [self.lost_bytes as u64, 0]);
            self.notice_freed();
        }
    }

    /// Whoever waits for the memory that was given back goes on: this session at once, others when they are told.
    pub(super) fn notice_freed(&mut self) {
        let Some(memory) = self.memory.as_mut() else { return };
        if !memory.take_freed() {
            return;
        }
        let waits = memory.waits();
        if memory.others_wait() && self.events.back() != Some(&Event::MemoryFreed) {
            self.events.push_back(Event::MemoryFreed);
        }
        if waits {
            self.memory_freed();
        }
    }

    /// Some other session has given memory back that this one may wait for.
    pub fn memory_freed(&mut self) {
        let Some(memory) = self.memory.as_mut().filter(|memory| memory.waits()) else { return };
        memory.stop_waiting();
        if self.state != State::Closed {
            let ids: Vec<ChannelId> = self.channels.keys().copied().collect();
            for id in ids {
                self.admit_waiters(id);
                let Session { channels, writing, memory, .. } = self;
                if let Some(channel) = channels.get_mut(&id) {
                    writing.credit_due(id, channel, memory);
                }
            }
        }
        if let Some(memory) = self.memory.as_mut().filter(|memory| !memory.waits()) {
            memory.found_room();
        }
    }

    /// Looks again if this session waits for memory. Sessions that are dropped free some and tell nobody.
    pub(super) fn recheck_memory(&mut self) {
        if self.memory.as_ref().is_some_and(|memory| memory.waits()) {
            self.memory_freed();
        }
    }

    /// Whether a channel that the peer opens is one too many for its memory.
    pub(super) fn refuses_channel(&mut self, kind: Kind) -> bool {
        let full = |memory: &Share| memory.room(Way::Received, kind) <= 0;
        let refused = self.memory.as_mut().filter(|memory| full(memory));
        refused.map(|memory| memory.hit_peer()).is_some()
    }
}
