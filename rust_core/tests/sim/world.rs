//! Nodes, the ends of sessions that they have, and the carriers between them, in virtual time.

use std::collections::{BTreeMap, VecDeque};

use web4_core::rtt::opening_frame::{BootId, SessionId};
use web4_core::rtt::{
    ChannelId, Fingerprint, MILLISECOND, Nanos, Options, Session, SessionTable, State, Ticket,
};

use super::carrier::{Carrier, Use};
use super::model::{Conversation, Phase, Wrong};
use super::planted::Bug;
use super::profile::Profile;
use super::random::{Random, digest};

/// How long an opening may take (section 15).
pub const HANDSHAKE: Nanos = 5_000 * MILLISECOND;

/// An endpoint: one identity, in one process at a time.
#[derive(Debug)]
pub struct Node {
    pub fingerprint: Fingerprint,
    pub boot_id: BootId,
    pub options: Options,
    pub table: SessionTable,
    /// How far its clock is ahead; it never goes back.
    pub ahead: Nanos,
    pub restarted: bool,
    /// Resumes that it refused because the session was somebody else's (RTT-33).
    pub evidence: u64,
}

/// A batch that waits for room.
#[derive(Debug)]
pub struct Waiting {
    pub ticket: Ticket,
    pub channel: ChannelId,
    pub messages: Vec<(u64, usize)>,
}

/// One end of a session, and what its driver keeps beside it.
#[derive(Debug)]
pub struct End {
    pub node: usize,
    pub conversation: usize,
    /// 0 is the initiator.
    pub side: usize,
    pub session: Session,
    pub peer_boot: BootId,
    /// The carrier it reads and writes.
    pub carrier: Option<usize>,
    /// Initiator: the carrier that is being opened for it.
    pub attempt: Option<usize>,
    /// Initiator, suspended: when to try next, on its node's clock, and how many attempts failed (RTT-45).
    pub retry_at: Option<Nanos>,
    pub failures: u32,
    pub open_since: Nanos,
    pub phase: Phase,
    /// A heartbeat timeout was told, and not what it caused.
    pub timed_out: bool,
    pub epoch: u32,
    pub unlisted: u64,
    pub waiting: Vec<Waiting>,
    /// Ticket, channel, and the first message that need not be acknowledged.
    pub flushes: Vec<(Ticket, ChannelId, u64)>,
    pub peer_shutdown: bool,
    /// Channels that the peer opened just now.
    pub opened: Vec<ChannelId>,
    /// Its carrier is old (RTT-48).
    pub aged: bool,
    /// Somebody else proved another key where its peer was dialled.
    pub deceived: bool,
    /// Its peer's process was followed by another one at some time.
    pub peer_restarts: bool,
    /// Its own bound of the resend buffer.
    pub resend_bytes: u32,
    /// Its process is gone, or nothing more is to be had from it.
    pub retired: bool,
    /// Messages that a planted bug delivers twice.
    pub echoes: VecDeque<(ChannelId, Vec<u8>)>,
    /// The last sequence number that arrived, for that bug.
    pub seen: u64,
    /// By channel, for another planted bug: how much credit has leaked, and what was granted last.
    pub leaks: BTreeMap<ChannelId, (u64, u64)>,
}

/// Everything that happened, as one number; and in words, if somebody wants them.
#[derive(Debug, Default)]
pub struct Trace {
    pub digest: u64,
    pub words: Option<Vec<String>>,
}

impl Trace {
    pub fn note(&mut self, value: u64) {
        self.digest = digest(self.digest, &value.to_le_bytes());
    }

    pub fn say(&mut self, words: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.words {
            lines.push(words());
        }
    }
}

#[derive(Debug)]
pub struct World {
    pub now: Nanos,
    pub random: Random,
    pub profile: Profile,
    /// The last of them has no sessions: it steals.
    pub nodes: Vec<Node>,
    pub ends: Vec<End>,
    /// Ends that are not retired.
    pub live: Vec<usize>,
    pub conversations: Vec<Conversation>,
    pub carriers: Vec<Carrier>,
    /// Carriers that are not gone.
    pub routes: Vec<usize>,
    pub trace: Trace,
    /// A step is one command, delivery, timer or fault applied to an end.
    pub steps: u64,
    pub bug: Bug,
    /// No more faults; everybody reads, and writes at once.
    pub healing: bool,
    pub next_number: u64,
}

impl World {
    pub fn new(seed: u64, bug: Bug) -> World {
        let mut random = Random(seed);
        let profile = Profile::draw(&mut random);
        let nodes = (0..=profile.nodes)
            .map(|_| Node {
                fingerprint: random.array(),
                boot_id: random.array(),
                options: profile.options(&mut random),
                table: SessionTable::new(profile.table(&mut random)),
                ahead: 0,
                restarted: false,
                evidence: 0,
            })
            .collect();
        World {
            now: 0,
            random,
            profile,
            nodes,
            ends: Vec::new(),
            live: Vec::new(),
            conversations: Vec::new(),
            carriers: Vec::new(),
            routes: Vec::new(),
            trace: Trace::default(),
            steps: 0,
            bug,
            healing: false,
            next_number: 1,
        }
    }

    /// The time on a node's own clock.
    pub fn clock(&self, node: usize) -> Nanos {
        self.now + self.nodes[node].ahead
    }

    pub fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// The end of a session that a node has.
    pub fn end_of(&self, node: usize, session_id: &SessionId) -> Option<usize> {
        self.live.iter().copied().find(|end| {
            let end = &self.ends[*end];
            end.node == node && end.session.id() == *session_id
        })
    }

    pub fn step(&mut self) -> Result<(), Wrong> {
        let roll = self.random.below(4096);
        let (faults, commands) = (self.profile.faults, self.profile.commands);
        if roll < faults {
            self.fault()
        } else if roll < faults + commands || !self.progress()? {
            self.command()
        } else {
            Ok(())
        }
    }

    /// One delivery, write or timer; time passes if nothing else is left. False when nothing will ever happen.
    pub fn progress(&mut self) -> Result<bool, Wrong> {
        self.steps += 1;
        for _ in 0..8 {
            if self.write_one()? || self.deliver_one()? || self.fire_one()? {
                return Ok(true);
            }
            match self.next_instant() {
                Some(next) => self.now = self.now.max(next),
                None => return Ok(false),
            }
        }
        Err("something is due, and nothing can be done about it".into())
    }

    /// Lets an end write that has put it off.
    fn write_one(&mut self) -> Result<bool, Wrong> {
        let count = self.live.len();
        let first = if count == 0 { 0 } else { self.random.index(count) };
        for turn in 0..count {
            let end = self.live[(first + turn) % count];
            if self.may_write(end) {
                self.write(end)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn deliver_one(&mut self) -> Result<bool, Wrong> {
        let count = self.routes.len();
        let first = if count == 0 { 0 } else { self.random.index(count) };
        for turn in 0..2 * count {
            let (carrier, direction) = (self.routes[(first + turn / 2) % count], turn % 2);
            if self.carriers[carrier].directions[direction].ready_at().is_some_and(|at| at <= self.now) {
                self.deliver(carrier, direction)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn fire_one(&mut self) -> Result<bool, Wrong> {
        for at in 0..self.live.len() {
            let end = self.live[at];
            let now = self.clock(self.ends[end].node);
            let due = |at: Option<Nanos>| at.is_some_and(|at| at <= now);
            if due(self.ends[end].session.deadline()) {
                self.ends[end].session.handle_timeout(now);
                self.after(end)?;
                return Ok(true);
            }
            if due(self.ends[end].retry_at) {
                self.ends[end].retry_at = None;
                self.dial_again(end)?;
                return Ok(true);
            }
        }
        for at in 0..self.routes.len() {
            let carrier = self.routes[at];
            for side in 0..2 {
                if self.carriers[carrier].is_opening(side) {
                    let now = self.clock(self.carriers[carrier].nodes[side]);
                    if self.carriers[carrier].deadlines[side] <= now {
                        self.give_up(carrier, side)?;
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    fn next_instant(&self) -> Option<Nanos> {
        let mut next: Option<Nanos> = None;
        let mut consider = |at: Nanos| next = Some(next.map_or(at, |next| next.min(at)));
        for &carrier in &self.routes {
            let carrier = &self.carriers[carrier];
            carrier.directions.iter().filter_map(|direction| direction.ready_at()).for_each(&mut consider);
            for side in 0..2 {
                if matches!(carrier.uses[side], Use::Opening(_)) {
                    let ahead = self.nodes[carrier.nodes[side]].ahead;
                    consider(carrier.deadlines[side].saturating_sub(ahead));
                }
            }
        }
        for &end in &self.live {
            let (end, ahead) = (&self.ends[end], self.nodes[self.ends[end].node].ahead);
            let moments = [end.session.deadline(), end.retry_at];
            moments.into_iter().flatten().for_each(|at| consider(at.saturating_sub(ahead)));
        }
        next
    }

    /// Whether an end has something to write, and a carrier that takes it.
    pub fn may_write(&self, end: usize) -> bool {
        let end = &self.ends[end];
        let Some(carrier) = end.carrier else { return false };
        let room = self.carriers[carrier].directions[end.side].in_transit() < self.profile.capacity;
        (room && end.session.wants_write()) || end.session.state() == State::Closed
    }
}
