//! How channels and sessions end, and what they leave behind (sections 4 and 6, RTT-13, RTT-25).

use super::channel::{CHANNEL_ZERO, Channel, ChannelId, End};
use super::code::Code;
use super::frame::MAX_REASON;
use super::limits::Nanos;
use super::session::{Closed, Event, Lost, Session, State};

impl Session {
    /// Ends the sending half of a channel, once what was accepted is written. Who waits for room there waits in vain.
    pub fn end_channel(&mut self, channel: ChannelId) {
        let Session { channels, events, .. } = self;
        let Some(entry) = channels.get_mut(&channel) else { return };
        if channel != CHANNEL_ZERO && entry.end == End::Open && entry.reset.is_none() {
            entry.end = End::Asked;
            entry
                .outbound
                .refuse_waiters(&mut entry.stats, |ticket| events.push_back(Event::WaitFailed(ticket)));
            self.schedule(channel);
        }
    }

    /// The application is done with a channel: what was accepted is delivered, nothing more is read. Channel 0
    /// lives as long as its session.
    pub fn release_channel(&mut self, channel: ChannelId) {
        if channel == CHANNEL_ZERO {
            return;
        }
        self.end_channel(channel);
        let Some(entry) = self.channels.get_mut(&channel) else { return };
        (entry.closing, entry.released) = (true, true);
        self.discard(channel);
        self.schedule(channel);
        self.forget_if_over(channel);
    }

    /// Ends both directions of a channel now; what was accepted and not acknowledged is lost.
    pub fn reset_channel(&mut self, channel: ChannelId, code: Code) {
        if channel == CHANNEL_ZERO {
            return;
        }
        let Some(entry) = self.channels.get_mut(&channel) else { return };
        entry.inbound.discard();
        entry.released = true;
        if !entry.is_over() && entry.reset.is_none() {
            entry.reset_due = Some(code);
            entry.reset = Some((code, false));
            self.break_off(channel);
            self.schedule(channel);
        }
        self.count(channel);
        self.forget_if_over(channel);
    }

    /// Throws away what waits on a channel that nobody reads any more. That grants credit like reading it: the peer
    /// must not be held up by messages nobody wants while ours are still on their way.
    pub(super) fn discard(&mut self, channel: ChannelId) {
        let Some(entry) = self.channels.get_mut(&channel) else { return };
        entry.inbound.discard();
        entry.count(&mut self.memory);
        if self.state != State::Closed {
            self.writing.credit_due(channel, entry, &mut self.memory);
        }
        self.notice_freed();
    }

    /// The peer's reset or ours: waiters fail, what is unacknowledged is lost, partial messages vanish.
    pub(super) fn break_off(&mut self, channel: ChannelId) {
        let Some(entry) = self.channels.get_mut(&channel) else { return };
        entry.inbound.break_off();
        let lost = entry
            .outbound
            .abandon(&mut entry.stats, |ticket| self.events.push_back(Event::WaitFailed(ticket)));
        for message in lost {
            self.lost_bytes += message.message.len() + size_of::<Lost>();
            self.lost.push_back(Lost { channel, name: entry.name.clone(), kind: entry.kind, message });
        }
        while self.state != State::Closed && self.lost_bytes > self.options.resend_bytes as usize {
            let Some(oldest) = self.lost.pop_front() else { break };
            self.lost_bytes -= oldest.message.message.len() + size_of::<Lost>();
            self.stats.lost_unlisted += 1;
        }
        self.count_lost();
        self.count(channel);
    }

    /// Removes a channel of which nothing is left to write, read or hold.
    pub(super) fn forget_if_over(&mut self, channel: ChannelId) {
        let closed = self.state == State::Closed;
        let over =
            |entry: &Channel| entry.released && (closed || entry.is_over()) && entry.outbound.is_settled();
        if channel != CHANNEL_ZERO
            && self.channels.get(&channel).is_some_and(|entry| over(entry))
            && let Some(mut entry) = self.channels.remove(&channel)
        {
            if let Some(memory) = &mut self.memory {
                memory.count(&mut entry.counted, [0; 2]);
            }
            self.keep_totals(&entry);
            self.notice_freed();
        }
    }

    /// The same for all channels at once.
    pub(super) fn forget_all_over(&mut self) {
        let ids: Vec<ChannelId> = self.channels.keys().copied().collect();
        for id in ids {
            self.forget_if_over(id);
        }
    }

    /// Begins the graceful end: no more sends, SHUTDOWN once all queues are written (RTT-13).
    pub fn shutdown(&mut self, now: Nanos) {
        match self.state {
            State::Open => {}
            // There is no carrier to drain to (section 4).
            State::Suspended => return self.abort(Code::NORMAL, ""),
            State::Closing | State::Closed => return,
        }
        self.state = State::Closing;
        self.timing.drain_until(now, &self.options);
        let Session { channels, events, .. } = self;
        for entry in channels.values_mut() {
            entry
                .outbound
                .refuse_waiters(&mut entry.stats, |ticket| events.push_back(Event::WaitFailed(ticket)));
        }
    }

    /// Ends the session now; the next write is CLOSE and nothing else.
    pub fn abort(&mut self, code: Code, text: &str) {
        self.close("local", code, text, true);
    }

    pub(super) fn close(&mut self, reason: &'static str, code: Code, text: &str, tell: bool) {
        if self.state == State::Closed {
            return;
        }
        let carried = self.state != State::Suspended;
        (self.state, self.suspension) = (State::Closed, None);
        let text = truncated(text);
        if tell && carried {
            self.writing.close_due(code, text);
        }
        let loss = matches!(reason, "connection_lost" | "heartbeat_timeout").then_some(reason);
        self.closed = Some(Closed { reason, loss, code, text: text.to_owned() });
        self.resumption = None;
        let ids: Vec<ChannelId> = self.channels.keys().copied().collect();
        for id in ids {
            self.break_off(id);
        }
        self.timing.stop();
        self.events.push_back(Event::Closed);
    }

    /// In `Closing`: CLOSE once everything of ours is acknowledged and the peer has nothing more to say.
    pub(super) fn finish_if_drained(&mut self) {
        if self.state == State::Closing
            && self.peer_shutdown
            && self.writing.shutdown_written()
            && self.writing.resend.is_empty()
        {
            self.close("local", Code::NORMAL, "", true);
        }
    }
}

fn truncated(text: &str) -> &str {
    let end = (0..=MAX_REASON.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}
