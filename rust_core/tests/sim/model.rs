//! What must be true of a conversation, kept beside it and never told by it: who accepted what, which of it was written,
//! which of it the other end took in. A session that disagrees is wrong.

use std::collections::VecDeque;

use web4_core::rtt::frame::{FIRST, HEADER_BYTES, Header, LAST, NUMBERED, kind};
use web4_core::rtt::opening_frame::SessionId;
use web4_core::rtt::{ChannelId, Kind, Lost, Nanos, ResumeTicket, Window};

use super::message::is_message;
use super::random::digest;

/// Something that must never happen, in words.
pub type Wrong = String;

/// A message that was accepted, and neither acknowledged nor evicted nor lost.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub number: u64,
    pub size: usize,
    /// In order of acceptance on its lane.
    pub index: u64,
    /// Its last byte was written.
    pub whole: bool,
}

/// One direction of a channel, from its sender's application to its receiver's.
#[derive(Debug, Default)]
pub struct Lane {
    pub attempted: u64,
    pub accepted: u64,
    pub acknowledged: u64,
    pub unacknowledged: VecDeque<Entry>,
    /// How many of `unacknowledged` have a byte on the wire.
    pub started: usize,
    /// Accepted and not evicted, and not taken out at the other end.
    pub undelivered: VecDeque<(u64, usize)>,
    /// What the other end's session says it received.
    pub received: u64,
    /// Messages and bytes that the other end's application took out.
    pub taken: (u64, u64),
    /// Messages and bytes whose first fragment was written.
    pub written: (u64, u64),
    /// The receiver may throw messages away: somebody reset the channel, or the receiver released it.
    pub loose: bool,
}

impl Lane {
    pub fn accept(&mut self, number: u64, size: usize) {
        self.unacknowledged.push_back(Entry { number, size, index: self.accepted, whole: false });
        self.undelivered.push_back((number, size));
        self.accepted += 1;
    }

    /// The policy evicted the oldest of which no byte was written (RTT-39, RTT-40).
    pub fn evict(&mut self, count: u64) -> Result<(), Wrong> {
        for _ in 0..count {
            let behind = self.unacknowledged.len().checked_sub(self.started + 1);
            let behind = behind.ok_or("evicted, though some byte of everything was written")?;
            self.unacknowledged.remove(self.started);
            self.undelivered.remove(self.undelivered.len() - 1 - behind);
        }
        Ok(())
    }

    /// The first fragment of a message was written for the first time.
    fn start(&mut self, total: u32, payload: &[u8], window: Window) -> Result<(), Wrong> {
        let Some(entry) = self.unacknowledged.get(self.started) else {
            return Err("a message was written that nobody sent".into());
        };
        let head = payload.first_chunk().map(|head| u64::from_be_bytes(*head));
        if total as usize != entry.size || head.is_some_and(|number| number != entry.number) {
            return Err(format!("{head:?} of {total} bytes was written before {entry:?}"));
        }
        self.started += 1;
        self.written = (self.written.0 + 1, self.written.1 + u64::from(total));
        // RTT-38: no more than a window beyond what the application at the other end took out.
        let beyond = (self.written.0 - self.taken.0, self.written.1 - self.taken.1);
        if !self.loose && (beyond.0 > u64::from(window.messages) || beyond.1 > u64::from(window.bytes)) {
            return Err(format!(
                "credit overrun: {beyond:?} beyond what was taken, the window is {window:?}"
            ));
        }
        Ok(())
    }

    /// The `count` oldest are acknowledged.
    pub fn acknowledge(&mut self, count: u64) -> Result<(), Wrong> {
        for _ in 0..count {
            match self.unacknowledged.pop_front() {
                Some(entry) if entry.whole => {}
                other => return Err(format!("{other:?} was acknowledged and not written whole")),
            }
            self.started -= 1;
        }
        self.acknowledged += count;
        Ok(())
    }

    /// A report of loss: it names everything unacknowledged, in order, and nothing else; the first `unlisted` of it may
    /// have been left out (RTT-25).
    pub fn lose(&mut self, lost: &[&Lost], unlisted: u64) -> Result<(), Wrong> {
        let count = lost.len() + unlisted as usize;
        let Some(acknowledged) = self.unacknowledged.len().checked_sub(count) else {
            return Err(format!("{count} lost of {} unacknowledged", self.unacknowledged.len()));
        };
        self.acknowledge(acknowledged as u64)?;
        for (position, entry) in self.unacknowledged.drain(..).enumerate() {
            let Some(lost) = position.checked_sub(unlisted as usize).and_then(|at| lost.get(at)) else {
                continue;
            };
            let reported = (lost.message.index, lost.message.unsent);
            let same = is_message(&lost.message.message, entry.number, entry.size);
            if !same || reported != (entry.index, position >= self.started) {
                return Err(format!("{reported:?} was reported lost instead of {entry:?}, at {position}"));
            }
        }
        self.started = 0;
        Ok(())
    }

    /// The receiving application took a message out (RTT-23, RTT-26).
    pub fn deliver(&mut self, message: &[u8]) -> Result<(), Wrong> {
        match self.undelivered.pop_front() {
            Some((number, size)) if is_message(message, number, size) => {
                self.taken = (self.taken.0 + 1, self.taken.1 + size as u64);
                Ok(())
            }
            expected => {
                let head = message.first_chunk().map(|head| u64::from_be_bytes(*head));
                Err(format!("delivered {head:?} of {} bytes instead of {expected:?}", message.len()))
            }
        }
    }
}

/// A channel as both applications know it.
#[derive(Debug)]
pub struct Channel {
    pub id: ChannelId,
    pub kind: Kind,
    /// By the side that sends.
    pub lanes: [Lane; 2],
    /// Which sides know it, and which have let go of it.
    pub known: [bool; 2],
    pub left: [bool; 2],
}

/// What one side of a conversation wrote, frame by frame, over all its carriers.
#[derive(Debug, Default)]
pub struct Wire {
    /// The last sequence number that was written.
    pub written: u64,
    /// Digests of numbered frames, the last one that of `written`.
    frames: VecDeque<u64>,
    acknowledged: u64,
}

/// A session as both ends know it: 0 is the initiator.
#[derive(Debug)]
pub struct Conversation {
    pub session_id: SessionId,
    pub nodes: [usize; 2],
    /// The ends of it that opened, and whose process lives.
    pub ends: [Option<usize>; 2],
    pub channels: Vec<Channel>,
    pub wires: [Wire; 2],
    pub windows: [Window; 3],
    pub tickets: Tickets,
    /// A side was restarted: the session can never go on.
    pub broken: bool,
    /// A resume overtook the CONFIRM of the first carrier, and named a session that was not open yet (RTT-37).
    pub too_early: bool,
}

impl Conversation {
    pub fn channel(&mut self, id: ChannelId) -> Option<&mut Channel> {
        self.channels.iter_mut().find(|channel| channel.id == id)
    }

    /// Reads what one side writes onto its carrier, and judges it. Returns a digest.
    pub fn written(&mut self, side: usize, record: &[u8]) -> Result<u64, Wrong> {
        let (mut rest, mut all) = (record, 0);
        while let Some(header) = Header::peek(rest) {
            let end = HEADER_BYTES + header.length as usize;
            let frame = rest.get(..end).ok_or("a write is not of whole frames")?;
            let value = digest(0, frame);
            if header.flags & NUMBERED != 0 {
                self.numbered(side, header, frame, value)?;
            } else if header.kind == kind::ACK {
                self.acknowledged(side, be64(&frame[HEADER_BYTES..]))?;
            }
            all = digest(all, &value.to_le_bytes());
            rest = &rest[end..];
        }
        if rest.is_empty() { Ok(all) } else { Err("a write is not of whole frames".into()) }
    }

    fn numbered(&mut self, side: usize, header: Header, frame: &[u8], value: u64) -> Result<(), Wrong> {
        let seq = be64(&frame[HEADER_BYTES..]);
        let wire = &mut self.wires[side];
        if seq <= wire.written {
            // Again, on another carrier: as it was, unless its channel was reset since.
            let back = (wire.written - seq) as usize;
            let known = wire.frames.len().checked_sub(back + 1).map(|at| wire.frames[at]);
            let reset = header.kind == kind::RESET;
            return match known {
                Some(before) if before != value && !reset => Err(format!("frame {seq} changed")),
                _ => Ok(()),
            };
        }
        if seq != wire.written + 1 {
            return Err(format!("frame {seq} was written after {}", wire.written));
        }
        wire.written = seq;
        wire.frames.push_back(value);
        if header.kind == kind::DATA {
            let id = u32::from_be_bytes([frame[14], frame[15], frame[16], frame[17]]);
            let windows = self.windows;
            let Some(channel) = self.channel(id) else { return Err(format!("DATA on no channel {id}")) };
            let (window, lane) = (windows[channel.kind as usize], &mut channel.lanes[side]);
            if header.flags & FIRST != 0 {
                let total = u32::from_be_bytes([frame[18], frame[19], frame[20], frame[21]]);
                lane.start(total, &frame[22..], window)?;
            }
            if header.flags & LAST != 0 {
                let at = lane.started.checked_sub(1).ok_or("the end of a message without its beginning")?;
                lane.unacknowledged[at].whole = true;
            }
        }
        Ok(())
    }

    /// `side` told the other that it has everything up to `cursor`.
    pub fn acknowledged(&mut self, side: usize, cursor: u64) -> Result<(), Wrong> {
        let theirs = &mut self.wires[1 - side];
        if cursor < theirs.acknowledged || cursor > theirs.written {
            return Err(format!(
                "side {side} acknowledged {cursor} after {} of {}",
                theirs.acknowledged, theirs.written
            ));
        }
        theirs.acknowledged = cursor;
        let kept = (theirs.written - cursor) as usize;
        let done = theirs.frames.len().saturating_sub(kept);
        theirs.frames.drain(..done);
        Ok(())
    }
}

/// The integer at the front of these bytes.
pub fn be64(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |head| u64::from_be_bytes(*head))
}

/// The acceptor's tickets, by RTT-32.
#[derive(Debug)]
pub struct Tickets {
    pub current: ResumeTicket,
    next: Option<ResumeTicket>,
    pub spent: Vec<ResumeTicket>,
    /// What the initiator holds. Somebody may steal it.
    pub held: ResumeTicket,
    pub granted_epoch: u32,
}

impl Tickets {
    pub fn new(first: ResumeTicket) -> Tickets {
        Tickets { current: first, next: None, spent: Vec::new(), held: first, granted_epoch: 0 }
    }

    /// A resume was granted.
    pub fn grant(&mut self, presented: ResumeTicket, epoch: u32, next: ResumeTicket) -> Result<(), Wrong> {
        if self.next == Some(presented) {
            self.spent.push(std::mem::replace(&mut self.current, presented));
        } else if self.current == presented {
            self.spent.extend(self.next);
        } else {
            return Err("a resume was granted for a ticket that is not the current one".into());
        }
        self.next = Some(next);
        if epoch <= self.granted_epoch {
            return Err(format!("epoch {epoch} was granted after {}", self.granted_epoch));
        }
        self.granted_epoch = epoch;
        Ok(())
    }

    /// The grant was confirmed: the ticket is spent.
    pub fn confirm(&mut self, presented: ResumeTicket) -> Result<(), Wrong> {
        let (true, Some(next)) = (self.current == presented, self.next.take()) else {
            return Err("a grant was confirmed that was superseded".into());
        };
        self.spent.push(std::mem::replace(&mut self.current, next));
        Ok(())
    }
}

/// What a session's own events must look like, seen from outside (RTT-54).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Open,
    Suspended(Nanos),
    Closed,
}
