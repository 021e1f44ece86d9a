//! Lists of operations on a pair of sessions, against a small model of what a session promises: what was accepted is
//! delivered once and in order, or dropped, or lost, as counted (RTT-22, RTT-23, RTT-42); equal inputs give equal
//! outputs (RTT-2).

mod session_pair;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;
use session_pair::*;
use web4_core::rtt::{
    CHANNEL_ZERO, ChannelId, Code, Event, Kind, Offered, Options, Outcome, Policy, Session, State, Ticket,
};

#[derive(Clone, Debug)]
enum Operation {
    Open { side: usize, kind: Kind, policy: Policy },
    SetPolicy { side: usize, channel: usize, policy: Policy },
    Send { side: usize, channel: usize, sizes: Vec<u16>, wait: bool },
    CancelSend { side: usize, nth: usize },
    Flush { side: usize, channel: usize },
    Receive { side: usize, channel: usize, most: usize },
    End { side: usize, channel: usize },
    Release { side: usize, channel: usize },
    Reset { side: usize, channel: usize },
    Hold { side: usize },
    Transmit,
    Settle,
    Advance { milliseconds: u64 },
    Shutdown { side: usize },
    Abort { side: usize },
    Cut,
}

/// A fault planted between a session and the model, to see that the model notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Omit,
    Repeat,
    Swap,
    Alter,
}

/// What one side knows of one direction of a channel that it sends on.
#[derive(Debug, Default)]
struct Sent {
    /// Messages accepted, in order, by their number.
    accepted: Vec<u64>,
    attempted: u64,
    /// Messages the other side took out, in order.
    delivered: Vec<u64>,
    /// Listed as lost when the session closed, or before that by a reset.
    lost: Vec<u64>,
    /// An end of the channel that may throw messages away: released or reset by somebody.
    broken: bool,
}

#[derive(Debug)]
struct Model {
    pair: Pair,
    fault: Fault,
    channels: Vec<ChannelId>,
    sent: BTreeMap<(usize, ChannelId), Sent>,
    waiting: [VecDeque<(Ticket, ChannelId, Vec<u64>)>; 2],
    flushes: [BTreeMap<Ticket, (ChannelId, usize)>; 2],
    next: u64,
    held_back: Option<Vec<u8>>,
    trace: Vec<String>,
}

fn options() -> Options {
    Options { resend_bytes: 36 * 1024, resend_reserve: 16 * 1024, ..small() }
}

/// A message of a certain size that tells its number, and whose every byte depends on it.
fn message(number: u64, size: u16) -> Bytes {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend(Random(number).bytes(usize::from(size)));
    Bytes::from(bytes)
}

fn number_of(message: &[u8]) -> Result<u64, String> {
    let number =
        message.first_chunk().map(|head| u64::from_be_bytes(*head)).ok_or("a message without its head")?;
    let size = message.len() - 8;
    match self::message(number, size as u16) == message {
        true => Ok(number),
        false => Err(format!("message {number} arrived altered")),
    }
}

impl Model {
    fn new(fault: Fault, wire: Wire, seed: u64) -> Model {
        Model {
            pair: Pair::with(&options(), &options(), wire, seed),
            fault,
            channels: vec![CHANNEL_ZERO],
            sent: BTreeMap::new(),
            waiting: Default::default(),
            flushes: Default::default(),
            next: 1,
            held_back: None,
            trace: Vec::new(),
        }
    }

    fn session(&mut self, side: usize) -> &mut Session {
        self.pair.session(side)
    }

    fn id(&self, channel: usize) -> ChannelId {
        self.channels[channel % self.channels.len()]
    }

    fn sent(&mut self, side: usize, id: ChannelId) -> &mut Sent {
        self.sent.entry((side, id)).or_default()
    }

    fn apply(&mut self, operation: &Operation) -> Result<(), String> {
        match *operation {
            Operation::Open { side, kind, policy } => {
                if let Ok(id) = self.session(side).open_channel(kind, "model", policy) {
                    self.channels.push(id);
                }
            }
            Operation::SetPolicy { side, channel, policy } => {
                let id = self.id(channel);
                // The policy belongs to the opening of a channel: not under those who wait already.
                if !self.waiting[side].iter().any(|(_, waiting, _)| *waiting == id) {
                    self.session(side).set_policy(id, policy).ok();
                }
            }
            Operation::Send { side, channel, ref sizes, wait } => self.send(side, channel, sizes, wait)?,
            Operation::CancelSend { side, nth } => self.cancel(side, nth)?,
            Operation::Flush { side, channel } => {
                let (id, ticket) = (self.id(channel), self.next);
                self.next += 1;
                let accepted = self.sent(side, id).accepted.len();
                if self.session(side).flush(id, ticket) == Ok(false) {
                    self.flushes[side].insert(ticket, (id, accepted));
                }
            }
            Operation::Receive { side, channel, most } => {
                let id = self.id(channel);
                self.receive(side, id, most)?;
            }
            Operation::End { side, channel } => {
                let id = self.id(channel);
                self.session(side).end_channel(id);
            }
            Operation::Release { side, channel } => self.leave(side, channel, Session::release_channel),
            Operation::Reset { side, channel } => {
                self.leave(side, channel, |session, id| session.reset_channel(id, Code::CANCELLED));
            }
            Operation::Hold { side } => self.pair.sides[side].held ^= true,
            Operation::Transmit => self.pair.transmit(),
            Operation::Settle => self.pair.settle(),
            Operation::Advance { milliseconds } => self.pair.advance(milliseconds * 1_000_000),
            Operation::Shutdown { side } => {
                let now = self.pair.now;
                self.session(side).shutdown(now);
            }
            Operation::Abort { side } => self.session(side).abort(Code::APPLICATION, "model"),
            Operation::Cut => self.pair.cut(),
        }
        self.take_events()?;
        self.check_books()
    }

    fn leave(&mut self, side: usize, channel: usize, how: impl FnOnce(&mut Session, ChannelId)) {
        let id = self.id(channel);
        if id != CHANNEL_ZERO {
            self.sent(0, id).broken = true;
            self.sent(1, id).broken = true;
        }
        how(self.session(side), id);
    }

    fn send(&mut self, side: usize, channel: usize, sizes: &[u16], wait: bool) -> Result<(), String> {
        let (id, ticket, first) = (self.id(channel), self.next, self.next + 1);
        self.next += 1 + sizes.len() as u64;
        let numbers: Vec<u64> = (first..self.next).collect();
        let messages = numbers.iter().zip(sizes).map(|(number, size)| message(*number, *size)).collect();
        let before = self.session(side).channel_stats(id);
        let offered = self.session(side).send(id, messages, wait, ticket);
        if !matches!(
            offered,
            Err(web4_core::rtt::SendError::ChannelClosed | web4_core::rtt::SendError::SessionClosed)
        ) {
            self.sent(side, id).attempted += sizes.len() as u64;
        }
        match offered {
            Ok(Offered::AllAccepted) => {
                if before.is_some_and(|stats| stats.waiting > 0) && !sizes.is_empty() {
                    return Err("a newcomer overtook a waiter".into());
                }
                self.sent(side, id).accepted.extend(numbers);
            }
            Ok(Offered::Each(ref outcomes)) => {
                let taken =
                    numbers.iter().zip(outcomes).filter(|(_, outcome)| **outcome != Outcome::DroppedNewest);
                let taken: Vec<u64> = taken.map(|(number, _)| *number).collect();
                self.sent(side, id).accepted.extend(taken);
            }
            Ok(Offered::Waiting) => self.waiting[side].push_back((ticket, id, numbers)),
            Err(_) => {}
        }
        self.trace.push(format!("{offered:?}"));
        Ok(())
    }

    fn cancel(&mut self, side: usize, nth: usize) -> Result<(), String> {
        let count = self.waiting[side].len();
        let Some((ticket, id, _)) = (count > 0).then(|| self.waiting[side].remove(nth % count)).flatten()
        else {
            return Ok(());
        };
        match self.session(side).cancel_send(id, ticket) {
            true => Ok(()),
            false => Err(format!("ticket {ticket} waits, and could not be cancelled")),
        }
    }

    fn receive(&mut self, side: usize, id: ChannelId, most: usize) -> Result<(), String> {
        for _ in 0..most {
            let Ok(message) = self.session(side).receive(id) else { break };
            self.trace.push(format!("{side} {id} {:?}", message.first_chunk::<8>()));
            let messages = match self.fault {
                Fault::None => vec![message],
                Fault::Omit => vec![],
                Fault::Repeat => vec![message.clone(), message],
                Fault::Alter => vec![message.iter().rev().copied().collect()],
                Fault::Swap => match self.held_back.take() {
                    Some(earlier) => vec![message, earlier],
                    None => {
                        self.held_back = Some(message);
                        vec![]
                    }
                },
            };
            for message in messages {
                let number = number_of(&message)?;
                self.sent(1 - side, id).delivered.push(number);
            }
        }
        Ok(())
    }

    fn take_events(&mut self) -> Result<(), String> {
        for side in 0..2 {
            for event in self.pair.events(side) {
                self.trace.push(format!("{side} {event:?}"));
                match event {
                    Event::SendDone(ticket) => {
                        let place = self.waiting[side].iter().position(|(waiting, ..)| *waiting == ticket);
                        let place = place.ok_or("SendDone for nobody")?;
                        let (_, id, numbers) = self.waiting[side].remove(place).ok_or("it was there")?;
                        if self.waiting[side].iter().take(place).any(|(_, other, _)| *other == id) {
                            return Err(format!("ticket {ticket} was served out of turn"));
                        }
                        self.sent(side, id).accepted.extend(numbers);
                    }
                    Event::WaitFailed(ticket) => {
                        self.waiting[side].retain(|(waiting, ..)| *waiting != ticket);
                        self.flushes[side].remove(&ticket);
                    }
                    Event::FlushDone(ticket) => {
                        let (id, accepted) = self.flushes[side].remove(&ticket).ok_or("a flush of nobody")?;
                        if let Some(stats) = self.session(side).channel_stats(id) {
                            let settled = (stats.acknowledged + stats.dropped_oldest) as usize;
                            if settled < accepted {
                                return Err(format!("flushed {settled} of {accepted}"));
                            }
                        }
                    }
                    Event::Closed if self.session(side).state() != State::Closed => {
                        return Err("Closed, and it is not".into());
                    }
                    _ => {}
                }
            }
            for lost in self.session(side).take_lost() {
                let number = number_of(&lost.message.message)?;
                self.sent(side, lost.channel).lost.push(number);
            }
        }
        Ok(())
    }

    /// What must hold after every single step.
    fn check_books(&mut self) -> Result<(), String> {
        for side in 0..2 {
            let limits = options();
            let stats = self.session(side).stats();
            if stats.resend_bytes > u64::from(limits.resend_bytes) + 128 {
                return Err(format!("the resend buffer holds {} bytes", stats.resend_bytes));
            }
            for id in self.channels.clone() {
                let Some(stats) = self.session(side).channel_stats(id) else { continue };
                let attempted = self.sent(side, id).attempted;
                let accepted = self.sent(side, id).accepted.len() as u64;
                let readable = self.session(side).readable(id);
                let (kind, ..) = self.session(side).channel_info(id).ok_or("it is there")?;
                let window = limits.limits.kind(kind).window;
                let sound = stats.balances()
                    && (stats.attempted, stats.accepted) == (attempted, accepted)
                    && stats.queued <= u64::from(window.messages)
                    && stats.queued_bytes <= u64::from(window.bytes)
                    && readable <= window.messages as usize;
                if !sound {
                    return Err(format!(
                        "side {side}, channel {id}: {stats:?}, {accepted} of {attempted} accepted"
                    ));
                }
            }
        }
        for ((side, id), sent) in &self.sent {
            check_order(sent).map_err(|fault| format!("from side {side} on channel {id}: {fault}"))?;
        }
        Ok(())
    }

    /// Lets everything come to its end: first all that can still be delivered is, then both sides close.
    fn finish(&mut self) -> Result<(), String> {
        for side in &mut self.pair.sides {
            side.held = false;
        }
        for _ in 0..60 {
            self.pair.advance(50 * 1_000_000);
            for id in self.channels.clone() {
                for side in 0..2 {
                    self.receive(side, id, usize::MAX)?;
                }
            }
            self.take_events()?;
            self.check_books()?;
        }
        let open = (0..2).all(|side| self.session(side).state() == State::Open);
        if open {
            for side in 0..2 {
                if !self.waiting[side].is_empty() || !self.flushes[side].is_empty() {
                    return Err(format!("somebody waits for ever: {:?}", self.waiting[side]));
                }
            }
        }
        let stats: BTreeMap<_, _> = self
            .sent
            .keys()
            .map(|(side, id)| ((*side, *id), self.pair.sides[*side].session.channel_stats(*id)))
            .collect();
        self.pair.cut();
        for id in self.channels.clone() {
            for side in 0..2 {
                self.receive(side, id, usize::MAX)?;
            }
        }
        self.take_events()?;
        self.check_books()?;
        for ((side, id), sent) in &self.sent {
            let Some(before) = stats[&(*side, *id)] else { continue };
            check_end(sent, before.dropped_oldest as usize, open)
                .map_err(|fault| format!("from side {side} on channel {id}: {fault}"))?;
        }
        Ok(())
    }
}

/// What was delivered is part of what was accepted, each once, in order.
fn check_order(sent: &Sent) -> Result<(), String> {
    let mut rest = sent.accepted.iter();
    for number in &sent.delivered {
        if !rest.any(|accepted| accepted == number) {
            return Err(format!("{number} of {:?} is out of order, or not its first time", sent.delivered));
        }
    }
    Ok(())
}

/// Every accepted message was delivered, or dropped, or lost, and as many as counted.
fn check_end(sent: &Sent, dropped: usize, open: bool) -> Result<(), String> {
    let Sent { accepted, delivered, lost, broken, .. } = sent;
    let mut listed = accepted.iter();
    if !lost.iter().all(|number| listed.any(|accepted| accepted == number)) {
        return Err(format!("lost {lost:?} is not in the order of acceptance"));
    }
    let gone = accepted.iter().filter(|number| !delivered.contains(number) && !lost.contains(number)).count();
    if *broken {
        // Somebody threw messages away: no more can be said than that none came twice.
        return Ok(());
    }
    if open && !lost.is_empty() {
        return Err(format!("{lost:?} lost, though there was time to deliver"));
    }
    match gone == dropped {
        true => Ok(()),
        false => Err(format!("{gone} messages are gone, {dropped} were dropped")),
    }
}

/// Runs a list of operations. Returns everything that was said and written, or what is wrong.
fn run(operations: &[Operation], fault: Fault, wire: Wire, seed: u64) -> Result<Vec<String>, String> {
    let mut model = Model::new(fault, wire, seed);
    for (step, operation) in operations.iter().enumerate() {
        model.apply(operation).map_err(|wrong| format!("step {step}, {operation:?}: {wrong}"))?;
    }
    model.finish()?;
    for side in &model.pair.sides {
        model.trace.push(format!("{:?} {:02x?}", side.session.stats(), side.written));
    }
    Ok(model.trace)
}

fn policy() -> impl Strategy<Value = Policy> {
    prop_oneof![Just(Policy::Block), Just(Policy::Error), Just(Policy::DropOldest), Just(Policy::DropNewest)]
}

fn operation() -> impl Strategy<Value = Operation> {
    let kind = (0..3usize).prop_map(|index| Kind::ALL[index]);
    let (side, channel) = (0..2usize, 0..12usize);
    prop_oneof![
        3 => (side.clone(), kind, policy())
            .prop_map(|(side, kind, policy)| Operation::Open { side, kind, policy }),
        1 => (side.clone(), channel.clone(), policy())
            .prop_map(|(side, channel, policy)| Operation::SetPolicy { side, channel, policy }),
        12 => (side.clone(), channel.clone(), prop::collection::vec(0..1016u16, 0..5), any::<bool>())
            .prop_map(|(side, channel, sizes, wait)| Operation::Send { side, channel, sizes, wait }),
        2 => (side.clone(), any::<usize>()).prop_map(|(side, nth)| Operation::CancelSend { side, nth }),
        2 => (side.clone(), channel.clone()).prop_map(|(side, channel)| Operation::Flush { side, channel }),
        10 => (side.clone(), channel.clone(), 0..6usize)
            .prop_map(|(side, channel, most)| Operation::Receive { side, channel, most }),
        1 => (side.clone(), channel.clone()).prop_map(|(side, channel)| Operation::End { side, channel }),
        1 => (side.clone(), channel.clone()).prop_map(|(side, channel)| Operation::Release { side, channel }),
        1 => (side.clone(), channel).prop_map(|(side, channel)| Operation::Reset { side, channel }),
        1 => side.clone().prop_map(|side| Operation::Hold { side }),
        6 => Just(Operation::Transmit),
        4 => Just(Operation::Settle),
        5 => (0..40u64).prop_map(|milliseconds| Operation::Advance { milliseconds }),
    ]
}

/// Most lists run with both ends open; some end in the middle.
fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let ending = prop_oneof![
        6 => Just(None),
        1 => Just(Some(Operation::Cut)),
        1 => (0..2usize).prop_map(|side| Some(Operation::Shutdown { side })),
        1 => (0..2usize).prop_map(|side| Some(Operation::Abort { side })),
    ];
    (prop::collection::vec(operation(), 1..120), ending, any::<prop::sample::Index>()).prop_map(
        |(mut operations, ending, at)| {
            if let Some(ending) = ending {
                operations.insert(at.index(operations.len()), ending);
            }
            operations
        },
    )
}

fn wires() -> impl Strategy<Value = Wire> {
    (prop_oneof![Just(0), 1..20_000_000u64], prop_oneof![Just(usize::MAX), 1..2000usize])
        .prop_map(|(delay, piece)| Wire { delay, piece })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("WEB4_MODEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn accepted_is_delivered_dropped_or_lost(list in operations(), wire in wires(), seed in any::<u64>()) {
        let first = run(&list, Fault::None, wire, seed);
        prop_assert!(first.is_ok(), "{first:?}");
        prop_assert_eq!(first, run(&list, Fault::None, wire, seed), "RTT-2: equal inputs, equal outputs");
    }
}

/// What a list of random operations or a reader once found.
#[test]
fn pinned_regressions() {
    use Operation::*;
    let (block, error) = (Policy::Block, Policy::Error);
    let open = |kind, policy| Open { side: 0, kind, policy };
    let send = |channel| Send { side: 0, channel, sizes: vec![1000; 4], wait: true };
    let lists: [(&str, Vec<Operation>); 5] = [
        (
            "a control channel's OPEN overtook that of a lower id",
            vec![open(Kind::Knowledge, block), open(Kind::Control, error), Settle],
        ),
        (
            "an END followed SHUTDOWN",
            vec![
                open(Kind::Knowledge, block),
                send(1),
                Settle,
                Shutdown { side: 0 },
                Settle,
                End { side: 1, channel: 1 },
                Settle,
            ],
        ),
        (
            "a channel opened after the peer's SHUTDOWN never ended",
            vec![
                Shutdown { side: 1 },
                Settle,
                open(Kind::State, block),
                send(1),
                Settle,
                Release { side: 1, channel: 1 },
            ],
        ),
        (
            "what waited behind a cancelled batch waited on",
            vec![
                open(Kind::Knowledge, block),
                send(1),
                Settle,
                send(1),
                send(1),
                send(1),
                CancelSend { side: 0, nth: 0 },
            ],
        ),
        (
            "two closes with full queues held each other up",
            vec![
                open(Kind::Knowledge, block),
                send(1),
                Settle,
                send(1),
                Send { side: 1, channel: 1, sizes: vec![900; 4], wait: true },
                Settle,
                Send { side: 1, channel: 1, sizes: vec![900; 4], wait: true },
                Release { side: 0, channel: 1 },
            ],
        ),
    ];
    for (name, list) in lists {
        for wire in [PLAIN, Wire { delay: 1_000_000, piece: 50 }] {
            let outcome = run(&list, Fault::None, wire, 1);
            assert!(outcome.is_ok(), "{name}: {outcome:?}");
        }
    }
}

/// The model is worth nothing unless it notices: with each planted fault, it does.
#[test]
fn the_model_notices_planted_faults() {
    let list = vec![
        Operation::Open { side: 0, kind: Kind::Knowledge, policy: Policy::Block },
        Operation::Send { side: 0, channel: 1, sizes: vec![10, 20, 30], wait: true },
        Operation::Settle,
        Operation::Receive { side: 1, channel: 1, most: 3 },
        Operation::Send { side: 0, channel: 1, sizes: vec![40], wait: true },
        Operation::Settle,
    ];
    assert!(run(&list, Fault::None, PLAIN, 0).is_ok());
    for fault in [Fault::Omit, Fault::Repeat, Fault::Swap, Fault::Alter] {
        assert!(run(&list, fault, PLAIN, 0).is_err(), "{fault:?}");
    }
}
