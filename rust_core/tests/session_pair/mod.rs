//! Two sessions and the wire between them, in memory and in virtual time; and one session with a scripted peer.
//!
//! Everything that varies comes from a seed, so a test is the same test every time it runs.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::VecDeque;

use bytes::Bytes;
use web4_core::rtt::frame::{self, Frame, HEADER_BYTES, Header, Numbered};
use web4_core::rtt::{
    Agreement, ChannelId, Code, Event, Kind, MILLISECOND, Nanos, Nothing, Offered, Opening, OpeningStep,
    Options, Policy, ResumeTicket, Resumed, Session, Window,
};

/// A small generator of reproducible numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// How a wire treats what is written to it. The order of bytes never changes.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    /// Every piece takes from this to twice this long.
    pub delay: Nanos,
    /// The largest piece in which bytes arrive.
    pub piece: usize,
}

/// Arrives at once, in the pieces it was written in.
pub const PLAIN: Wire = Wire { delay: 0, piece: usize::MAX };

/// One end, and what it has written that has not arrived.
#[derive(Debug)]
pub struct Side {
    pub session: Session,
    /// Everything its session told, in order.
    pub events: Vec<Event>,
    /// All plaintext it ever wrote.
    pub written: Vec<u8>,
    in_transit: VecDeque<(Nanos, Vec<u8>)>,
    /// Nothing of what this end wrote arrives while this is set.
    pub held: bool,
}

impl Side {
    /// Forgets what it wrote and told, and the memory of it.
    pub fn forget_history(&mut self) {
        self.events = Vec::new();
        self.written = Vec::new();
        self.in_transit = VecDeque::new();
    }
}

/// The initiator is side 0, the acceptor side 1.
#[derive(Debug)]
pub struct Pair {
    pub now: Nanos,
    pub sides: [Side; 2],
    wire: Wire,
    random: Random,
}

pub const INITIATOR: usize = 0;
pub const ACCEPTOR: usize = 1;

impl Pair {
    /// An open pair on a plain wire.
    pub fn new(options: &Options) -> Pair {
        Self::with(options, options, PLAIN, 0)
    }

    /// An open pair; the opening travelled over the same wire.
    pub fn with(initiator: &Options, acceptor: &Options, wire: Wire, seed: u64) -> Pair {
        let mut random = Random(seed);
        let [one, two] = open(initiator, acceptor, &mut random, wire.piece);
        let side = |session| Side {
            session,
            events: Vec::new(),
            written: Vec::new(),
            in_transit: VecDeque::new(),
            held: false,
        };
        Pair { now: 0, sides: [side(one), side(two)], wire, random }
    }

    /// Two sessions that go on after a cut.
    pub fn resumable(options: &Options) -> Pair {
        let mut pair = Pair::new(options);
        for side in 0..2 {
            pair.session(side).allow_resume(ResumeTicket([8; 32]));
        }
        pair
    }

    /// Gives the session another carrier, as two `Opening`s would.
    pub fn resume(&mut self, next_ticket: ResumeTicket) -> Result<(), Code> {
        let now = self.now;
        let request = self.session(0).ask_resume().expect("the initiator can resume");
        let grant = self.session(1).grant_resume(&request, next_ticket, now)?;
        let resumed = |cursor| Resumed {
            session_id: request.session_id,
            epoch: grant.epoch,
            cursor,
            ticket: grant.ticket,
        };
        self.session(0).resume(&resumed(grant.cursor), now)?;
        self.session(1).resume(&resumed(request.cursor), now)
    }

    /// What was written and has not arrived never will.
    pub fn forget_in_transit(&mut self) {
        self.sides.iter_mut().for_each(|side| side.in_transit.clear());
    }

    pub fn session(&mut self, side: usize) -> &mut Session {
        &mut self.sides[side].session
    }

    /// Opens a channel at `side` and carries it over.
    pub fn channel(&mut self, side: usize, kind: Kind, policy: Policy) -> ChannelId {
        let id = self.session(side).open_channel(kind, "test", policy).expect("room for a channel");
        self.settle();
        id
    }

    /// Sends one message that must be accepted at once.
    pub fn send(&mut self, side: usize, channel: ChannelId, message: &[u8]) {
        let message = Bytes::copy_from_slice(message);
        let offered = self.session(side).send(channel, vec![message], false, 0);
        assert_eq!(offered, Ok(Offered::AllAccepted));
    }

    /// Takes out everything that waits on a channel.
    pub fn receive_all(&mut self, side: usize, channel: ChannelId) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.session(side).receive(channel).ok()).collect()
    }

    /// What a channel that holds no message says.
    pub fn nothing(&mut self, side: usize, channel: ChannelId) -> Nothing {
        self.session(side).receive(channel).expect_err("no message")
    }

    /// Events of one side since the last call.
    pub fn events(&mut self, side: usize) -> Vec<Event> {
        self.collect_events(side);
        std::mem::take(&mut self.sides[side].events)
    }

    fn collect_events(&mut self, side: usize) {
        let Side { session, events, .. } = &mut self.sides[side];
        events.extend(std::iter::from_fn(|| session.poll_event()));
    }

    /// Lets both sides write what they have to say now.
    pub fn transmit(&mut self) {
        for side in 0..2 {
            let mut record = Vec::new();
            while self.sides[side].session.transmit(&mut record) {
                assert!(record.len() <= web4_core::rtt::RECORD_BYTES, "a write is one record");
                self.sides[side].written.extend_from_slice(&record);
                let mut rest = &record[..];
                while !rest.is_empty() {
                    let most = rest.len().min(self.wire.piece) as u64;
                    let (piece, more) = rest.split_at(1 + self.random.below(most) as usize);
                    let earliest = self.sides[side].in_transit.back().map_or(0, |(at, _)| *at);
                    let arrival = self.now + self.wire.delay + self.random.below(self.wire.delay + 1);
                    self.sides[side].in_transit.push_back((arrival.max(earliest), piece.to_vec()));
                    rest = more;
                }
                record.clear();
            }
            let now = self.now;
            self.session(side).written_at(Some(now));
            self.collect_events(side);
        }
    }

    /// Delivers what has arrived by now. True when there was something.
    pub fn deliver(&mut self) -> bool {
        let mut some = false;
        for side in 0..2 {
            while !self.sides[side].held
                && let Some((at, _)) = self.sides[side].in_transit.front()
                && *at <= self.now
            {
                let (_, piece) = self.sides[side].in_transit.pop_front().expect("it was there");
                let now = self.now;
                self.session(1 - side).receive_plaintext(&piece, now).expect("this build breaks no rule");
                self.collect_events(1 - side);
                some = true;
            }
        }
        some
    }

    /// Writes and delivers until nothing more happens at this instant.
    pub fn settle(&mut self) {
        loop {
            self.transmit();
            if !self.deliver() {
                return;
            }
        }
    }

    /// When something happens next: an arrival or a deadline.
    pub fn next_instant(&self) -> Option<Nanos> {
        let arrivals = self
            .sides
            .iter()
            .filter(|side| !side.held)
            .filter_map(|side| side.in_transit.front().map(|(at, _)| *at));
        let deadlines = self.sides.iter().filter_map(|side| side.session.deadline());
        arrivals.chain(deadlines).min()
    }

    /// Lets time pass, with everything that happens meanwhile.
    pub fn advance(&mut self, duration: Nanos) {
        let until = self.now + duration;
        self.settle();
        while let Some(next) = self.next_instant().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.settle();
            for side in 0..2 {
                let now = self.now;
                if self.session(side).deadline().is_some_and(|deadline| deadline <= now) {
                    self.session(side).handle_timeout(now);
                    self.collect_events(side);
                }
            }
            self.settle();
        }
        self.now = until;
    }

    /// The carrier ends; what is in transit is gone.
    pub fn cut(&mut self) {
        for side in 0..2 {
            self.sides[side].in_transit.clear();
            let now = self.now;
            self.session(side).carrier_lost(now);
            self.collect_events(side);
        }
    }
}

/// Two sessions, opened through both `Opening` machines with pieces of any size.
fn open(initiator: &Options, acceptor: &Options, random: &mut Random, piece: usize) -> [Session; 2] {
    let mut out = [Vec::new(), Vec::new()];
    let mut openings =
        [Opening::initiate(initiator, [1; 16], &mut out[0]), Opening::accept(acceptor, [2; 16])];
    let mut opened = [None, None];
    for round in 0.. {
        assert!(round < 10, "an opening takes three writes");
        for side in 0..2 {
            let bytes = std::mem::take(&mut out[side]);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let most = rest.len().min(piece) as u64;
                let (piece, more) = rest.split_at(1 + random.below(most) as usize);
                rest = more;
                let to = 1 - side;
                match openings[to].receive(piece, &mut out[to]).expect("a sound opening") {
                    OpeningStep::Wait => {}
                    OpeningStep::Asked { boot_id } => {
                        assert_eq!(boot_id, [1; 16]);
                        openings[to].answer([7; 16], ResumeTicket([8; 32]), &mut out[to]);
                    }
                    OpeningStep::Open(done) => opened[to] = Some(done),
                    other => panic!("a new session: {other:?}"),
                }
            }
        }
        if let [Some(_), Some(_)] = opened {
            break;
        }
    }
    let options = [initiator, acceptor];
    let mut side = 0;
    opened.map(|done| {
        let done = done.expect("both are open");
        assert!(done.rest.is_empty());
        side += 1;
        Session::new(done.session_id, done.agreement, options[side - 1], 0)
    })
}

/// What a session wrote, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrote {
    Open { channel: u32, kind: u8, credit: Window, max_message: u32 },
    Data { channel: u32, total: Option<u32>, last: bool, payload: Vec<u8> },
    End { channel: u32 },
    Reset { channel: u32, code: Code },
    Shutdown,
    Credit { channel: u32, messages: u64, bytes: u64 },
    Ack { cursor: u64 },
    Ping { token: [u8; 8] },
    Pong { token: [u8; 8] },
    Close { code: Code, reason: String },
}

/// One session, and a peer that says what the test wants, be it allowed or not.
#[derive(Debug)]
pub struct Scripted {
    pub now: Nanos,
    pub session: Session,
    pub seq: u64,
    /// The highest sequence number the session wrote.
    pub highest: u64,
}

impl Scripted {
    /// The session under test accepted; the scripted peer dialled, so its channels have odd ids.
    pub fn new(options: &Options) -> Scripted {
        Self::with(options, false)
    }

    pub fn with(options: &Options, initiator: bool) -> Scripted {
        let agreement = Agreement { initiator, limits: options.limits, resume_window_ms: 0 };
        Scripted { now: 0, session: Session::new([7; 16], agreement, options, 0), seq: 0, highest: 0 }
    }

    /// Bytes from the peer, as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), Code> {
        self.session.receive_plaintext(bytes, self.now)
    }

    pub fn frame(&mut self, frame: Frame<'_>) -> Result<(), Code> {
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, &frame);
        self.raw(&bytes)
    }

    /// A numbered frame under the next sequence number.
    pub fn numbered(&mut self, numbered: Numbered<'_>) -> Result<(), Code> {
        self.seq += 1;
        self.frame(Frame::Numbered(self.seq, numbered))
    }

    pub fn open(&mut self, channel: u32, kind: Kind) -> Result<(), Code> {
        let limits = self.session.agreement().limits.kind(kind);
        self.numbered(Numbered::Open {
            channel,
            kind: kind as u8,
            name: "test",
            credit: limits.window,
            max_message: limits.max_message,
        })
    }

    /// A whole message in one frame.
    pub fn message(&mut self, channel: u32, payload: &[u8]) -> Result<(), Code> {
        let total = Some(payload.len() as u32);
        self.numbered(Numbered::Data { channel, total, last: true, payload })
    }

    pub fn ack_all(&mut self) -> Result<(), Code> {
        self.frame(Frame::Ack { cursor: self.highest })
    }

    /// Everything the session writes now.
    pub fn wrote(&mut self) -> Vec<Wrote> {
        let mut bytes = Vec::new();
        while self.session.transmit(&mut bytes) {}
        let (frames, highest) = parse(&bytes);
        self.highest = self.highest.max(highest);
        frames
    }

    /// The same, one record only.
    pub fn wrote_record(&mut self) -> Vec<Wrote> {
        let mut bytes = Vec::new();
        self.session.transmit(&mut bytes);
        let (frames, highest) = parse(&bytes);
        self.highest = self.highest.max(highest);
        frames
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    pub fn pass(&mut self, duration: Nanos) {
        self.now += duration;
        self.session.handle_timeout(self.now);
    }
}

/// Reads back what a session wrote; also the highest sequence number in it.
pub fn parse(mut bytes: &[u8]) -> (Vec<Wrote>, u64) {
    let (mut frames, mut highest) = (Vec::new(), 0);
    while let Some(header) = Header::peek(bytes) {
        let end = HEADER_BYTES + header.length as usize;
        let frame = frame::decode(header, &bytes[HEADER_BYTES..end]).expect("a sound frame");
        bytes = &bytes[end..];
        frames.push(match frame {
            Frame::Numbered(seq, numbered) => {
                assert!(highest == 0 || seq == highest + 1, "sequence numbers have no gaps");
                highest = seq;
                owned(numbered)
            }
            Frame::Credit { channel, messages, bytes } => Wrote::Credit { channel, messages, bytes },
            Frame::Ack { cursor } => Wrote::Ack { cursor },
            Frame::Ping { token } => Wrote::Ping { token },
            Frame::Pong { token } => Wrote::Pong { token },
            Frame::Close { code, reason } => Wrote::Close { code, reason: reason.to_owned() },
            Frame::Unknown => panic!("a session writes no unknown frame"),
        });
    }
    assert!(bytes.is_empty(), "a session writes whole frames");
    (frames, highest)
}

fn owned(numbered: Numbered<'_>) -> Wrote {
    match numbered {
        Numbered::Open { channel, kind, credit, max_message, .. } => {
            Wrote::Open { channel, kind, credit, max_message }
        }
        Numbered::Data { channel, total, last, payload } => {
            Wrote::Data { channel, total, last, payload: payload.to_vec() }
        }
        Numbered::End { channel } => Wrote::End { channel },
        Numbered::Reset { channel, code } => Wrote::Reset { channel, code },
        Numbered::Shutdown { .. } => Wrote::Shutdown,
        Numbered::Unknown => panic!("a session writes no unknown frame"),
    }
}

/// Options with small windows, so that tests reach every limit with little: control and knowledge hold 4 messages
/// or 4 KiB, state 2 messages or 2 KiB; messages have at most 1 KiB.
pub fn small() -> Options {
    let mut options = Options::default();
    for (limits, messages) in options.limits.kinds.iter_mut().zip([4, 2, 4]) {
        limits.max_message = 1024;
        limits.window = Window { messages, bytes: messages * 1024 };
    }
    options
}

pub const SECOND: Nanos = 1_000 * MILLISECOND;
