//! Memory of one peer and of one endpoint (section 15, RTT-51): what is full takes no more, what is freed goes on, and
//! nobody else is disturbed.

mod session_pair;

use std::sync::Arc;

use bytes::Bytes;
use session_pair::*;
use web4_core::rtt::{
    Budget, BudgetLimits, CHANNEL_ZERO, ChannelId, Code, Event, Kind, Meter, Offered, Options, Outcome,
    Policy, SendError,
};

const KIB: usize = 1024;
const GREEDY: u8 = 1;
const HONEST: u8 = 2;

/// An endpoint, the acceptor of every pair, with sessions of some peers.
struct Endpoint {
    budget: Arc<Budget>,
    peers: Vec<u8>,
    pairs: Vec<Pair>,
}

impl Endpoint {
    fn new(limits: BudgetLimits, options: &Options, peers: &[u8]) -> Endpoint {
        let budget = Budget::new(limits);
        let pairs = peers.iter().enumerate().map(|(index, peer)| {
            let mut pair = Pair::new(options);
            let share = budget.share([*peer; 32], [index as u8; 16]);
            pair.session(ACCEPTOR).share_memory(share);
            pair
        });
        let pairs = pairs.collect();
        Endpoint { budget, peers: peers.to_vec(), pairs }
    }

    /// Carries everything, as a driver does: whoever waits for memory that was freed is told.
    fn settle(&mut self) {
        for _ in 0..1000 {
            let mut freed = Vec::new();
            for (pair, peer) in self.pairs.iter_mut().zip(&self.peers) {
                pair.settle();
                let told = pair.sides[ACCEPTOR].events.contains(&Event::MemoryFreed);
                pair.sides[ACCEPTOR].events.retain(|event| *event != Event::MemoryFreed);
                freed.extend(told.then_some(*peer));
            }
            if freed.is_empty() {
                return;
            }
            for id in freed.into_iter().flat_map(|peer| self.budget.take_waiting(&[peer; 32])) {
                self.pairs[usize::from(id[0])].session(ACCEPTOR).memory_freed();
            }
        }
        panic!("memory is freed for ever");
    }

    fn channel(&mut self, pair: usize, side: usize, kind: Kind, policy: Policy) -> ChannelId {
        let id = self.pairs[pair].channel(side, kind, policy);
        self.settle();
        id
    }

    fn peer_sends(&mut self, pair: usize, channel: ChannelId, count: usize, size: usize) -> usize {
        let mut accepted = 0;
        for _ in 0..count {
            let message = vec![Bytes::from(vec![7; size])];
            let offered = self.pairs[pair].session(INITIATOR).send(channel, message, false, 0);
            accepted += usize::from(offered == Ok(Offered::AllAccepted));
            self.settle();
        }
        accepted
    }

    fn take(&mut self, pair: usize, channel: ChannelId, most: usize) -> usize {
        let mut taken = 0;
        while taken < most && self.pairs[pair].session(ACCEPTOR).receive(channel).is_ok() {
            taken += 1;
            self.settle();
        }
        taken
    }

    fn send(
        &mut self,
        pair: usize,
        channel: ChannelId,
        size: usize,
        ticket: u64,
    ) -> Result<Offered, SendError> {
        let message = vec![Bytes::from(vec![9; size])];
        self.pairs[pair].session(ACCEPTOR).send(channel, message, ticket > 0, ticket)
    }

    fn limits(&mut self, pair: usize) -> Vec<(&'static str, u64)> {
        let mut meter = Meter::default();
        meter.add_session(self.pairs[pair].session(ACCEPTOR));
        meter.limits
    }

    fn done(&mut self, pair: usize) -> Vec<u64> {
        let tickets = self.pairs[pair].events(ACCEPTOR).into_iter();
        tickets
            .filter_map(|event| if let Event::SendDone(ticket) = event { Some(ticket) } else { None })
            .collect()
    }
}

/// Windows of 64 KiB, memory of 160 KiB a peer: three channels could hold more than their peer may.
fn narrow() -> (BudgetLimits, Options) {
    let mut options = Options::default();
    for kind in &mut options.limits.kinds {
        kind.max_message = 16 * KIB as u32;
        kind.window.bytes = 64 * KIB as u32;
    }
    (BudgetLimits { per_peer: 160 * KIB as u64, endpoint: 100 * 1024 * KIB as u64 }, options)
}

/// A peer whose messages nobody reads gets no credit and no channel more, in any of its sessions; a peer beside it
/// notices nothing. When its messages are read it goes on by itself, and everything arrives.
#[test]
fn rtt_memory_of_a_greedy_peer() {
    let (limits, options) = narrow();
    let mut here = Endpoint::new(limits, &options, &[GREEDY, GREEDY, HONEST]);
    let ids: Vec<(usize, ChannelId)> = [0, 0, 1, 1]
        .map(|pair| (pair, here.channel(pair, INITIATOR, Kind::Knowledge, Policy::Error)))
        .to_vec();
    let honest = here.channel(2, INITIATOR, Kind::Knowledge, Policy::Error);

    // Three windows are more than the peer may fill, so nothing is granted of what is read in part.
    let mut accepted = vec![0; ids.len()];
    for (index, (pair, id)) in ids.iter().enumerate() {
        accepted[index] += here.peer_sends(*pair, *id, 12, 8 * KIB);
    }
    assert_eq!(accepted, [12; 4], "8 windows of credit and queue take it");
    let held = here.budget.held_by(&[GREEDY; 32]);
    assert!(held >= 4 * 64 * KIB as u64, "credit that was given stays valid: {held}");
    assert_eq!(here.take(0, ids[0].1, 4), 4);
    let before = here.pairs[0].session(ACCEPTOR).readable(ids[0].1);
    assert_eq!(before, 4, "half a window was read, and nothing was granted for it");
    assert_eq!(here.limits(0), [("memory_per_peer", 1)]);

    // A channel more is refused, in each of its sessions.
    for pair in [0, 1] {
        let late = here.channel(pair, INITIATOR, Kind::Knowledge, Policy::Error);
        let reset = here.pairs[pair].session(INITIATOR).channel_reset(late);
        assert_eq!(reset, Some((Code::LIMIT, true)));
    }
    assert_eq!(here.limits(1), [("memory_per_peer", 1)]);

    // Somebody else, meanwhile.
    for round in 0..100 {
        assert_eq!(here.peer_sends(2, honest, 4, 16 * KIB), 4, "{round}");
        assert_eq!(here.take(2, honest, 4), 4, "{round}");
        assert!(here.send(2, honest, 16 * KIB, 0).is_ok());
        here.settle();
        assert_eq!(here.pairs[2].receive_all(INITIATOR, honest).len(), 1);
    }
    assert_eq!(here.limits(2), []);

    // Session 1 is read first: that frees what session 0 waits for.
    let mut taken = vec![0; ids.len()];
    for index in [2, 3, 0, 1, 2, 3] {
        taken[index] += here.take(ids[index].0, ids[index].1, 100);
    }
    taken[0] += 4;
    assert_eq!(taken, [12; 4]);
    here.pairs.iter_mut().for_each(|pair| pair.advance(30 * SECOND));
    here.settle();
    assert_eq!(here.budget.held(), 0);
}

/// A full peer's queues count as full, as each policy has it; who waits is let in when memory is freed, here by another
/// session of the same peer.
#[test]
fn rtt_memory_counts_queues_as_full() {
    let (limits, options) = narrow();
    let mut here = Endpoint::new(limits, &options, &[GREEDY, GREEDY, HONEST]);
    let policies = [Policy::Block, Policy::Error, Policy::DropNewest, Policy::DropOldest];
    let [block, error, newest, oldest] =
        policies.map(|policy| here.channel(0, ACCEPTOR, Kind::State, policy));
    let other = [0, 1].map(|_| here.channel(1, ACCEPTOR, Kind::Knowledge, Policy::Error));

    // Nothing is acknowledged in the other session, whose messages so fill what the peer may hold.
    here.pairs[1].sides[ACCEPTOR].held = true;
    let filled = (0..).take_while(|number| here.send(1, other[number % 2], 8 * KIB, 0).is_ok()).count();
    assert!((12..=15).contains(&filled), "{filled} messages of 8 KiB in the 112 KiB of one direction");

    assert_eq!(here.send(0, block, 8 * KIB, 11), Ok(Offered::Waiting));
    assert_eq!(here.send(0, block, 8 * KIB, 12), Ok(Offered::Waiting));
    assert_eq!(here.send(0, error, 8 * KIB, 0), Err(SendError::QueueFull));
    assert_eq!(here.send(0, newest, 8 * KIB, 0), Ok(Offered::Each(vec![Outcome::DroppedNewest])));
    // It has nothing to evict that would help.
    assert_eq!(here.send(0, oldest, 8 * KIB, 0), Ok(Offered::Each(vec![Outcome::DroppedNewest])));
    assert_eq!(here.send(0, CHANNEL_ZERO, KIB, 0), Ok(Offered::AllAccepted), "control has its own part");
    assert_eq!(here.limits(0), [("memory_per_peer", 1)], "counted once");
    assert_eq!(here.send(2, CHANNEL_ZERO, 8 * KIB, 0), Ok(Offered::AllAccepted), "another peer");
    here.settle();
    assert_eq!(here.done(0), []);

    here.pairs[1].sides[ACCEPTOR].held = false;
    here.settle();
    here.pairs[1].advance(SECOND);
    here.settle();
    assert_eq!(here.done(0), [11, 12]);
    assert_eq!(here.pairs[0].receive_all(INITIATOR, block).len(), 2);
    for channel in [block, error, newest, oldest] {
        assert!(here.pairs[0].session(ACCEPTOR).channel_stats(channel).expect("it lives").balances());
        assert!(here.send(0, channel, 1, 0).is_ok());
    }
}

/// RTT-40: under a full budget, too, `drop_oldest` evicts only if that makes room.
#[test]
fn rtt_memory_evicts_what_helps() {
    let (limits, options) = narrow();
    let mut here = Endpoint::new(limits, &options, &[GREEDY]);
    let channel = here.channel(0, ACCEPTOR, Kind::State, Policy::DropOldest);
    let error = here.channel(0, ACCEPTOR, Kind::Knowledge, Policy::Error);
    here.pairs[0].sides[ACCEPTOR].held = true;
    // Its credit is used up by what is on its way; what follows stays in its queue, and can be evicted.
    for _ in 0..8 {
        assert_eq!(here.send(0, channel, 7 * KIB, 0), Ok(Offered::AllAccepted));
        here.settle();
    }
    assert_eq!(here.send(0, channel, 14 * KIB, 0), Ok(Offered::AllAccepted));
    while here.send(0, error, 4 * KIB, 0).is_ok() {
        here.settle();
    }
    assert_eq!(here.send(0, channel, 14 * KIB, 0), Ok(Offered::Each(vec![Outcome::EvictedOldest])));
    let stats = here.pairs[0].session(ACCEPTOR).channel_stats(channel).expect("it lives");
    assert_eq!((stats.queued, stats.dropped_oldest), (1, 1));
    assert!(stats.balances());
}

/// Two ends that both have more to send than they may hold, and read: neither waits for the other's credit for ever.
#[test]
fn rtt_memory_full_both_ways_does_not_deadlock() {
    let (limits, options) = narrow();
    let mut here = Endpoint::new(limits, &options, &[GREEDY]);
    let theirs = Budget::new(limits);
    here.pairs[0].session(INITIATOR).share_memory(theirs.share([9; 32], [9; 16]));
    let ids = [0; 6].map(|_| here.channel(0, INITIATOR, Kind::Knowledge, Policy::Block));
    let mut ticket = 0;
    for side in [INITIATOR, ACCEPTOR] {
        for id in ids {
            for _ in 0..30 {
                ticket += 1;
                let message = vec![Bytes::from(vec![side as u8; 8 * KIB])];
                here.pairs[0].session(side).send(id, message, true, ticket).expect("accepted, or it waits");
            }
        }
    }
    let mut arrived = [0; 2];
    for _ in 0..2000 {
        here.settle();
        for side in [INITIATOR, ACCEPTOR] {
            for id in ids {
                // One at a time: most of what was received lies unread.
                arrived[side] += usize::from(here.pairs[0].session(side).receive(id).is_ok());
            }
        }
        here.pairs[0].advance(30_000_000);
    }
    assert_eq!(arrived, [180, 180]);
}

/// A peer of which much is unread can still be answered: who reads and answers would otherwise never read on.
#[test]
fn rtt_memory_lets_answers_pass() {
    let (limits, options) = narrow();
    let mut here = Endpoint::new(limits, &options, &[GREEDY]);
    let ids = [0; 5].map(|_| here.channel(0, INITIATOR, Kind::Knowledge, Policy::Block));
    for id in ids {
        here.peer_sends(0, id, 8, 8 * KIB);
    }
    assert!(here.budget.held_by(&[GREEDY; 32]) > limits.per_peer);
    for round in 0..8 {
        for id in ids {
            assert_eq!(here.take(0, id, 1), 1);
            assert_eq!(here.send(0, id, 8 * KIB, 1), Ok(Offered::AllAccepted), "{round}");
            here.settle();
            here.pairs[0].advance(30_000_000);
            assert_eq!(here.pairs[0].receive_all(INITIATOR, id).len(), 1);
        }
    }
}

/// A full endpoint gives no credit for `state` and `knowledge` to those who fill it, and grants no session.
#[test]
fn rtt_memory_of_an_endpoint() {
    let (mut limits, options) = narrow();
    (limits.per_peer, limits.endpoint) = (320 * KIB as u64, 128 * KIB as u64);
    let mut here = Endpoint::new(limits, &options, &[1, 2, 3]);
    let ids: Vec<ChannelId> =
        (0..3).map(|pair| here.channel(pair, INITIATOR, Kind::Knowledge, Policy::Error)).collect();
    for pair in [0, 1] {
        assert_eq!(here.peer_sends(pair, ids[pair], 12, 8 * KIB), 12);
    }
    assert!(here.budget.is_full());
    // The third peer has nothing unread for long, so it is not held up by the others.
    for _ in 0..30 {
        assert_eq!(here.peer_sends(2, ids[2], 1, 16 * KIB), 1);
        assert_eq!(here.take(2, ids[2], 1), 1);
        assert_eq!(here.peer_sends(2, CHANNEL_ZERO, 1, KIB), 1);
        assert_eq!(here.take(2, CHANNEL_ZERO, 1), 1);
    }
    assert_eq!(here.limits(2), []);

    // Reading the one frees memory for both.
    let channel = here.channel(0, INITIATOR, Kind::State, Policy::Error);
    assert_eq!(here.peer_sends(0, channel, 4, 16 * KIB), 4);
    assert_eq!(here.take(0, channel, 2), 2);
    assert_eq!(here.peer_sends(0, CHANNEL_ZERO, 40, KIB), 40);
    assert_eq!(here.take(0, CHANNEL_ZERO, 40), 40);
    assert_eq!(here.limits(0), [("memory", 1)]);
    assert_eq!(here.take(1, ids[1], 100), 12);
    assert!(!here.budget.is_full());
    assert_eq!(here.take(0, ids[0], 100), 12);
    assert_eq!(here.take(0, channel, 100), 2);
}

/// What stays readable after the end counts until it is taken, or the session is dropped; what was lost, until it is
/// taken.
#[test]
fn rtt_memory_of_ended_sessions() {
    let (limits, options) = narrow();
    let mut here = Endpoint::new(limits, &options, &[GREEDY, GREEDY]);
    for pair in [0, 1] {
        let channel = here.channel(pair, INITIATOR, Kind::Knowledge, Policy::Error);
        assert_eq!(here.peer_sends(pair, channel, 8, 8 * KIB), 8);
        here.pairs[pair].sides[ACCEPTOR].held = true;
        assert!(here.send(pair, channel, 8 * KIB, 0).is_ok());
        here.settle();
        here.pairs[pair].session(ACCEPTOR).abort(Code::NORMAL, "");
    }
    let message = 8 * KIB as u64 + 64;
    let before = here.budget.held();
    assert!(before >= 2 * 9 * message);
    assert_eq!(here.pairs[0].session(ACCEPTOR).take_lost().len(), 1);
    assert!(here.budget.held() + message <= before);
    assert_eq!(here.take(0, 1, 100), 8);
    assert!((9 * message..=10 * message + 4 * 4096).contains(&here.budget.held()), "{}", here.budget.held());
    here.pairs.truncate(1);
    let left = here.budget.held();
    assert!(left <= 4 * 4096, "{left}");
    here.pairs.clear();
    assert_eq!(here.budget.held(), 0);
}

/// A session that is dropped tells nobody; who waited looks again when it hears from its peer, or time passes.
#[test]
fn rtt_memory_of_dropped_sessions_is_found() {
    let (limits, options) = narrow();
    let mut here = Endpoint::new(limits, &options, &[GREEDY, GREEDY]);
    let block = here.channel(0, ACCEPTOR, Kind::Knowledge, Policy::Block);
    let others = [0, 1].map(|_| here.channel(1, ACCEPTOR, Kind::Knowledge, Policy::Error));
    here.pairs[1].sides[ACCEPTOR].held = true;
    while others.iter().any(|id| here.send(1, *id, 8 * KIB, 0).is_ok()) {}
    assert_eq!(here.send(0, block, 8 * KIB, 5), Ok(Offered::Waiting));
    here.settle();
    here.pairs.truncate(1);
    here.settle();
    assert_eq!(here.done(0), []);
    here.pairs[0].advance(options.heartbeat);
    assert_eq!(here.done(0), [5]);
}
