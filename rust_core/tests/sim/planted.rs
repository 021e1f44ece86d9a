//! Bugs put between a session and the world on purpose: the simulator is worth nothing unless it finds them.

use web4_core::rtt::ResumeRequest;
use web4_core::rtt::frame::{FIRST, HEADER_BYTES, Header, LAST, kind};

use super::model::be64;
use super::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    /// Acknowledgements name one frame more than arrived.
    AckOffByOne,
    /// RESUMED carries the initiator's cursor instead of the acceptor's.
    CursorSwapped,
    /// Every grant of credit is short by one message more than the one before, and none shrinks.
    CreditLeak,
    /// A message that arrives a second time is handed out a second time.
    DuplicateNotDropped,
    /// A spent ticket is good for another resume.
    TicketReused,
}

impl Bug {
    pub const ALL: [Bug; 5] =
        [Bug::AckOffByOne, Bug::CursorSwapped, Bug::CreditLeak, Bug::DuplicateNotDropped, Bug::TicketReused];
}

impl World {
    /// Alters what an end has written, after it was judged.
    pub fn plant(&mut self, end: usize, record: &mut [u8]) {
        let wanted = match self.bug {
            Bug::AckOffByOne => kind::ACK,
            Bug::CreditLeak => kind::CREDIT,
            _ => return,
        };
        let (side, conversation) = (self.ends[end].side, self.ends[end].conversation);
        let written = self.conversations[conversation].wires[1 - side].written;
        let leaks = &mut self.ends[end].leaks;
        let mut at = 0;
        while let Some(header) = Header::peek(&record[at..]) {
            let body = &mut record[at + HEADER_BYTES..at + HEADER_BYTES + header.length as usize];
            at += HEADER_BYTES + body.len();
            if header.kind != wanted {
                continue;
            }
            match body {
                // CREDIT: channel, messages, bytes.
                [a, b, c, d, messages @ ..] if wanted == kind::CREDIT => {
                    let (leaked, last) = leaks.entry(u32::from_be_bytes([*a, *b, *c, *d])).or_default();
                    *leaked += 1;
                    *last = be64(messages).saturating_sub(*leaked).max(*last);
                    messages[..8].copy_from_slice(&last.to_be_bytes());
                }
                cursor => {
                    let more = (be64(cursor) + 1).min(written);
                    cursor.copy_from_slice(&more.to_be_bytes());
                }
            }
        }
    }

    /// Notes whole messages that arrive again.
    pub fn echo_duplicates(&mut self, end: usize, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(header) = Header::peek(rest) {
            let length = HEADER_BYTES + header.length as usize;
            let Some(frame) = rest.get(..length) else { return };
            if header.kind == kind::DATA && frame.len() >= 22 {
                let seq = be64(&frame[HEADER_BYTES..]);
                let channel = u32::from_be_bytes([frame[14], frame[15], frame[16], frame[17]]);
                if seq <= self.ends[end].seen && header.flags & (FIRST | LAST) == FIRST | LAST {
                    self.ends[end].echoes.push_back((channel, frame[22..].to_vec()));
                }
                self.ends[end].seen = self.ends[end].seen.max(seq);
            }
            rest = &rest[length..];
        }
    }

    /// Forgets that a ticket was spent.
    pub fn accept_any_ticket(&mut self, conversation: usize, request: &mut ResumeRequest) {
        let tickets = &self.conversations[conversation].tickets;
        if tickets.spent.contains(&request.ticket) {
            (request.ticket, request.epoch) = (tickets.current, tickets.granted_epoch + 1);
        }
    }
}
