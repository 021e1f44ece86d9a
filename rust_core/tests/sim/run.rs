//! One run: faults and commands, then rest; in the end everything is delivered, or named as lost, and nothing is left.

use web4_core::rtt::{MILLISECOND, Nanos, State};

use super::carrier::Purpose;
use super::model::{Channel, Wrong};
use super::planted::Bug;
use super::world::World;

/// Once faults stop, everything that can be delivered is, this soon: a silent carrier is noticed after three heartbeats
/// of 5 s, an opening given up after 5 s, and the back-off never longer.
const PATIENCE: Nanos = 90_000 * MILLISECOND;

/// What came of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub digest: u64,
    pub steps: u64,
    pub sessions: u64,
    pub resumes: u64,
    pub resent: u64,
    pub replayed: u64,
    pub rekeys: u64,
    pub delivered: u64,
    pub lost: u64,
    pub foreign: u64,
}

/// Runs a seed. `words` keeps what happened, to be printed.
pub fn run(seed: u64, steps: u64, bug: Bug, words: bool) -> Result<Done, (Wrong, Vec<String>)> {
    let mut world = World::new(seed, bug);
    world.trace.words = words.then(Vec::new);
    match world.run(steps) {
        Ok(()) => Ok(world.done()),
        Err(wrong) => Err((format!("step {}: {wrong}", world.steps), world.trace.words.unwrap_or_default())),
    }
}

impl World {
    fn run(&mut self, steps: u64) -> Result<(), Wrong> {
        while self.steps < steps {
            self.step()?;
        }
        self.heal()?;
        self.finish()
    }

    /// No more faults, and everybody reads.
    fn heal(&mut self) -> Result<(), Wrong> {
        self.healing = true;
        (self.profile.capacity, self.profile.piece) = (1_000_000, usize::MAX);
        // A process that was restarted opens a session anew; that ends what its peer has of the old ones (RTT-35).
        for at in 0..self.conversations.len() {
            let known = &self.conversations[at];
            if known.broken && known.ends[0].is_none() && known.ends[1].is_some() {
                self.dial(known.nodes[0], known.nodes[1], Purpose::Start, None);
            }
        }
        let until = self.now + PATIENCE;
        for turn in 0..1_000_000 {
            if turn % 4 == 0 {
                self.read_all()?;
            }
            if self.is_settled() {
                return Ok(());
            }
            let idle = !self.progress()?;
            if self.now > until || (idle && turn % 4 == 3) {
                break;
            }
        }
        Err(format!("not settled: {}", self.unsettled()))
    }

    fn read_all(&mut self) -> Result<(), Wrong> {
        for end in self.live.clone() {
            if !self.ends[end].retired {
                self.receive(end, usize::MAX)?;
                self.after(end)?;
            }
        }
        Ok(())
    }

    /// Both ends of a session are there, and neither has begun to end it.
    fn goes_on(&self, end: usize) -> bool {
        let known = &self.conversations[self.ends[end].conversation];
        known.ends.iter().all(|end| {
            end.is_some_and(|end| matches!(self.ends[end].session.state(), State::Open | State::Suspended))
        })
    }

    fn is_end_settled(&self, end: usize) -> bool {
        let it = &self.ends[end];
        let known = &self.conversations[it.conversation];
        let settled = |channel: &Channel| {
            let lane = &channel.lanes[it.side];
            let thrown_away = lane.loose || !channel.known[1 - it.side];
            lane.unacknowledged.is_empty() && (thrown_away || lane.undelivered.is_empty())
        };
        it.session.state() == State::Open
            && it.waiting.is_empty()
            && it.flushes.is_empty()
            && known.channels.iter().all(settled)
    }

    fn is_settled(&self) -> bool {
        let opening = self.routes.iter().any(|route| {
            self.carriers[*route].purpose == Purpose::Start && self.carriers[*route].is_opening(0)
        });
        !opening && self.live.iter().all(|end| !self.goes_on(*end) || self.is_end_settled(*end))
    }

    fn unsettled(&self) -> String {
        let ends = self.live.iter().filter(|end| self.goes_on(**end) && !self.is_end_settled(**end));
        ends.map(|end| {
            let it = &self.ends[*end];
            let channels = &self.conversations[it.conversation].channels;
            let stuck = channels.iter().filter(|channel| !channel.lanes[it.side].unacknowledged.is_empty());
            let stuck: Vec<_> =
                stuck.map(|channel| (channel.id, it.session.channel_stats(channel.id))).collect();
            format!(
                "end {end} ({:?}, waiting {:?}, flushes {:?}): {stuck:?}; ",
                it.phase, it.waiting, it.flushes
            )
        })
        .collect()
    }

    /// Everybody leaves: nothing may be left behind, and what could not be delivered is reported by then.
    fn finish(&mut self) -> Result<(), Wrong> {
        for end in self.live.clone() {
            if !self.ends[end].retired {
                let now = self.clock(self.ends[end].node);
                self.ends[end].session.shutdown(now);
                self.after(end)?;
            }
        }
        // As long as the longest resume window.
        let until = self.now + 700_000 * MILLISECOND;
        while !(self.live.is_empty() && self.routes.is_empty()) {
            for end in self.live.clone() {
                if self.ends[end].session.state() == State::Closed {
                    self.retire(end)?;
                }
            }
            let over = self.live.is_empty() && self.routes.is_empty();
            if !over && (self.now > until || !self.progress()?) {
                return Err(format!("not over: ends {:?}, carriers {:?}", self.live, self.routes));
            }
        }
        match self.nodes.iter().position(|node| !node.table.is_empty() || node.table.suspended() > 0) {
            Some(node) => Err(format!("node {node} keeps {} sessions", self.nodes[node].table.len())),
            None => Ok(()),
        }
    }

    fn done(&self) -> Done {
        let mut done = Done { digest: self.trace.digest, steps: self.steps, ..Done::default() };
        for end in &self.ends {
            let stats = end.session.stats();
            done.sessions += 1;
            done.resumes += stats.resumes;
            done.resent += stats.resent;
            done.replayed += stats.replayed;
            done.rekeys += stats.rekeys;
        }
        for lane in self.conversations.iter().flat_map(|known| &known.channels).flat_map(|known| &known.lanes)
        {
            done.delivered += lane.taken.0;
            done.lost += lane.accepted - lane.acknowledged;
        }
        done.foreign = self.nodes.iter().map(|node| node.evidence).sum();
        done
    }
}
