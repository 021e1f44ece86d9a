//! What was written and is not acknowledged, so that it can be written again on another carrier (section 8).

use std::collections::{BTreeMap, VecDeque};

use super::channel::{Channel, ChannelId};
use super::code::Code;
use super::frame::{Numbered, encode_numbered};
use super::limits::Kind;

/// What it takes to write a frame again.
#[derive(Debug)]
pub(super) enum Body {
    /// A piece of a message. Its bytes stay with the channel until they are acknowledged.
    Data { channel: ChannelId, index: u64, offset: u32, length: u32, last: bool },
    /// Any other numbered frame, as it was written: they are small and rare.
    Mark(Box<[u8]>),
}

/// A written frame that the peer has not acknowledged.
#[derive(Debug)]
pub(super) struct Sent {
    /// Bytes on the wire.
    pub size: u32,
    control: bool,
    body: Body,
}

impl Sent {
    /// Appends the frame as it was written.
    ///
    /// A piece of a message whose channel was reset since has lost its bytes; a reset of the channel takes its place
    /// and its sequence number. The peer will be told so anyway, or has said so itself.
    pub fn encode(&self, seq: u64, channels: &BTreeMap<ChannelId, Box<Channel>>, out: &mut Vec<u8>) {
        let (channel, index, offset, length, last) = match &self.body {
            Body::Mark(frame) => return out.extend_from_slice(frame),
            Body::Data { channel, index, offset, length, last } => {
                (*channel, *index, *offset as usize, *length as usize, *last)
            }
        };
        let message = channels.get(&channel).and_then(|entry| entry.outbound.written_message(index));
        let Some(message) = message else {
            return encode_numbered(out, seq, &Numbered::Reset { channel, code: Code::CANCELLED });
        };
        let total = (offset == 0).then_some(message.len() as u32);
        let payload = &message[offset..offset + length];
        encode_numbered(out, seq, &Numbered::Data { channel, total, last, payload });
    }

    /// The channel whose oldest message in flight is complete with this frame.
    fn completes(&self) -> Option<ChannelId> {
        match self.body {
            Body::Data { channel, last: true, .. } => Some(channel),
            _ => None,
        }
    }
}

/// Never discards: what does not fit is not written (RTT-28).
#[derive(Debug, Default)]
pub(super) struct ResendBuffer {
    written: u64,
    acknowledged: u64,
    sent: VecDeque<Sent>,
    /// Of control and of everything else, that last first.
    bytes: [u64; 2],
    /// How many of `sent` are written on the current carrier.
    current: usize,
}

impl ResendBuffer {
    /// Takes the next sequence number.
    pub fn next_seq(&mut self) -> u64 {
        self.written += 1;
        self.written
    }

    /// Keeps the frame that was just written.
    pub fn keep(&mut self, kind: Kind, size: usize, body: Body) {
        let control = kind == Kind::Control;
        self.bytes[usize::from(control)] += size as u64;
        self.sent.push_back(Sent { size: size as u32, control, body });
        self.current += 1;
    }

    /// Bytes that are kept: of other kinds, and of control.
    pub fn bytes(&self) -> [u64; 2] {
        self.bytes
    }

    /// The highest sequence number that the peer has.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Whether everything is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Whether a peer that keeps the rules could say this cursor.
    pub fn is_sound(&self, cursor: u64) -> bool {
        (self.acknowledged..=self.written).contains(&cursor)
    }

    /// Whether the peer could ever have said this cursor, be it long ago.
    pub fn is_written(&self, cursor: u64) -> bool {
        cursor <= self.written
    }

    /// The later of what this cursor says and what is known.
    pub fn at_least_acknowledged(&self, cursor: u64) -> u64 {
        cursor.max(self.acknowledged)
    }

    /// Drops the oldest frame if `cursor` covers it: `Some` of the channel of which it completes a message.
    pub fn acknowledge_one(&mut self, cursor: u64) -> Option<Option<ChannelId>> {
        if self.acknowledged >= cursor {
            return None;
        }
        let sent = self.sent.pop_front()?;
        self.acknowledged += 1;
        self.current = self.current.saturating_sub(1);
        self.bytes[usize::from(sent.control)] -= u64::from(sent.size);
        Some(sent.completes())
    }

    /// A new carrier: everything kept is to be written again.
    pub fn rewind(&mut self) {
        self.current = 0;
    }

    /// Whether something is still to be written again.
    pub fn is_behind(&self) -> bool {
        self.current < self.sent.len()
    }

    /// The next frame to be written again, and its sequence number.
    pub fn next_again(&self) -> Option<(u64, &Sent)> {
        let sent = self.sent.get(self.current)?;
        Some((self.acknowledged + self.current as u64 + 1, sent))
    }

    /// `next_again` was written.
    pub fn wrote_again(&mut self) {
        self.current += 1;
    }

    /// Gives back memory that is not in use.
    pub fn rest(&mut self) {
        self.sent.shrink_to_fit();
    }
}
