//! Towards the carrier: which frame is written next, and what is kept until the peer has it (sections 6 and 8).

mod acknowledging;
mod unnumbered;

use std::collections::VecDeque;

use super::budget::{Share, Way};
use super::channel::{Channel, ChannelId, End};
use super::code::Code;
use super::frame::{DATA_OVERHEAD, Frame, Numbered, encode_numbered};
use super::latency::{self, Timed};
use super::limits::{Kind, Nanos};
use super::outbound::Fragment;
use super::resend::{Body, ResendBuffer};
use super::session::{Agreement, Event, Session, State};

/// The plaintext of one TLS record: a write is cut into pieces of whole frames no longer than this, so that a frame
/// lies in one record and can be decoded where it was decrypted.
pub const RECORD_BYTES: usize = 16 * 1024;
/// No frame but DATA is longer than this.
const SMALL_FRAME: usize = 128;
/// How many bytes `state` may write for each byte of `knowledge` (RTT-20): 2.
const QUANTUM: [i64; 3] = [0, 2 * RECORD_BYTES as i64, RECORD_BYTES as i64];
/// Unanswered PINGs that are remembered; the flood limit makes more impossible within a second.
const MAX_PONGS: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Writing {
    ready: [VecDeque<ChannelId>; 3],
    deficit: [i64; 3],
    turn: usize,
    pub(super) resend: ResendBuffer,
    credits: VecDeque<ChannelId>,
    /// Some of `credits` is worth a write of its own.
    credit_now: bool,
    /// Every channel is to be granted its credit anew, once everything is written that the peer did not get.
    credit_all: bool,
    pongs: VecDeque<[u8; 8]>,
    ping: Option<[u8; 8]>,
    unacked: (u32, u64),
    ack: bool,
    shutdown: bool,
    close: Option<(Code, String)>,
    /// The frame whose acknowledgement is timed.
    pub timed: Option<Timed>,
    /// A frame waits for room in the resend buffer.
    resend_full: bool,
    /// Bytes and frames since the sending keys were new.
    keyed: (u64, u64),
    rekey: bool,
}

impl Writing {
    /// Lists a channel for CREDIT if enough of its window is free again. Low credit alone waits for the
    /// acknowledgement that is due soon, so that the usual round trip costs no write more; without one it goes now.
    /// Nothing is granted of memory that is used up (section 15).
    pub fn credit_due(&mut self, id: ChannelId, channel: &mut Channel, memory: &mut Option<Box<Share>>) {
        let (due, low) = (channel.inbound.credit_due(), channel.inbound.credit_low());
        if channel.reset.is_some() || !(due || low) {
            return;
        }
        if let Some(memory) = memory.as_mut().filter(|memory| memory.withholds(channel.kind)) {
            return memory.wait(Way::Received, channel.kind);
        }
        if !channel.credit_listed {
            channel.credit_listed = true;
            self.credits.push_back(id);
        }
        self.credit_now |= due || self.unacked.0 == 0;
    }

    pub fn grants_credit(&self) -> bool {
        self.credit_now
    }

    pub fn ack_due(&mut self) {
        self.ack = true;
    }

    /// A numbered frame arrived: acknowledge at once after 64 of them or 256 KiB (RTT-27).
    pub fn arrived(&mut self, bytes: usize) {
        self.unacked.0 += 1;
        self.unacked.1 += bytes as u64;
        self.ack |= self.unacked.0 >= 64 || self.unacked.1 >= 256 * 1024;
    }

    pub fn ping_due(&mut self, now: Nanos) {
        self.ping = Some(now.to_be_bytes());
    }

    pub fn pong_due(&mut self, token: [u8; 8]) {
        if self.pongs.len() < MAX_PONGS {
            self.pongs.push_back(token);
        }
    }

    pub fn close_due(&mut self, code: Code, text: &str) {
        self.close = Some((code, text.to_owned()));
    }

    pub fn forget_close(&mut self) {
        self.close = None;
    }

    /// Gives back memory that is not in use.
    pub fn rest(&mut self) {
        for ready in &mut self.ready {
            ready.shrink_to_fit();
        }
        self.resend.rest();
        self.credits.shrink_to_fit();
        self.pongs.shrink_to_fit();
    }

    pub fn shutdown_written(&self) -> bool {
        self.shutdown
    }

    pub fn rekey_due(&mut self) {
        self.rekey = true;
    }

    /// The carrier is gone: what it was to carry, and is not numbered, means nothing on another one. Cursors travel with
    /// the resume, and credit is granted anew after it.
    pub fn lose_carrier(&mut self) {
        self.credits.clear();
        self.pongs.clear();
        (self.credit_now, self.ping, self.unacked, self.ack) = (false, None, (0, 0), false);
        (self.keyed, self.rekey, self.timed) = ((0, 0), false, None);
    }

    /// A carrier opened that resumes the session.
    pub fn resume(&mut self) {
        self.resend.rewind();
        self.credit_all = true;
    }

    /// Writes the next fragment of a channel: whether it completes its message, or nothing if the record has no room.
    fn write_data(
        &mut self,
        id: ChannelId,
        channel: &mut Channel,
        out: &mut Vec<u8>,
        cap: usize,
        limit: usize,
    ) -> Option<bool> {
        let before = out.len();
        let Fragment { index, offset, total, last, payload } =
            channel.outbound.next_fragment(cap, limit - before)?;
        let length = payload.len();
        let seq = self.resend.next_seq();
        encode_numbered(out, seq, &Numbered::Data { channel: id, total, last, payload });
        let body = Body::Data { channel: id, index, offset: offset as u32, length: length as u32, last };
        latency::begin(&mut self.timed, seq);
        channel.stats.frames_sent += 1;
        self.resend.keep(channel.kind, out.len() - before, body);
        Some(channel.outbound.wrote_fragment(length, &mut channel.stats))
    }

    /// Writes the frame that marks the next step in a channel's life.
    fn write_mark(&mut self, id: ChannelId, channel: &mut Channel, agreement: &Agreement, out: &mut Vec<u8>) {
        let (lane, before) = (channel.lane(), out.len());
        let seq = self.resend.next_seq();
        if channel.announce {
            channel.announce = false;
            let limits = agreement.limits.kind(channel.kind);
            let open = Numbered::Open {
                channel: id,
                kind: channel.kind as u8,
                name: &channel.name,
                credit: limits.window,
                max_message: limits.max_message,
            };
            encode_numbered(out, seq, &open);
        } else if let Some(code) = channel.reset_due.take() {
            encode_numbered(out, seq, &Numbered::Reset { channel: id, code });
        } else if channel.end_due() {
            channel.end = End::Written;
            encode_numbered(out, seq, &Numbered::End { channel: id });
        } else {
            channel.reset = Some((Code::CANCELLED, false));
            encode_numbered(out, seq, &Numbered::Reset { channel: id, code: Code::CANCELLED });
        }
        self.resend.keep(lane, out.len() - before, Body::Mark(out[before..].into()));
    }
}

impl Session {
    /// Puts a channel into the writer's queue if it has something to write.
    pub(super) fn schedule(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(&id)
            && !channel.scheduled
            && channel.has_work()
        {
            channel.scheduled = true;
            self.writing.ready[channel.lane() as usize].push_back(id);
        }
    }

    /// Whether `transmit` would write something now.
    pub fn wants_write(&self) -> bool {
        let writing = &self.writing;
        match self.state {
            State::Closed => return writing.close.is_some(),
            State::Suspended => return false,
            State::Open | State::Closing => {}
        }
        if writing.resend.is_behind() || writing.credit_all {
            return true;
        }
        writing.ack
            || writing.ping.is_some()
            || !writing.pongs.is_empty()
            || writing.credit_now
            || self.shutdown_due()
            || Kind::ALL
                .into_iter()
                .any(|kind| !writing.ready[kind as usize].is_empty() && self.resend_room(kind))
    }

    /// Appends the next frames, at most one record of them, in the order of RTT-20. False when there was nothing.
    pub fn transmit(&mut self, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let limit = start + RECORD_BYTES;
        if self.state == State::Closed {
            let Some((code, text)) = self.writing.close.take() else { return false };
            self.write_ack(out);
            self.write_small(out, &Frame::Close { code, reason: &text });
            return true;
        }
        if !self.wants_write() {
            return false;
        }
        let frames = self.stats.frames_sent;
        self.write_unnumbered(out, limit);
        if self.write_again(out, start, limit) {
            self.write_new(out, limit);
        }
        self.writing.keyed.0 += (out.len() - start) as u64;
        self.writing.keyed.1 += self.stats.frames_sent - frames;
        let (bytes, frames) = self.writing.keyed;
        self.writing.rekey |= bytes >= self.options.rekey_bytes || frames >= self.options.rekey_frames;
        out.len() > start
    }

    /// Whether the carrier should update its sending keys before it writes more; the answer is taken as done (RTT-47).
    pub fn take_rekey(&mut self) -> bool {
        let rekey =
            std::mem::take(&mut self.writing.rekey) && matches!(self.state, State::Open | State::Closing);
        if rekey {
            self.writing.keyed = (0, 0);
            self.stats.rekeys += 1;
            self.events.push_back(Event::Rekeyed);
        }
        rekey
    }

    fn write_new(&mut self, out: &mut Vec<u8>, limit: usize) {
        while out.len() + SMALL_FRAME <= limit {
            let Some(kind) = self.next_kind() else { break };
            let before = out.len();
            if !self.write_channel(kind, out, limit) {
                break;
            }
            self.writing.deficit[kind as usize] -= (out.len() - before) as i64;
        }
        if self.shutdown_due() && out.len() + SMALL_FRAME <= limit {
            self.write_shutdown(out);
        }
        self.notice_full_resend_buffer();
    }

    /// After a resume: first what the peer did not get, in its old order, then the credit of every channel, which
    /// names channels that the peer must know by then (RTT-31). True when all of that is written.
    fn write_again(&mut self, out: &mut Vec<u8>, start: usize, limit: usize) -> bool {
        while let Some((seq, sent)) = self.writing.resend.next_again() {
            if out.len() > start && out.len() + sent.size as usize > limit {
                return false;
            }
            sent.encode(seq, &self.channels, out);
            self.writing.resend.wrote_again();
            self.stats.frames_sent += 1;
            self.stats.resent += 1;
        }
        if std::mem::take(&mut self.writing.credit_all) {
            let Session { channels, writing, .. } = self;
            for (&id, channel) in channels.iter_mut().filter(|(_, channel)| channel.is_announced()) {
                if !std::mem::replace(&mut channel.credit_listed, true) {
                    writing.credits.push_back(id);
                }
                channel.inbound.credit_again();
            }
            self.write_credits(out, limit);
        }
        true
    }

    /// Reaching the bound counts once, until there was room again.
    fn notice_full_resend_buffer(&mut self) {
        let waits = |kind: Kind| !self.writing.ready[kind as usize].is_empty() && !self.resend_room(kind);
        let full = Kind::ALL.into_iter().any(waits);
        if full && !self.writing.resend_full {
            self.count_limit("resend_buffer");
        }
        self.writing.resend_full = full;
    }

    /// SHUTDOWN ends our half of every channel: no END follows it, and none is needed.
    fn write_shutdown(&mut self, out: &mut Vec<u8>) {
        let seq = self.writing.resend.next_seq();
        let before = out.len();
        encode_numbered(out, seq, &Numbered::Shutdown { code: Code::NORMAL });
        self.writing.resend.keep(Kind::Control, out.len() - before, Body::Mark(out[before..].into()));
        self.writing.shutdown = true;
        self.stats.frames_sent += 1;
        for channel in self.channels.values_mut() {
            channel.end = End::Written;
        }
        let ids: Vec<ChannelId> = self.channels.keys().copied().collect();
        for id in ids {
            self.schedule(id);
        }
        self.forget_all_over();
    }

    /// Control first; `state` and `knowledge` share the rest in a 2:1 deficit round by bytes. A kind that has the
    /// wire for itself runs up no debt by it, nor does the other save anything up.
    fn next_kind(&mut self) -> Option<Kind> {
        let waits = |kind: Kind| !self.writing.ready[kind as usize].is_empty() && self.resend_room(kind);
        if waits(Kind::Control) {
            return Some(Kind::Control);
        }
        match (waits(Kind::State), waits(Kind::Knowledge)) {
            (false, false) => None,
            (state, knowledge) if state != knowledge => {
                self.writing.deficit = [0; 3];
                Some(if state { Kind::State } else { Kind::Knowledge })
            }
            _ => {
                let writing = &mut self.writing;
                let pair = [Kind::State, Kind::Knowledge];
                if writing.deficit[pair[writing.turn] as usize] <= 0 {
                    writing.turn = 1 - writing.turn;
                    let kind = pair[writing.turn] as usize;
                    writing.deficit[kind] = (writing.deficit[kind] + QUANTUM[kind]).min(QUANTUM[kind]);
                }
                Some(pair[writing.turn])
            }
        }
    }

    /// Whether the resend buffer takes a frame of this kind: control has a reserve of its own (RTT-21, RTT-28).
    fn resend_room(&self, kind: Kind) -> bool {
        let largest = RECORD_BYTES as u64;
        let [other, control] = self.writing.resend.bytes();
        let (all, reserve) = (u64::from(self.options.resend_bytes), u64::from(self.options.resend_reserve));
        match kind {
            Kind::Control => other + control + largest <= all,
            Kind::State | Kind::Knowledge => {
                other + largest <= all - reserve && other + control + largest <= all
            }
        }
    }

    /// Writes one frame of the first channel of a lane, and sends that channel to the end of its queue. False when
    /// the record has no room for it.
    fn write_channel(&mut self, lane: Kind, out: &mut Vec<u8>, limit: usize) -> bool {
        let Session { channels, writing, agreement, events, stats, memory, .. } = self;
        let ready = &mut writing.ready[lane as usize];
        let Some(&id) = ready.front() else { return false };
        let Some(channel) = channels.get_mut(&id) else {
            ready.pop_front();
            return true;
        };
        let before = out.len();
        if channel.writes_data() {
            let cap = (agreement.limits.frame_payload as usize).min(RECORD_BYTES - DATA_OVERHEAD);
            let Some(complete) = writing.write_data(id, channel, out, cap, limit) else { return false };
            if complete && channel.outbound.has_waiters() {
                acknowledging::admit_waiters(channel, memory, events);
            }
        } else if channel.has_work() {
            writing.write_mark(id, channel, agreement, out);
        }
        stats.frames_sent += u64::from(out.len() > before);
        let (next, released) = (channel.lane(), channel.released);
        channel.scheduled = channel.has_work();
        if !channel.scheduled {
            writing.ready[lane as usize].pop_front();
        } else if next != lane || writing.ready[lane as usize].len() > 1 {
            writing.ready[lane as usize].pop_front();
            writing.ready[next as usize].push_back(id);
        }
        if released {
            self.forget_if_over(id);
        }
        true
    }

    /// Nothing that is numbered may follow SHUTDOWN but RESET, so everything else must be written.
    fn shutdown_due(&self) -> bool {
        self.state == State::Closing
            && !self.writing.shutdown
            && self.channels.values().all(|channel| channel.is_written())
    }
}
