//! How much memory the sessions of one peer, and of one endpoint, may hold together (section 15).
//!
//! Counters only: what they count, and what a session does about a full one, is in `memory`. A session publishes what it
//! holds in steps, so that a message costs no shared counter; what is published is never less than what is held.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::limits::Kind;
use super::opening_frame::SessionId;
use super::table::Fingerprint;

/// What a session publishes in one step: it may have that much less, or twice that much less after it was busy.
const STEP: u64 = 4 * 1024;
/// The part of a peer's memory that only control may use, as in the resend buffer (RTT-21): one sixteenth.
const RESERVE: u64 = 16;
/// The part of a peer's memory that each direction has for itself: a quarter. Two ends whose queues were full could
/// otherwise wait for each other's credit for ever.
const OWN_PART: u64 = 4;

/// No limit is larger: 2^48 bytes, so that sums of them are numbers still.
const MOST: u64 = 1 << 48;

/// The limits of section 15 on memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetLimits {
    /// Of all sessions with one peer.
    pub per_peer: u64,
    /// Of all sessions.
    pub endpoint: u64,
}

impl BudgetLimits {
    /// What a peer's channels of a kind may fill.
    fn most(&self, kind: Kind) -> u64 {
        self.per_peer - if kind == Kind::Control { 0 } else { self.per_peer / RESERVE }
    }

    /// Names the first field whose value cannot work, or nothing. A sixteenth of a peer's memory is at least one step.
    pub fn fault(&self) -> Option<&'static str> {
        match () {
            () if !(RESERVE * STEP..=MOST).contains(&self.per_peer) => Some("memory_per_peer"),
            () if !(self.per_peer..=MOST).contains(&self.endpoint) => Some("memory"),
            () => None,
        }
    }
}

/// Which way the bytes go that are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Accepted here, and not acknowledged or given up.
    Sent = 0,
    /// Arrived, and not taken.
    Received = 1,
}

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Want {
    session: SessionId,
    way: Way,
    kind: Kind,
}

/// Sessions that wait for memory, first come first.
#[derive(Debug, Default)]
struct Waiting {
    any: AtomicBool,
    wants: Mutex<VecDeque<Want>>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Want>> {
        self.wants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    fn add(&self, want: Want) {
        let mut wants = self.lock();
        if !wants.contains(&want) {
            wants.push_back(want);
        }
        self.any.store(true, Ordering::Relaxed);
    }

    fn keep(&self, keeps: impl FnMut(&Want) -> bool) {
        let mut wants = self.lock();
        wants.retain(keeps);
        self.any.store(!wants.is_empty(), Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct PeerBudget {
    name: Fingerprint,
    held: [AtomicU64; 2],
    waiting: Waiting,
}

/// The memory of all sessions of an endpoint.
#[derive(Debug)]
pub struct Budget {
    limits: BudgetLimits,
    held: AtomicU64,
    peers: Mutex<BTreeMap<Fingerprint, Weak<PeerBudget>>>,
    waiting: Waiting,
}

impl Budget {
    /// Nothing is held.
    pub fn new(limits: BudgetLimits) -> Arc<Budget> {
        let (held, peers, waiting) = Default::default();
        Arc::new(Budget { limits, held, peers, waiting })
    }

    /// The part of one session, to be given to it.
    pub fn share(self: &Arc<Budget>, name: Fingerprint, session: SessionId) -> Share {
        let mut peers = self.lock_peers();
        let peer = peers.get(&name).and_then(Weak::upgrade).unwrap_or_else(|| {
            let (held, waiting) = Default::default();
            let peer = Arc::new(PeerBudget { name, held, waiting });
            peers.insert(name, Arc::downgrade(&peer));
            peer
        });
        drop(peers);
        let budget = Arc::clone(self);
        Share {
            budget,
            peer,
            session,
            held: [0; 2],
            published: [0; 2],
            freed: false,
            waits: false,
            told: [false; 2],
            hits: [0; 2],
        }
    }

    /// What all sessions hold, in bytes.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// What the sessions of one peer hold, in bytes.
    pub fn held_by(&self, name: &Fingerprint) -> u64 {
        let peer = self.lock_peers().get(name).and_then(Weak::upgrade);
        peer.map_or(0, |peer| peer.held(Way::Sent) + peer.held(Way::Received))
    }

    /// Whether no session more is to be granted.
    pub fn is_full(&self) -> bool {
        self.held() >= self.limits.endpoint
    }

    /// The sessions that waited for memory that `name`, whose session said `MemoryFreed`, has freed: each of them is to be
    /// told by `Session::memory_freed`.
    pub fn take_waiting(&self, name: &Fingerprint) -> Vec<SessionId> {
        let mut ready = Vec::new();
        if let Some(peer) = self.lock_peers().get(name).and_then(Weak::upgrade) {
            peer.waiting.keep(|want| {
                let has_room = self.has_room(&peer, want);
                ready.extend(has_room.then_some(want.session));
                !has_room
            });
        }
        if self.waiting.any() && !self.is_full() {
            self.waiting.keep(|want| {
                ready.push(want.session);
                false
            });
        }
        let mut told = Vec::new();
        ready.retain(|session| {
            let fresh = !told.contains(session);
            told.push(*session);
            fresh
        });
        ready
    }

    fn lock_peers(&self) -> MutexGuard<'_, BTreeMap<Fingerprint, Weak<PeerBudget>>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self, peer: &PeerBudget, want: &Want) -> bool {
        self.room_of(peer, want.way, want.kind) > 0
            && (want.way == Way::Sent || !self.withholds(peer, want.kind))
    }

    /// What one direction of a peer may still take: all but what the other one has, and is due.
    fn room_of(&self, peer: &PeerBudget, way: Way, kind: Kind) -> i64 {
        let most = self.limits.most(kind);
        let own_part = most / OWN_PART;
        let other = peer.held(if way == Way::Sent { Way::Received } else { Way::Sent });
        let room = most.saturating_sub(other).clamp(own_part, most - own_part);
        room as i64 - peer.held(way) as i64
    }

    /// Whether the endpoint is so full that it gives this peer no credit. One that has little unread gets it all the
    /// same: who fills the memory of an endpoint must not hold up who does not (RTT-51).
    fn withholds(&self, peer: &PeerBudget, kind: Kind) -> bool {
        kind != Kind::Control && self.is_full() && peer.held(Way::Received) >= self.limits.per_peer / RESERVE
    }
}

impl PeerBudget {
    fn held(&self, way: Way) -> u64 {
        self.held[way as usize].load(Ordering::Relaxed)
    }
}

/// What one session holds of a budget. Dropping it gives everything back.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    peer: Arc<PeerBudget>,
    session: SessionId,
    held: [u64; 2],
    published: [u64; 2],
    freed: bool,
    waits: bool,
    /// Whether a limit that was reached is counted already: the peer's, the endpoint's.
    told: [bool; 2],
    hits: [u64; 2],
}

impl Share {
    /// Brings a part of what the session holds up to date: `counted` is what was counted for it before.
    pub(super) fn count(&mut self, counted: &mut [u64; 2], now: [u64; 2]) {
        for way in [Way::Sent, Way::Received] {
            let (before, after) = (counted[way as usize], now[way as usize]);
            if before != after {
                let held = self.held[way as usize] - before + after;
                self.held[way as usize] = held;
                let published = self.published[way as usize];
                if held > published || held + 2 * STEP <= published {
                    self.publish(way, held.next_multiple_of(STEP));
                }
            }
        }
        *counted = now;
    }

    /// Publishes exactly what is held.
    pub(super) fn rest(&mut self) {
        self.publish(Way::Sent, self.held[0]);
        self.publish(Way::Received, self.held[1]);
    }

    fn publish(&mut self, way: Way, now: u64) {
        let before = std::mem::replace(&mut self.published[way as usize], now);
        let counters = [&self.peer.held[way as usize], &self.budget.held];
        match now.checked_sub(before) {
            Some(more) => counters.map(|counter| counter.fetch_add(more, Ordering::Relaxed)),
            None => {
                self.freed = true;
                counters.map(|counter| counter.fetch_sub(before - now, Ordering::Relaxed))
            }
        };
    }

    /// How many bytes more a direction may take until it counts as full.
    pub(super) fn room(&self, way: Way, kind: Kind) -> i64 {
        let ahead = self.published[way as usize] - self.held[way as usize];
        self.budget.room_of(&self.peer, way, kind) + ahead as i64
    }

    /// The part of each direction that the other one cannot use.
    pub(super) fn own_part(&self, kind: Kind) -> i64 {
        (self.budget.limits.most(kind) / OWN_PART) as i64
    }

    /// Whether the peer gets no credit, for channels of this kind.
    pub(super) fn withholds(&self, kind: Kind) -> bool {
        self.room(Way::Received, kind) <= 0 || self.budget.withholds(&self.peer, kind)
    }

    /// Remembers that the session waits for memory, and counts that a limit was reached.
    pub(super) fn wait(&mut self, way: Way, kind: Kind) {
        let want = Want { session: self.session, way, kind };
        self.waits = true;
        self.peer.waiting.add(want);
        if way == Way::Received && self.budget.withholds(&self.peer, kind) {
            self.budget.waiting.add(want);
        }
        self.hit(way, kind);
    }

    /// Counts that a limit was reached: once, until there was room.
    pub(super) fn hit(&mut self, way: Way, kind: Kind) {
        let peer = way == Way::Sent || self.room(way, kind) <= 0;
        let endpoint = way == Way::Received && self.budget.withholds(&self.peer, kind);
        for (index, reached) in [peer, endpoint].into_iter().enumerate() {
            self.hits[index] += u64::from(reached && !self.told[index]);
            self.told[index] |= reached;
        }
    }

    /// Counts that a channel was refused.
    pub(super) fn hit_peer(&mut self) {
        self.hits[0] += 1;
    }

    /// There was room.
    pub(super) fn found_room(&mut self) {
        self.told = [false; 2];
    }

    /// Whether the session waits for memory.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// The session looks again for what it waits for, and does not wait any more until it says so.
    pub(super) fn stop_waiting(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.peer.waiting.keep(|want| want.session != self.session);
            self.budget.waiting.keep(|want| want.session != self.session);
        }
    }

    /// Whether memory was given back since this was asked.
    pub(super) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    /// Whether another session waits for something there is room for now.
    pub(super) fn others_wait(&self) -> bool {
        let others = |want: &Want| want.session != self.session && self.budget.has_room(&self.peer, want);
        (self.peer.waiting.any() && self.peer.waiting.lock().iter().any(others))
            || (self.budget.waiting.any() && !self.budget.is_full())
    }

    /// How often limits were reached, by their names.
    pub(super) fn hits(&self) -> [(&'static str, u64); 2] {
        [("memory_per_peer", self.hits[0]), ("memory", self.hits[1])]
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.publish(Way::Sent, 0);
        self.publish(Way::Received, 0);
        self.stop_waiting();
        let mut peers = self.budget.lock_peers();
        // Under the lock: `share` could else find a peer that is about to go.
        if Arc::strong_count(&self.peer) == 1 {
            peers.remove(&self.peer.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BudgetLimits = BudgetLimits { per_peer: 160 * 1024, endpoint: 400 * 1024 };
    const KIB: u64 = 1024;

    fn hold(share: &mut Share, counted: &mut [u64; 2], sent: u64, received: u64) {
        share.count(counted, [sent * KIB, received * KIB]);
    }

    #[test]
    fn limits_that_cannot_work_are_named() {
        let fault = |per_peer, endpoint| BudgetLimits { per_peer, endpoint }.fault();
        assert_eq!(fault(64 * KIB, 64 * KIB), None);
        assert_eq!(fault(64 * KIB - 1, 64 * KIB), Some("memory_per_peer"));
        assert_eq!(fault(64 * KIB, 64 * KIB - 1), Some("memory"));
        assert_eq!(fault(64 * KIB, u64::MAX), Some("memory"));
        assert_eq!(fault(u64::MAX, u64::MAX), Some("memory_per_peer"));
    }

    #[test]
    fn each_direction_has_a_quarter_for_itself_and_control_a_sixteenth() {
        let budget = Budget::new(LIMITS);
        let (mut share, mut counted) = (budget.share([1; 32], [1; 16]), [0; 2]);
        let rooms = |share: &Share| {
            [Way::Sent, Way::Received].map(|way| share.room(way, Kind::Knowledge) / KIB as i64)
        };
        // 150 of 160 KiB are for other kinds than control; a quarter of them is 37.5.
        assert_eq!(rooms(&share), [112, 112]);
        hold(&mut share, &mut counted, 100, 0);
        assert_eq!(rooms(&share), [12, 50]);
        hold(&mut share, &mut counted, 112, 0);
        assert_eq!(rooms(&share), [0, 37 + 1]);
        hold(&mut share, &mut counted, 112, 38);
        assert!(share.withholds(Kind::Knowledge) && !share.withholds(Kind::Control));
        assert!(share.room(Way::Sent, Kind::Control) > 0);
        hold(&mut share, &mut counted, 20, 120);
        assert!(share.room(Way::Sent, Kind::State) > 0, "what is unread must not silence us");
    }

    #[test]
    fn what_is_published_is_never_less_than_what_is_held_and_goes_with_its_session() {
        let budget = Budget::new(LIMITS);
        let (mut share, mut counted) = (budget.share([1; 32], [1; 16]), [0; 2]);
        for held in [1, 4096, 4097, 9000, 5000, 100, 0] {
            share.count(&mut counted, [held, 2 * held]);
            assert!((3 * held..3 * held + 4 * STEP).contains(&budget.held()), "{held}: {}", budget.held());
        }
        share.count(&mut counted, [100, 50]);
        share.rest();
        assert_eq!((budget.held(), budget.held_by(&[1; 32]), budget.held_by(&[2; 32])), (150, 150, 0));
        let other = budget.share([1; 32], [2; 16]);
        drop(share);
        assert_eq!(budget.held(), 0);
        assert_eq!(budget.lock_peers().len(), 1);
        drop(other);
        assert_eq!(budget.lock_peers().len(), 0);
    }

    #[test]
    fn a_full_endpoint_withholds_credit_from_those_who_fill_it_only() {
        let budget = Budget::new(LIMITS);
        let mut shares: Vec<_> = (1..=5).map(|peer| (budget.share([peer; 32], [peer; 16]), [0; 2])).collect();
        for (share, counted) in &mut shares[..4] {
            hold(share, counted, 0, 100);
        }
        assert!(budget.is_full());
        assert!(shares[0].0.withholds(Kind::State) && !shares[0].0.withholds(Kind::Control));
        assert!(!shares[4].0.withholds(Kind::Knowledge));
        shares[0].0.wait(Way::Received, Kind::State);
        assert_eq!(shares[0].0.hits(), [("memory_per_peer", 0), ("memory", 1)]);
        let (share, counted) = &mut shares[1];
        hold(share, counted, 0, 80);
        assert!(share.take_freed() && share.others_wait());
        assert_eq!(budget.take_waiting(&[2; 32]), [[1; 16]]);
        assert!(budget.take_waiting(&[2; 32]).is_empty());
    }
}
