//! What goes wrong.

use web4_core::rtt::opening_frame::BootId;
use web4_core::rtt::{Code, MILLISECOND, ResumeRequest, SessionTable, State};

use super::carrier::{Purpose, Tampering};
use super::model::Wrong;
use super::world::World;

impl World {
    pub fn fault(&mut self) -> Result<(), Wrong> {
        self.steps += 1;
        let kind = self.random.below(64);
        self.trace.note(0x200 + kind);
        match kind {
            0..=15 => self.cut(),
            16..=21 => self.fall_silent(),
            22..=33 => self.tamper(),
            34..=35 if self.profile.restarts => self.restart(),
            36..=37 if self.profile.clock_jumps => self.jump(),
            38..=42 => self.steal(),
            43..=47 => self.present_old(),
            48..=57 => self.replace(),
            58 => self.deceive(),
            _ => self.cut_opening(),
        }
    }

    fn any_route(&mut self) -> Option<usize> {
        if self.routes.is_empty() { None } else { Some(self.random.pick(&self.routes)) }
    }

    /// The carrier breaks: what is on its way arrives up to some record of each direction, and both ends learn of it.
    fn cut(&mut self) -> Result<(), Wrong> {
        let Some(carrier) = self.any_route() else { return Ok(()) };
        self.cut_carrier(carrier)
    }

    /// The same, to a carrier that is being opened: START to CONFIRM are few, and every loss of them is another case.
    fn cut_opening(&mut self) -> Result<(), Wrong> {
        let opening = |route: &&usize| {
            let carrier = &self.carriers[**route];
            carrier.is_opening(0) || carrier.is_opening(1)
        };
        match self.routes.iter().find(opening).copied() {
            Some(carrier) => self.cut_carrier(carrier),
            None => self.cut(),
        }
    }

    fn cut_carrier(&mut self, carrier: usize) -> Result<(), Wrong> {
        self.trace.say(|| format!("carrier {carrier} is cut"));
        let now = self.now;
        for direction in 0..2 {
            let count = self.carriers[carrier].directions[direction].records();
            let kept = self.random.index(count + 1);
            let later = self.random.below(self.carriers[carrier].delay + 1);
            let direction = &mut self.carriers[carrier].directions[direction];
            direction.cut(kept);
            direction.end(now + later);
        }
        Ok(())
    }

    /// Half-open: from now on nothing arrives, in one direction or both, and only silence tells.
    fn fall_silent(&mut self) -> Result<(), Wrong> {
        let Some(carrier) = self.any_route() else { return Ok(()) };
        self.trace.say(|| format!("carrier {carrier} falls silent"));
        let which = self.random.index(3);
        for direction in 0..2 {
            if which != direction {
                let count = self.carriers[carrier].directions[direction].records();
                let kept = self.random.index(count + 1);
                let direction = &mut self.carriers[carrier].directions[direction];
                direction.cut(kept);
                direction.silent = true;
            }
        }
        Ok(())
    }

    fn tamper(&mut self) -> Result<(), Wrong> {
        let Some(carrier) = self.any_route() else { return Ok(()) };
        let how = self.random.pick(&[Tampering::Drop, Tampering::Alter, Tampering::Repeat, Tampering::Swap]);
        let direction = self.random.index(2);
        let count = self.carriers[carrier].directions[direction].records();
        let at = self.random.index(count.max(1));
        self.trace.say(|| format!("carrier {carrier}, direction {direction}: {how:?} at {at}"));
        self.carriers[carrier].directions[direction].tamper(how, at);
        Ok(())
    }

    /// A process ends and another one of the same identity begins: it knows no session.
    fn restart(&mut self) -> Result<(), Wrong> {
        let node = self.random.index(self.profile.nodes);
        self.trace.say(|| format!("node {node} restarts"));
        let boot_id: BootId = self.random.array();
        let table = SessionTable::new(self.profile.table(&mut self.random));
        let it = &mut self.nodes[node];
        (it.boot_id, it.table, it.restarted) = (boot_id, table, true);
        for conversation in &mut self.conversations {
            for side in 0..2 {
                if conversation.nodes[side] == node {
                    conversation.broken = true;
                    conversation.ends[side] = None;
                }
            }
        }
        for end in std::mem::take(&mut self.live) {
            match self.ends[end].node == node {
                true => self.ends[end].retired = true,
                false => self.live.push(end),
            }
        }
        for carrier in self.routes.clone() {
            for side in 0..2 {
                if self.carriers[carrier].nodes[side] == node {
                    // Its host may say that nobody is there any more, or have gone with it.
                    self.carriers[carrier].directions[side].silent |= self.random.chance(1, 2);
                    self.close(carrier, side);
                }
            }
        }
        Ok(())
    }

    fn jump(&mut self) -> Result<(), Wrong> {
        let node = self.random.index(self.profile.nodes);
        let by = self.random.pick(&[20, 1_000, 16_000, 700_000]) * MILLISECOND;
        self.nodes[node].ahead += by;
        Ok(())
    }

    /// Somebody else presents the ticket of a session (RTT-33).
    fn steal(&mut self) -> Result<(), Wrong> {
        let Some(conversation) = self.any_conversation() else { return Ok(()) };
        let it = &self.conversations[conversation];
        let (session_id, to, ticket) = (it.session_id, it.nodes[1], it.tickets.held);
        let request = ResumeRequest { session_id, ticket, epoch: u32::MAX, cursor: 0 };
        let thief = self.nodes.len() - 1;
        self.dial(thief, to, Purpose::Probe, Some(request));
        Ok(())
    }

    /// The session's own peer presents a ticket that it has spent (RTT-32).
    fn present_old(&mut self) -> Result<(), Wrong> {
        let Some(conversation) = self.any_conversation() else { return Ok(()) };
        let it = &self.conversations[conversation];
        let (session_id, [from, to]) = (it.session_id, it.nodes);
        if it.tickets.spent.is_empty() {
            return Ok(());
        }
        let ticket = self.random.pick(&it.tickets.spent);
        let request = ResumeRequest { session_id, ticket, epoch: u32::MAX, cursor: 0 };
        self.dial(from, to, Purpose::Probe, Some(request));
        Ok(())
    }

    fn any_conversation(&mut self) -> Option<usize> {
        if self.live.is_empty() {
            return None;
        }
        let end = self.random.pick(&self.live);
        Some(self.ends[end].conversation)
    }

    /// A carrier is replaced while it works (RTT-48).
    fn replace(&mut self) -> Result<(), Wrong> {
        let able =
            |end: &&usize| self.ends[**end].side == 0 && self.ends[**end].session.state() == State::Open;
        match self.live.iter().find(able).copied() {
            Some(end) => self.dial_again(end),
            None => Ok(()),
        }
    }

    /// Somebody else answers at the peer's address, and proves another key (RTT-46).
    fn deceive(&mut self) -> Result<(), Wrong> {
        let dialling = |end: &&usize| {
            self.ends[**end].attempt.is_some() && self.ends[**end].session.state() == State::Suspended
        };
        let Some(end) = self.live.iter().find(dialling).copied() else { return Ok(()) };
        if self.random.chance(15, 16) {
            return Ok(());
        }
        if let Some(carrier) = self.ends[end].attempt.take() {
            self.close(carrier, 0);
        }
        self.ends[end].deceived = true;
        self.ends[end].session.lose("auth_failed", Code::UNKNOWN_SESSION);
        self.after(end)
    }
}
