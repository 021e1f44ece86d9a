//! How carriers open, as production answers: who is let in, and who may go on with what (section 9).

use web4_core::rtt::opening_frame::BootId;
use web4_core::rtt::{
    Code, Found, MILLISECOND, Nanos, Opened, OpeningStep, ResumeRequest, ResumeTicket, ResumedHere, Session,
    State,
};

use super::carrier::{Granted, Purpose, Use};
use super::model::{Conversation, Phase, Tickets, Wrong};
use super::planted::Bug;
use super::world::{End, World};

impl World {
    pub fn opened(&mut self, carrier: usize, side: usize, step: OpeningStep) -> Result<(), Wrong> {
        self.trace.say(|| format!("carrier {carrier}, side {side}: {step:?}"));
        match step {
            OpeningStep::Wait => Ok(()),
            OpeningStep::Asked { boot_id } => self.asked(carrier, boot_id),
            OpeningStep::AskedResume(request) => self.asked_resume(carrier, request),
            OpeningStep::Open(opened) => self.begin(carrier, side, *opened),
            OpeningStep::Resumed(here) => self.go_on(carrier, side, *here),
            OpeningStep::Refused { code, boot_id, retry_after_ms } => {
                self.refused(carrier, code, boot_id, retry_after_ms)
            }
        }
    }

    fn refuse(&mut self, carrier: usize, code: Code) {
        let mut out = Vec::new();
        if let Use::Opening(opening) = &mut self.carriers[carrier].uses[1] {
            opening.refuse(code, if code.is_retryable() { 50 } else { 0 }, &mut out);
        }
        self.trace.say(|| format!("carrier {carrier}: refused {code}"));
        self.send(carrier, 1, out);
        self.close(carrier, 1);
    }

    /// A peer asks for a session (RTT-35, section 15).
    fn asked(&mut self, carrier: usize, boot_id: BootId) -> Result<(), Wrong> {
        let [from, to] = self.carriers[carrier].nodes;
        let peer = self.nodes[from].fingerprint;
        for id in self.nodes[to].table.of_earlier_boots(&peer, &boot_id) {
            match self.end_of(to, &id) {
                Some(end) => {
                    self.ends[end].session.lose("peer_restarted", Code::UNKNOWN_SESSION);
                    self.after(end)?;
                }
                None => self.nodes[to].table.remove(&id),
            }
        }
        if let Err(code) = self.nodes[to].table.check_room(&peer) {
            self.refuse(carrier, code);
            return Ok(());
        }
        let (session_id, ticket) = (self.random.array(), ResumeTicket(self.random.array()));
        self.nodes[to].table.insert(session_id, peer, boot_id);
        let limits = self.nodes[to].options.limits.agree(&self.nodes[from].options.limits);
        self.conversations.push(Conversation {
            session_id,
            nodes: [from, to],
            ends: [None, None],
            channels: Vec::new(),
            wires: Default::default(),
            windows: limits.kinds.map(|kind| kind.window),
            tickets: Tickets::new(ticket),
            broken: false,
            too_early: false,
        });
        self.carriers[carrier].granted = Some(Granted::Start(self.conversations.len() - 1));
        let mut out = Vec::new();
        if let Use::Opening(opening) = &mut self.carriers[carrier].uses[1] {
            opening.answer(session_id, ticket, &mut out);
        }
        self.send(carrier, 1, out);
        Ok(())
    }

    /// A peer asks to go on with a session (RTT-31, RTT-33).
    fn asked_resume(&mut self, carrier: usize, mut request: ResumeRequest) -> Result<(), Wrong> {
        let [from, to] = self.carriers[carrier].nodes;
        let peer = self.nodes[from].fingerprint;
        let end = match self.nodes[to].table.find(&request.session_id, &peer) {
            Found::Own => self.end_of(to, &request.session_id),
            Found::Foreign => {
                self.nodes[to].evidence += 1;
                None
            }
            Found::Unknown => None,
        };
        let Some(end) = end else {
            let named = self.conversations.iter_mut().find(|known| known.session_id == request.session_id);
            if let Some(known) = named.filter(|known| known.ends[1].is_none()) {
                known.too_early = true;
            }
            self.refuse(carrier, Code::UNKNOWN_SESSION);
            return Ok(());
        };
        let conversation = self.ends[end].conversation;
        if self.conversations[conversation].nodes != [from, to] {
            return Err("a session was found for somebody else".into());
        }
        let (now, next) = (self.clock(to), ResumeTicket(self.random.array()));
        let presented = request.ticket;
        if self.bug == Bug::TicketReused {
            self.accept_any_ticket(conversation, &mut request);
        }
        let session = &mut self.ends[end].session;
        let before = (session.state(), session.epoch(), session.stats(), session.deadline());
        match session.grant_resume(&request, next, now) {
            Err(code) => {
                let after = (session.state(), session.epoch(), session.stats(), session.deadline());
                if before != after {
                    return Err(format!(
                        "a refused resume ({code}) disturbed its session: {before:?} {after:?}"
                    ));
                }
                self.refuse(carrier, code);
                self.after(end)
            }
            Ok(mut grant) => {
                let known = &mut self.conversations[conversation];
                known.tickets.grant(presented, grant.epoch, grant.ticket)?;
                known.acknowledged(1, grant.cursor)?;
                self.carriers[carrier].granted = Some(Granted::Resume(end, presented));
                if self.bug == Bug::CursorSwapped {
                    grant.cursor = request.cursor;
                }
                let mut out = Vec::new();
                if let Use::Opening(opening) = &mut self.carriers[carrier].uses[1] {
                    opening.answer_resume(grant, &mut out);
                }
                self.send(carrier, 1, out);
                self.after(end)
            }
        }
    }

    /// A session is open at one end.
    fn begin(&mut self, carrier: usize, side: usize, opened: Opened) -> Result<(), Wrong> {
        let nodes = self.carriers[carrier].nodes;
        let (node, peer) = (nodes[side], nodes[1 - side]);
        let now = self.clock(node);
        let found = self.conversations.iter().rposition(|known| known.session_id == opened.session_id);
        let conversation = found.ok_or("a session that was never granted")?;
        let mut session = Session::new(opened.session_id, opened.agreement, &self.nodes[node].options, now);
        session.allow_resume(opened.ticket);
        if side == 0 {
            let peer = self.nodes[peer].fingerprint;
            self.nodes[node].table.insert(opened.session_id, peer, opened.peer_boot_id);
        }
        let end = self.ends.len();
        self.ends.push(End {
            node,
            conversation,
            side,
            session,
            peer_boot: opened.peer_boot_id,
            carrier: Some(carrier),
            attempt: None,
            retry_at: None,
            failures: 0,
            open_since: now,
            phase: Phase::Open,
            timed_out: false,
            epoch: 0,
            unlisted: 0,
            waiting: Vec::new(),
            flushes: Vec::new(),
            peer_shutdown: false,
            opened: Vec::new(),
            aged: false,
            deceived: false,
            peer_restarts: false,
            resend_bytes: self.nodes[node].options.resend_bytes,
            retired: false,
            echoes: Default::default(),
            seen: 0,
            leaks: Default::default(),
        });
        self.live.push(end);
        self.conversations[conversation].ends[side] = Some(end);
        self.conversations[conversation].introduce(0, side);
        self.carriers[carrier].uses[side] = Use::Serving(end);
        self.read(end, &opened.rest)?;
        self.after(end)
    }

    /// A carrier opened that resumes a session at one end (RTT-31).
    fn go_on(&mut self, carrier: usize, side: usize, here: ResumedHere) -> Result<(), Wrong> {
        let purpose = self.carriers[carrier].purpose;
        let end = match (side, purpose, self.carriers[carrier].granted) {
            (0, Purpose::Resume(end), _) | (1, _, Some(Granted::Resume(end, _))) => end,
            _ => return Err("a resume of nothing".into()),
        };
        let now = self.clock(self.ends[end].node);
        if side == 0 {
            self.ends[end].attempt = None;
        }
        if self.ends[end].retired || self.ends[end].session.resume(&here.resumed, now).is_err() {
            self.close(carrier, side);
            return if self.ends[end].retired { Ok(()) } else { self.after(end) };
        }
        if let Some(before) = self.ends[end].carrier.replace(carrier) {
            self.close(before, side);
        }
        self.carriers[carrier].uses[side] = Use::Serving(end);
        self.ends[end].open_since = now;
        let tickets = &mut self.conversations[self.ends[end].conversation].tickets;
        match self.carriers[carrier].granted {
            Some(Granted::Resume(_, presented)) if side == 1 => tickets.confirm(presented)?,
            _ => tickets.held = here.resumed.ticket,
        }
        self.read(end, &here.rest)?;
        self.after(end)
    }

    fn refused(
        &mut self,
        carrier: usize,
        code: Code,
        boot_id: BootId,
        retry_after_ms: u32,
    ) -> Result<(), Wrong> {
        self.close(carrier, 0);
        let end = match self.carriers[carrier].purpose {
            Purpose::Start => return Ok(()),
            Purpose::Probe => return Ok(()),
            Purpose::Resume(end) => end,
        };
        self.ends[end].attempt = None;
        if self.ends[end].session.state() != State::Suspended {
            // It asked to replace a carrier that still works; the session goes on upon that.
            return Ok(());
        }
        if code.is_retryable() {
            self.attempt_failed(end, Nanos::from(retry_after_ms) * MILLISECOND);
            return Ok(());
        }
        let restarted = code == Code::UNKNOWN_SESSION && boot_id != self.ends[end].peer_boot;
        let loss = if restarted { "peer_restarted" } else { code.word() };
        self.ends[end].session.lose(loss, code);
        self.after(end)
    }
}
