//! What drives sessions, as production does: which carrier is a session's, when it writes, when to dial again (sections
//! 4 and 12).

use web4_core::rtt::{Code, MILLISECOND, Nanos, Opening, ResumeRequest, State};

use super::carrier::{Arrival, Carrier, Direction, Granted, Purpose, Use};
use super::model::Wrong;
use super::planted::Bug;
use super::world::{HANDSHAKE, World};

impl World {
    /// Dials: the initiator's opening frame is on its way.
    pub fn dial(
        &mut self,
        from: usize,
        to: usize,
        purpose: Purpose,
        request: Option<ResumeRequest>,
    ) -> usize {
        let (ours, theirs) = (&self.nodes[from], &self.nodes[to]);
        let mut out = Vec::new();
        let opening = match request {
            Some(request) => Opening::resume(&ours.options, ours.boot_id, request, &mut out),
            None => Opening::initiate(&ours.options, ours.boot_id, &mut out),
        };
        let accepting = Opening::accept(&theirs.options, theirs.boot_id);
        let carrier = Carrier {
            nodes: [from, to],
            purpose,
            uses: [Use::Opening(Box::new(opening)), Use::Opening(Box::new(accepting))],
            directions: [Direction::default(), Direction::default()],
            deadlines: [self.clock(from) + HANDSHAKE, self.clock(to) + HANDSHAKE],
            delay: self.random.below(self.profile.delay + 1),
            granted: None,
        };
        self.carriers.push(carrier);
        let carrier = self.carriers.len() - 1;
        self.routes.push(carrier);
        // The handshake of TLS comes first: the request was made before it.
        let extra = 2 * self.carriers[carrier].delay;
        self.carriers[carrier].directions[0].write(out, self.now + extra);
        self.trace.note(0x100 + carrier as u64);
        self.trace.say(|| format!("carrier {carrier}: node {from} dials {to}, {purpose:?} {request:?}"));
        carrier
    }

    /// Dials for a session that lost its carrier, or has an old one.
    pub fn dial_again(&mut self, end: usize) -> Result<(), Wrong> {
        if self.ends[end].attempt.is_some() {
            return Ok(());
        }
        let Some(request) = self.ends[end].session.ask_resume() else { return Ok(()) };
        let nodes = self.conversations[self.ends[end].conversation].nodes;
        let carrier = self.dial(nodes[0], nodes[1], Purpose::Resume(end), Some(request));
        self.ends[end].attempt = Some(carrier);
        Ok(())
    }

    pub fn send(&mut self, carrier: usize, side: usize, bytes: Vec<u8>) {
        let delay = self.carriers[carrier].delay;
        let at = self.now + delay + self.random.below(delay + 1);
        self.carriers[carrier].directions[side].write(bytes, at);
    }

    /// One end of a carrier is closed; the other learns of it behind what was written.
    pub fn close(&mut self, carrier: usize, side: usize) {
        let it = &mut self.carriers[carrier];
        if matches!(it.uses[side], Use::Gone) {
            return;
        }
        it.uses[side] = Use::Gone;
        it.directions[side].end(self.now + it.delay);
        it.directions[1 - side].forget();
        if it.is_gone() {
            self.routes.retain(|route| *route != carrier);
        }
    }

    pub fn deliver(&mut self, carrier: usize, direction: usize) -> Result<(), Wrong> {
        let piece = match self.profile.piece {
            usize::MAX => usize::MAX,
            most => 1 + self.random.index(most),
        };
        let side = 1 - direction;
        match self.carriers[carrier].directions[direction].take(piece) {
            Arrival::Bytes(bytes) => self.arrive(carrier, side, &bytes),
            Arrival::End | Arrival::Damaged => {
                self.trace.say(|| format!("carrier {carrier} ends for side {side}"));
                self.give_up(carrier, side)
            }
        }
    }

    fn arrive(&mut self, carrier: usize, side: usize, bytes: &[u8]) -> Result<(), Wrong> {
        match &mut self.carriers[carrier].uses[side] {
            Use::Gone => Ok(()),
            Use::Opening(opening) => {
                let mut out = Vec::new();
                let step = opening.receive(bytes, &mut out);
                let step = step.map_err(|code| format!("an opening broke a rule: {code}"))?;
                self.send(carrier, side, out);
                self.opened(carrier, side, step)
            }
            Use::Serving(end) => {
                let end = *end;
                self.read(end, bytes)?;
                self.after(end)
            }
        }
    }

    pub fn read(&mut self, end: usize, bytes: &[u8]) -> Result<(), Wrong> {
        let now = self.clock(self.ends[end].node);
        if self.bug == Bug::DuplicateNotDropped {
            self.echo_duplicates(end, bytes);
        }
        let outcome = self.ends[end].session.receive_plaintext(bytes, now);
        outcome.map_err(|code| format!("end {end} calls its peer's bytes {code}"))
    }

    /// One end of a carrier has failed: damaged, ended, or too slow to open.
    pub fn give_up(&mut self, carrier: usize, side: usize) -> Result<(), Wrong> {
        let now = self.clock(self.carriers[carrier].nodes[side]);
        let serving = match &self.carriers[carrier].uses[side] {
            Use::Serving(end) => Some(*end),
            _ => None,
        };
        let opening = self.carriers[carrier].is_opening(side);
        self.close(carrier, side);
        if let Some(end) = serving {
            self.ends[end].carrier = None;
            self.ends[end].session.carrier_lost(now);
            return self.after(end);
        }
        match (self.carriers[carrier].purpose, side) {
            (Purpose::Resume(end), 0) if opening => self.attempt_failed(end, 0),
            (_, 1) if opening => {
                // RTT-37: what was granted and never confirmed is forgotten.
                if let Some(Granted::Start(conversation)) = self.carriers[carrier].granted {
                    let id = self.conversations[conversation].session_id;
                    self.nodes[self.carriers[carrier].nodes[1]].table.remove(&id);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// RTT-45: uniformly between half of d and d = min(5 s, 0.1 s * 2^n).
    pub fn attempt_failed(&mut self, end: usize, at_least: Nanos) {
        let now = self.clock(self.ends[end].node);
        self.ends[end].attempt = None;
        if self.ends[end].session.state() != State::Suspended {
            return;
        }
        let step = (100 * MILLISECOND << self.ends[end].failures.min(10)).min(5_000 * MILLISECOND);
        let wait = step / 2 + self.random.below(step / 2 + 1);
        self.ends[end].failures += 1;
        self.ends[end].retry_at = Some(now + wait.max(at_least));
    }

    /// What follows from what a session did: it is looked at, told on, and written.
    pub fn after(&mut self, end: usize) -> Result<(), Wrong> {
        self.observe(end)?;
        let (node, id) = (self.ends[end].node, self.ends[end].session.id());
        match self.ends[end].session.state() {
            State::Open | State::Closing => self.nodes[node].table.resume(&id),
            State::Suspended => self.suspended(end)?,
            State::Closed => {
                self.nodes[node].table.remove(&id);
                self.ends[end].retry_at = None;
            }
        }
        let eager = self.healing || self.random.chance(self.profile.eager, 64);
        if eager && self.may_write(end) {
            self.write(end)?;
        }
        Ok(())
    }

    fn suspended(&mut self, end: usize) -> Result<(), Wrong> {
        let (node, side) = (self.ends[end].node, self.ends[end].side);
        let (now, id) = (self.clock(node), self.ends[end].session.id());
        if let Some(carrier) = self.ends[end].carrier.take() {
            self.close(carrier, side);
        }
        let known = &mut self.ends[end];
        if side == 0 && known.attempt.is_none() && known.retry_at.is_none() {
            // The first attempt after a carrier that was open starts at once (RTT-45).
            if now.saturating_sub(known.open_since) >= 10_000 * MILLISECOND {
                known.failures = 0;
            }
            known.retry_at = Some(now);
        }
        if let Some(evicted) = self.nodes[node].table.suspend(&id, now) {
            let victim = self.end_of(node, &evicted).ok_or("a session nobody has was evicted")?;
            self.ends[victim].session.lose("evicted", Code::BUSY);
            self.after(victim)?;
        }
        Ok(())
    }

    /// Writes as long as there is something and the carrier takes it.
    pub fn write(&mut self, end: usize) -> Result<(), Wrong> {
        while self.may_write(end) {
            let Some(carrier) = self.ends[end].carrier else { break };
            let (side, conversation) = (self.ends[end].side, self.ends[end].conversation);
            let mut record = Vec::new();
            self.ends[end].session.take_rekey();
            let wrote = self.ends[end].session.transmit(&mut record);
            self.observe(end)?;
            if !wrote {
                if self.ends[end].session.state() == State::Closed {
                    self.ends[end].carrier = None;
                    self.close(carrier, side);
                }
                break;
            }
            if record.len() > web4_core::rtt::RECORD_BYTES {
                return Err(format!("a write of {} bytes", record.len()));
            }
            let value = self.conversations[conversation].written(side, &record)?;
            self.trace.note(value);
            self.trace.say(|| format!("end {end} writes {} bytes", record.len()));
            self.plant(end, &mut record);
            self.send(carrier, side, record);
        }
        Ok(())
    }
}
