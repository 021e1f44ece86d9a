//! What the peer has: frames leave the resend buffer, messages are settled, and who waited for that goes on.

use std::collections::VecDeque;

use crate::rtt::budget::{Share, Way};
use crate::rtt::channel::{Channel, ChannelId};
use crate::rtt::code::Code;
use crate::rtt::memory::Allowance;
use crate::rtt::session::{Event, Session};

impl Session {
    /// The peer has everything up to `cursor`. Beyond what was written, or back: a violation (RTT-29).
    pub(in crate::rtt) fn acknowledge(&mut self, cursor: u64) -> Result<(), Code> {
        if !self.writing.resend.is_sound(cursor) {
            return Err(Code::BAD_CURSOR);
        }
        // Messages of one channel often lie side by side: they are settled together.
        let (mut current, mut count) = (None, 0);
        while let Some(completes) = self.writing.resend.acknowledge_one(cursor) {
            if completes.is_none() {
                continue;
            }
            if completes != current {
                self.acknowledged_some(current, count);
                (current, count) = (completes, 0);
            }
            count += 1;
        }
        self.acknowledged_some(current, count);
        self.finish_if_drained();
        Ok(())
    }

    fn acknowledged_some(&mut self, channel: Option<ChannelId>, count: usize) {
        let Some(id) = channel else { return };
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.outbound.acknowledge(count, &mut channel.stats);
        }
        self.count(id);
        self.complete_flushes(id);
        self.forget_if_over(id);
    }

    pub(in crate::rtt) fn complete_flushes(&mut self, id: ChannelId) {
        let Session { channels, events, .. } = self;
        if let Some(channel) = channels.get_mut(&id) {
            channel.outbound.completed_flushes(|ticket| events.push_back(Event::FlushDone(ticket)));
        }
    }
    pub(in crate::rtt) fn admit_waiters(&mut self, id: ChannelId) {
        let Session { channels, events, memory, .. } = self;
        if let Some(channel) = channels.get_mut(&id) {
            admit_waiters(channel, memory, events);
        }
        self.schedule(id);
    }
}

/// Lets in who waits for room in the queue of a channel, as far as there is room and memory.
pub(super) fn admit_waiters(
    channel: &mut Channel,
    memory: &mut Option<Box<Share>>,
    events: &mut VecDeque<Event>,
) {
    let mut room = Allowance::to_send(memory, channel.kind);
    let done = |ticket| events.push_back(Event::SendDone(ticket));
    let starved = channel.outbound.admit_waiters(&mut room, &mut channel.stats, done);
    if let Some(memory) = memory.as_mut().filter(|_| starved) {
        memory.wait(Way::Sent, channel.kind);
    }
    channel.count(memory);
}
