//! A carrier as TLS makes it: records arrive whole, unaltered, once and in order, or the carrier ends (RTT-49). What a
//! network does to records is done to them here; what TLS does about it, too.

use std::collections::VecDeque;

use web4_core::rtt::{Nanos, Opening, ResumeTicket};

/// One TLS record on its way.
#[derive(Clone, Debug)]
struct Record {
    at: Nanos,
    number: u64,
    altered: bool,
    bytes: Vec<u8>,
}

/// What somebody on the way does to records.
#[derive(Clone, Copy, Debug)]
pub enum Tampering {
    Drop,
    Alter,
    Repeat,
    Swap,
}

/// What the reader of a direction sees next.
#[derive(Debug)]
pub enum Arrival {
    /// Plaintext that TLS stands for.
    Bytes(Vec<u8>),
    /// The end of the stream.
    End,
    /// A record that TLS does not stand for: the carrier is over.
    Damaged,
}

/// One direction of a carrier.
#[derive(Debug, Default)]
pub struct Direction {
    records: VecDeque<Record>,
    written: u64,
    expected: u64,
    /// Bytes of the first record that were handed out already.
    offset: usize,
    in_transit: usize,
    /// Nothing more is written; the reader learns of it then, behind the records.
    ends_at: Option<Nanos>,
    /// Half-open: what is written vanishes, and nobody is told.
    pub silent: bool,
}

impl Direction {
    pub fn write(&mut self, bytes: Vec<u8>, at: Nanos) {
        if self.silent || self.ends_at.is_some() || bytes.is_empty() {
            return;
        }
        let at = at.max(self.records.back().map_or(0, |last| last.at));
        self.in_transit += bytes.len();
        self.records.push_back(Record { at, number: self.written, altered: false, bytes });
        self.written += 1;
    }

    /// The writer is gone.
    pub fn end(&mut self, at: Nanos) {
        if !self.silent && self.ends_at.is_none() {
            self.ends_at = Some(at.max(self.records.back().map_or(0, |last| last.at)));
        }
    }

    /// Only the first `kept` records still arrive.
    pub fn cut(&mut self, kept: usize) {
        self.records.truncate(kept);
        self.in_transit = self.records.iter().map(|record| record.bytes.len()).sum();
        if self.records.is_empty() {
            self.offset = 0;
        }
    }

    /// The reader is gone.
    pub fn forget(&mut self) {
        self.cut(0);
        (self.silent, self.ends_at) = (true, None);
    }

    pub fn tamper(&mut self, how: Tampering, at: usize) {
        // What was handed out in part was whole and unaltered: TLS has judged it.
        let at = at.max(usize::from(self.offset > 0));
        if at >= self.records.len() {
            return;
        }
        match how {
            Tampering::Drop => {
                self.records.remove(at);
            }
            Tampering::Alter => self.records[at].altered = true,
            Tampering::Repeat => {
                let copy = self.records[at].clone();
                self.records.insert(at + 1, copy);
            }
            Tampering::Swap if at + 1 < self.records.len() => self.records.swap(at, at + 1),
            Tampering::Swap => {}
        }
        self.in_transit = self.records.iter().map(|record| record.bytes.len()).sum();
    }

    pub fn records(&self) -> usize {
        self.records.len()
    }

    pub fn in_transit(&self) -> usize {
        self.in_transit
    }

    /// When the reader has something to see next.
    pub fn ready_at(&self) -> Option<Nanos> {
        self.records.front().map(|record| record.at).or(self.ends_at)
    }

    /// What the reader sees, at most `most` bytes of it.
    pub fn take(&mut self, most: usize) -> Arrival {
        let Some(front) = self.records.front_mut() else {
            self.forget();
            return Arrival::End;
        };
        if self.offset == 0 && (front.altered || front.number != self.expected) {
            self.forget();
            return Arrival::Damaged;
        }
        let rest = front.bytes.len() - self.offset;
        if most < rest {
            let piece = front.bytes[self.offset..self.offset + most.max(1)].to_vec();
            self.offset += piece.len();
            return Arrival::Bytes(piece);
        }
        self.expected += 1;
        self.in_transit -= front.bytes.len();
        let mut bytes = std::mem::take(&mut front.bytes);
        self.records.pop_front();
        bytes.drain(..std::mem::take(&mut self.offset));
        Arrival::Bytes(bytes)
    }
}

/// What an end of a carrier is used for.
#[derive(Debug)]
pub enum Use {
    Opening(Box<Opening>),
    /// By the session of that end.
    Serving(usize),
    Gone,
}

/// What a carrier was dialled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Start,
    /// To go on with the session of that end.
    Resume(usize),
    /// To present a ticket that must be refused.
    Probe,
}

/// What the acceptor granted on a carrier, and waits to see confirmed.
#[derive(Clone, Copy, Debug)]
pub enum Granted {
    /// The session of that conversation.
    Start(usize),
    /// A resume of that end, for the ticket that was presented.
    Resume(usize, ResumeTicket),
}

/// One authenticated byte stream between two nodes. Direction and end 0 are the initiator's.
#[derive(Debug)]
pub struct Carrier {
    /// Proven by TLS at both ends.
    pub nodes: [usize; 2],
    pub purpose: Purpose,
    pub uses: [Use; 2],
    pub directions: [Direction; 2],
    /// When each end gives up opening it, on its own clock.
    pub deadlines: [Nanos; 2],
    pub delay: Nanos,
    pub granted: Option<Granted>,
}

impl Carrier {
    pub fn is_gone(&self) -> bool {
        self.uses.iter().all(|end| matches!(end, Use::Gone))
    }

    pub fn is_opening(&self, end: usize) -> bool {
        matches!(self.uses[end], Use::Opening(_))
    }
}
