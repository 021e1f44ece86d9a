//! How a session lives on without a carrier, and goes on upon another one (section 9).

use super::code::Code;
use super::limits::{MILLISECOND, Nanos};
use super::opening_frame::{ResumeTicket, SessionId};
use super::session::{Closed, Event, Session, State};

/// What the initiator says when it asks to go on with a session (RTT-30).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeRequest {
    /// The session.
    pub session_id: SessionId,
    /// The proof that it was granted this resume.
    pub ticket: ResumeTicket,
    /// The epoch it proposes for the new carrier.
    pub epoch: u32,
    /// Every numbered frame of the acceptor up to this one has arrived.
    pub cursor: u64,
}

/// What the acceptor says when it grants that (RTT-31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeGrant {
    /// The epoch of the new carrier.
    pub epoch: u32,
    /// Every numbered frame of the initiator up to this one has arrived.
    pub cursor: u64,
    /// The ticket for the next time.
    pub ticket: ResumeTicket,
}

/// What a carrier that opened by a resume brings to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The session.
    pub session_id: SessionId,
    /// The epoch of the carrier.
    pub epoch: u32,
    /// What the peer has received.
    pub cursor: u64,
    /// The ticket for the next time; the acceptor's `Session` made it and knows it already.
    pub ticket: ResumeTicket,
}

/// Tickets and epochs of a session that can be resumed.
#[derive(Debug)]
pub(super) struct Resumption {
    /// The initiator presents it; the acceptor takes it.
    ticket: ResumeTicket,
    /// Acceptor: issued with the latest RESUMED, and not known to have arrived.
    next_ticket: Option<ResumeTicket>,
    /// The highest epoch that was proposed (initiator) or granted (acceptor).
    latest_epoch: u32,
}

impl Resumption {
    pub fn new(ticket: ResumeTicket) -> Resumption {
        Resumption { ticket, next_ticket: None, latest_epoch: 0 }
    }
}

impl Session {
    /// Lets the session outlive its carriers: `ticket` is the one of STARTED. Changes nothing if the ends agreed on no
    /// resume window.
    pub fn allow_resume(&mut self, ticket: ResumeTicket) {
        if self.agreement.resume_window_ms > 0 {
            self.resumption = Some(Box::new(Resumption::new(ticket)));
        }
    }

    /// The number of the current, or the latest, carrier: 0 first.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Why the session has no carrier, while it has none.
    pub fn suspension(&self) -> Option<&'static str> {
        self.suspension
    }

    /// The carrier is gone. The session waits for another one, or ends if it cannot (section 4).
    ///
    /// After the peer's SHUTDOWN no carrier will come: the peer ended its session with this one.
    pub fn carrier_lost(&mut self, now: Nanos) {
        match self.state {
            State::Closed => self.writing.forget_close(),
            State::Suspended => {}
            State::Closing => self.lose_carrier("local"),
            State::Open => self.suspend("connection_lost", now),
        }
    }

    fn lose_carrier(&mut self, reason: &'static str) {
        self.close(reason, Code::NORMAL, "", false);
        self.writing.forget_close();
    }

    /// Gives up the current carrier, whatever still comes from it.
    pub(super) fn suspend(&mut self, reason: &'static str, now: Nanos) {
        let window = Nanos::from(self.agreement.resume_window_ms) * MILLISECOND;
        if self.resumption.is_none() || self.peer_shutdown {
            return self.lose_carrier(reason);
        }
        self.state = State::Suspended;
        self.suspension = Some(reason);
        self.partial = Vec::new();
        self.timing.stop();
        self.timing.expire_at(now.saturating_add(window));
        self.writing.lose_carrier();
        for channel in self.channels.values_mut() {
            channel.credit_listed = false;
        }
        self.events.push_back(Event::Suspended);
    }

    /// Whether another carrier is of any use. After a SHUTDOWN it is not: the session ends with the one it has.
    fn may_resume(&self) -> bool {
        matches!(self.state, State::Open | State::Suspended) && !self.peer_shutdown
    }

    /// Initiator: what to ask for on the next carrier; each time with a higher epoch. `None` when the session cannot be
    /// resumed, or not any more. One request at a time: give up the carrier of the one before.
    pub fn ask_resume(&mut self) -> Option<ResumeRequest> {
        if !self.agreement.initiator || !self.may_resume() {
            return None;
        }
        let cursor = self.cursor;
        let resumption = self.resumption.as_mut()?;
        resumption.latest_epoch = resumption.latest_epoch.checked_add(1)?;
        Some(ResumeRequest {
            session_id: self.id,
            ticket: resumption.ticket,
            epoch: resumption.latest_epoch,
            cursor,
        })
    }

    /// Initiator: a resume was granted on a carrier that is of no use any more. CONFIRM may have arrived, and spent the
    /// ticket of the request: the one that was granted is good in either case (RTT-32).
    pub fn learn_ticket(&mut self, resumed: &Resumed) {
        if let Some(resumption) = self.resumption.as_mut().filter(|it| it.latest_epoch == resumed.epoch) {
            resumption.ticket = resumed.ticket;
        }
    }

    /// Acceptor: grants a resume that the session's peer asks for, or says why not (RTT-31, RTT-32). The caller has
    /// compared fingerprints. What is granted fences the carrier of before; what is refused changes nothing.
    ///
    /// A cursor below one acknowledged is not impossible here (RTT-29): the peer asked while its old carrier still
    /// worked, and what it acknowledged on that since then has overtaken the request (RTT-48).
    ///
    /// # Errors
    /// The code to refuse with. `BAD_CURSOR` ended the session (RTT-29).
    pub fn grant_resume(
        &mut self,
        request: &ResumeRequest,
        next_ticket: ResumeTicket,
        now: Nanos,
    ) -> Result<ResumeGrant, Code> {
        let usable = !self.agreement.initiator && self.may_resume();
        let Some(resumption) = self.resumption.as_mut().filter(|_| usable) else {
            return Err(Code::UNKNOWN_SESSION);
        };
        let proves_receipt = resumption.next_ticket == Some(request.ticket);
        if !proves_receipt && resumption.ticket != request.ticket {
            return Err(Code::TICKET_SPENT);
        }
        if self.timing.is_expired(now) {
            return Err(Code::TICKET_EXPIRED);
        }
        if request.epoch <= resumption.latest_epoch {
            return Err(Code::STALE_EPOCH);
        }
        if !self.writing.resend.is_written(request.cursor) {
            self.lose("cursor_invalid", Code::BAD_CURSOR);
            return Err(Code::BAD_CURSOR);
        }
        if proves_receipt {
            resumption.ticket = request.ticket;
        }
        resumption.next_ticket = Some(next_ticket);
        resumption.latest_epoch = request.epoch;
        if self.state == State::Open {
            self.suspend("replaced", now);
        }
        Ok(ResumeGrant { epoch: request.epoch, cursor: self.cursor, ticket: next_ticket })
    }

    /// A carrier opened that resumes this session: what the peer has is dropped, the rest is sent again (RTT-31).
    ///
    /// # Errors
    /// `STALE_EPOCH` when a later carrier was granted meanwhile, or the session is over: nothing changed. `BAD_CURSOR`
    /// ended the session (RTT-29). Either way the new carrier is of no use.
    pub fn resume(&mut self, resumed: &Resumed, now: Nanos) -> Result<(), Code> {
        let alive = self.may_resume();
        let Some(resumption) = self.resumption.as_mut().filter(|_| alive) else {
            return Err(Code::STALE_EPOCH);
        };
        if resumed.epoch != resumption.latest_epoch || resumed.epoch <= self.epoch {
            return Err(Code::STALE_EPOCH);
        }
        let cursor = match self.agreement.initiator {
            true => resumed.cursor,
            false => self.writing.resend.at_least_acknowledged(resumed.cursor),
        };
        if !self.writing.resend.is_sound(cursor) {
            self.lose("cursor_invalid", Code::BAD_CURSOR);
            return Err(Code::BAD_CURSOR);
        }
        (resumption.ticket, resumption.next_ticket) = (resumed.ticket, None);
        if self.state == State::Open {
            // The initiator replaces a carrier that still works (RTT-48).
            self.suspend("replaced", now);
        }
        (self.state, self.suspension, self.epoch) = (State::Open, None, resumed.epoch);
        self.stats.resumes += 1;
        self.timing.restart(now, &self.options);
        self.events.push_back(Event::Resumed);
        self.acknowledge(cursor)?;
        self.writing.resume();
        let ids: Vec<_> = self.channels.keys().copied().collect();
        ids.into_iter().for_each(|id| self.schedule(id));
        self.recheck_memory();
        Ok(())
    }

    /// The peer, or this endpoint, cannot go on with the session: it is lost, and why is `loss` (RTT-25).
    pub fn lose(&mut self, loss: &'static str, code: Code) {
        if self.state != State::Closed {
            let reason = if loss == "auth_failed" { loss } else { "lost" };
            self.close(reason, code, "", false);
            self.closed = self.closed.take().map(|closed| Closed { loss: Some(loss), ..closed });
        }
    }
}
