//! From the carrier: plaintext becomes frames, frames change the session (sections 5 to 8, 14).

use super::channel::{CHANNEL_ZERO, Channel, ChannelId, End};
use super::code::Code;
use super::frame::{Frame, HEADER_BYTES, Header, Numbered, decode};
use super::limits::{Kind, KindLimits, Nanos, Window};
use super::session::{Event, Session, State};

impl Session {
    /// Takes in plaintext of the current carrier, in order, in pieces of any size.
    ///
    /// An error is a violation by the peer (RTT-53): the session is closed, CLOSE with the same code is ready to be
    /// written, and the rest of the input is ignored.
    pub fn receive_plaintext(&mut self, plaintext: &[u8], now: Nanos) -> Result<(), Code> {
        if matches!(self.state, State::Closed | State::Suspended) || plaintext.is_empty() {
            return Ok(());
        }
        self.timing.heard(now, &self.options);
        self.recheck_memory();
        let outcome = self.read_frames(plaintext, now);
        self.count_now();
        if let Err(code) = outcome {
            self.count_limit(code.word());
            self.close("protocol_error", code, "", true);
        }
        outcome
    }

    fn read_frames(&mut self, plaintext: &[u8], now: Nanos) -> Result<(), Code> {
        let mut input = plaintext;
        while !input.is_empty() && matches!(self.state, State::Open | State::Closing) {
            if self.partial.is_empty() {
                // The usual case: whole frames, read where they lie.
                let used = self.read_frame(input, now)?;
                if used == 0 {
                    self.partial.extend_from_slice(input);
                    return Ok(());
                }
                input = &input[used..];
            } else {
                input = self.complete_partial(input, now)?;
            }
        }
        Ok(())
    }

    /// Adds to a frame that came in pieces only what it still misses.
    fn complete_partial<'a>(&mut self, input: &'a [u8], now: Nanos) -> Result<&'a [u8], Code> {
        let wanted = match Header::peek(&self.partial) {
            Some(header) => HEADER_BYTES + header.length as usize,
            None => HEADER_BYTES,
        };
        let missing = (wanted - self.partial.len()).min(input.len());
        self.partial.extend_from_slice(&input[..missing]);
        let frame = std::mem::take(&mut self.partial);
        let used = self.read_frame(&frame, now)?;
        if used == 0 {
            self.partial = frame;
        }
        Ok(&input[missing..])
    }

    /// Reads the frame at the front; 0 when it is not complete.
    fn read_frame(&mut self, bytes: &[u8], now: Nanos) -> Result<usize, Code> {
        let Some(header) = Header::peek(bytes) else { return Ok(0) };
        header.check(self.agreement.limits.frame_payload)?;
        let end = HEADER_BYTES + header.length as usize;
        let Some(body) = bytes.get(HEADER_BYTES..end) else { return Ok(0) };
        let frame = decode(header, body)?;
        self.stats.frames_received += 1;
        self.handle(frame, end, now)?;
        Ok(end)
    }

    fn handle(&mut self, frame: Frame<'_>, size: usize, now: Nanos) -> Result<(), Code> {
        match frame {
            Frame::Numbered(seq, numbered) => self.handle_numbered(seq, numbered, size, now),
            Frame::Ack { cursor } => {
                self.time_acknowledgement(cursor, now);
                self.acknowledge(cursor)
            }
            Frame::Credit { channel, messages, bytes } => self.handle_credit(channel, messages, bytes),
            Frame::Ping { token } => {
                if !self.timing.allow_ping(now) {
                    return Err(Code::PING_FLOOD);
                }
                self.writing.pong_due(token);
                self.rest();
                Ok(())
            }
            Frame::Pong { token } => {
                self.latency.ponged(token, now);
                Ok(())
            }
            Frame::Close { code, reason } => {
                self.close("peer", code, reason, false);
                Ok(())
            }
            Frame::Unknown => {
                self.stats.skipped += 1;
                Ok(())
            }
        }
    }

    fn handle_numbered(
        &mut self,
        seq: u64,
        frame: Numbered<'_>,
        size: usize,
        now: Nanos,
    ) -> Result<(), Code> {
        if seq <= self.cursor {
            // The peer does not know that it arrived: on a carrier of before, whose acknowledgements came to nothing.
            self.stats.replayed += 1;
            self.writing.arrived(size);
            self.timing.ack_within(now, &self.options);
            return Ok(());
        }
        if seq != self.cursor + 1 {
            return Err(Code::SEQUENCE_GAP);
        }
        self.cursor = seq;
        self.writing.arrived(size);
        self.timing.ack_within(now, &self.options);
        if self.peer_shutdown && !matches!(frame, Numbered::Reset { .. } | Numbered::Unknown) {
            return Err(Code::AFTER_END);
        }
        match frame {
            Numbered::Data { channel, total, last, payload } => {
                self.handle_data(channel, total, last, payload)
            }
            Numbered::Open { channel, kind, name, credit, max_message } => {
                self.handle_open(channel, kind, name, credit, max_message)
            }
            Numbered::End { channel } => self.handle_end(channel),
            Numbered::Reset { channel, code } => self.handle_reset(channel, code),
            Numbered::Shutdown { .. } => self.handle_shutdown(),
            Numbered::Unknown => {
                self.stats.skipped += 1;
                Ok(())
            }
        }
    }

    fn handle_data(
        &mut self,
        id: ChannelId,
        total: Option<u32>,
        last: bool,
        payload: &[u8],
    ) -> Result<(), Code> {
        if payload.len() > self.agreement.limits.frame_payload as usize {
            return Err(Code::FRAME_TOO_LARGE);
        }
        // For a channel that is gone: what was under way when we reset it.
        let Some(channel) = self.known(id)? else { return Ok(()) };
        if channel.reset.is_some() {
            return Ok(());
        }
        let first_waiting = channel.inbound.data(total, last, payload, &mut channel.stats)?;
        let released = channel.released;
        self.count_soon(id);
        if released {
            self.discard(id);
        } else if first_waiting {
            self.events.push_back(Event::Readable(id));
        }
        Ok(())
    }

    fn handle_open(
        &mut self,
        id: ChannelId,
        kind: u8,
        name: &str,
        credit: Window,
        max_message: u32,
    ) -> Result<(), Code> {
        if id != self.next_remote {
            return Err(Code::BAD_CHANNEL);
        }
        self.next_remote = id.checked_add(2).ok_or(Code::BAD_CHANNEL)?;
        let Some(kind) = Kind::from_wire(kind) else {
            return self.refuse_channel(id, Kind::Control, Code::UNKNOWN_KIND);
        };
        let agreed = self.agreement.limits.kind(kind);
        if max_message == 0
            || max_message > agreed.max_message
            || credit.bytes < max_message
            || credit.messages == 0
        {
            return self.refuse_channel(id, kind, Code::BAD_WINDOW);
        }
        if !self.has_room_for_channel() {
            return self.refuse_channel(id, kind, Code::TOO_MANY_CHANNELS);
        }
        if self.refuses_channel(kind) {
            return self.refuse_channel(id, kind, Code::LIMIT);
        }
        let receive = KindLimits { max_message, window: agreed.window };
        let mut channel = Channel::new(kind, name, kind.default_policy(), receive, credit);
        if self.writing.shutdown_written() {
            channel.end = End::Written;
        }
        self.channels.insert(id, Box::new(channel));
        self.events.push_back(Event::ChannelOpened(id));
        Ok(())
    }

    /// Resets a channel that never was; the session goes on (RTT-18, RTT-19). A peer that keeps to the limits has
    /// at most as many channels open, so it cannot have this many of its own refused and unanswered.
    fn refuse_channel(&mut self, id: ChannelId, kind: Kind, code: Code) -> Result<(), Code> {
        let theirs = |id: ChannelId| (id % 2 == 1) != self.agreement.initiator;
        let unfinished = self.channels.iter().filter(|(id, channel)| theirs(**id) && !channel.is_over());
        if unfinished.count() >= 2 * self.agreement.limits.channels as usize {
            return Err(Code::OPEN_FLOOD);
        }
        self.count_limit(code.word());
        let limits = self.agreement.limits.kind(kind);
        let mut channel = Channel::new(kind, "", kind.default_policy(), limits, limits.window);
        (channel.reset_due, channel.reset, channel.released) = (Some(code), Some((code, false)), true);
        self.channels.insert(id, Box::new(channel));
        self.schedule(id);
        Ok(())
    }

    fn handle_end(&mut self, id: ChannelId) -> Result<(), Code> {
        if id == CHANNEL_ZERO {
            return Err(Code::BAD_CHANNEL);
        }
        let Some(channel) = self.known(id)? else { return Ok(()) };
        if channel.reset.is_some() {
            return Ok(());
        }
        channel.inbound.end()?;
        if channel.inbound.waiting() == 0 && !channel.released {
            self.events.push_back(Event::Readable(id));
        }
        self.forget_if_over(id);
        Ok(())
    }

    fn handle_reset(&mut self, id: ChannelId, code: Code) -> Result<(), Code> {
        if id == CHANNEL_ZERO {
            return Err(Code::BAD_CHANNEL);
        }
        let Some(channel) = self.known(id)? else { return Ok(()) };
        // A reset of ours that still waits to be written has become pointless.
        channel.reset_due = None;
        if channel.reset.is_none() {
            channel.reset = Some((code, true));
            let released = channel.released;
            self.break_off(id);
            if !released {
                self.events.push_back(Event::Readable(id));
            }
        }
        self.forget_if_over(id);
        Ok(())
    }

    /// Ends the peer's half of every channel at once.
    fn handle_shutdown(&mut self) -> Result<(), Code> {
        self.peer_shutdown = true;
        // The peer waits for this acknowledgement before it leaves.
        self.writing.ack_due();
        let Session { channels, events, .. } = self;
        for (&id, channel) in channels.iter_mut() {
            if channel.inbound.ended || channel.reset.is_some() {
                continue;
            }
            channel.inbound.end()?;
            if channel.inbound.waiting() == 0 && !channel.released {
                events.push_back(Event::Readable(id));
            }
        }
        events.push_back(Event::PeerShutdown);
        self.forget_all_over();
        self.finish_if_drained();
        Ok(())
    }

    fn handle_credit(&mut self, id: ChannelId, messages: u64, bytes: u64) -> Result<(), Code> {
        let Some(channel) = self.known(id)? else { return Ok(()) };
        if !channel.outbound.grant(messages, bytes) {
            return Err(Code::BAD_CREDIT);
        }
        self.schedule(id);
        Ok(())
    }

    /// The channel a frame names. `None` if it was used before and is gone: such a frame is ignored (section 15).
    /// One that the peer cannot know of is a violation.
    fn known(&mut self, id: ChannelId) -> Result<Option<&mut Channel>, Code> {
        let ours = (id % 2 == 1) == self.agreement.initiator;
        let used = id < if ours { self.next_local } else { self.next_remote };
        match self.channels.get_mut(&id) {
            Some(channel) if channel.is_announced() => Ok(Some(channel)),
            None if used => Ok(None),
            _ => Err(Code::BAD_CHANNEL),
        }
    }
}
