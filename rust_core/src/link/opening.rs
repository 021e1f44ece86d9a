//! A carrier from its first byte to an open session, or to the reason why not.

use super::{Arrival, Conduit, FRAME_BUFFER, SessionLink, Wire, WireFull};
use crate::carrier::{Carrier, CarrierError};
use crate::rtt::opening_frame::{BootId, SessionId};
use crate::rtt::{
    Code, Nanos, Opened, Opening, OpeningStep, Options, ResumeGrant, ResumeRequest, ResumeTicket, Resumed,
    ResumedHere, Session,
};

/// How far an opening is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It waits for the peer.
    Waiting,
    /// The peer is known and asks for a session: `answer` or `refuse`.
    Asked,
    /// The session is open: `into_session`.
    Open,
    /// The peer is known and asks to go on with a session: `answer_resume` or `refuse`.
    AskedResume,
    /// A session goes on here: `SessionLink::attach`.
    Resumed,
}

/// What a carrier is for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// Dialled for a new session.
    Start,
    /// Dialled to go on with a session.
    Resume(ResumeRequest),
    /// Accepted.
    Accept,
}

/// Why a carrier did not open.
#[derive(Debug)]
pub enum OpeningError {
    /// TLS: see `CarrierError::is_authentication` for whether trying again can help (RTT-46).
    Carrier(CarrierError),
    /// The acceptor refused.
    Refused {
        /// Its reason.
        code: Code,
        /// The earliest retry, in milliseconds.
        retry_after_ms: u32,
    },
    /// The peer broke the opening.
    Violation(Code),
    /// The stream ended in the middle.
    Ended,
}

/// One carrier while it opens.
#[derive(Debug)]
pub struct OpeningLink {
    conduit: Conduit,
    options: Options,
    boot_id: BootId,
    purpose: Purpose,
    opening: Option<Opening>,
    progress: Progress,
    opened: Option<Opened>,
    resumed: Option<ResumedHere>,
    asked_resume: Option<ResumeRequest>,
    peer_boot_id: Option<BootId>,
}

impl OpeningLink {
    /// A carrier at its beginning.
    pub fn new(
        carrier: Carrier,
        wire: Wire,
        purpose: Purpose,
        options: &Options,
        boot_id: BootId,
    ) -> OpeningLink {
        OpeningLink {
            conduit: Conduit::new(carrier, wire),
            options: *options,
            boot_id,
            purpose,
            opening: None,
            progress: Progress::Waiting,
            opened: None,
            resumed: None,
            asked_resume: None,
            peer_boot_id: None,
        }
    }

    /// The carrier, for the peer's key and what arrived of its handshake.
    pub fn carrier(&self) -> &Carrier {
        &self.conduit.carrier
    }

    /// The peer's start, once it named it.
    pub fn peer_boot_id(&self) -> Option<BootId> {
        self.peer_boot_id
    }

    /// The resume that the peer asks for.
    pub fn asked_resume(&self) -> Option<&ResumeRequest> {
        self.asked_resume.as_ref()
    }

    /// What the carrier brings to the session that it resumes, once it does.
    pub(super) fn resumed(&self) -> Option<&Resumed> {
        self.resumed.as_ref().map(|here| &here.resumed)
    }

    /// Writes what waits. False when the wire takes no more now.
    pub fn flush(&mut self) -> bool {
        self.conduit.flush()
    }

    /// Buffered wire: what arrived. `advance` takes it in.
    ///
    /// # Errors
    /// `WireFull`: nothing was taken, `advance` comes first.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), WireFull> {
        self.conduit.feed(bytes)
    }

    /// Buffered wire: nothing more will arrive.
    pub fn feed_end(&mut self) {
        self.conduit.feed_end();
    }

    /// Buffered wire: what is to be written next; empty when that is all. What was taken before is written by now.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.conduit.landed();
        self.conduit.flush();
        self.conduit.take()
    }

    /// Reads, decides, writes. Whatever it returns, `flush` says whether there is still something to write: an alert
    /// or a refusal, too.
    pub fn advance(&mut self) -> Result<Progress, OpeningError> {
        let outcome = self.advance_inner();
        self.conduit.flush();
        outcome
    }

    fn advance_inner(&mut self) -> Result<Progress, OpeningError> {
        let mut plaintext = Vec::new();
        loop {
            let arrival = self.conduit.read(|bytes| plaintext.extend_from_slice(bytes));
            // What was decrypted before the stream ended counts: a refusal comes right before the end.
            if !self.conduit.carrier.is_handshaking() {
                self.step(&std::mem::take(&mut plaintext))?;
            }
            match arrival {
                Ok(_) if self.progress != Progress::Waiting => return Ok(self.progress),
                Ok(Arrival::Drained) => return Ok(self.progress),
                Ok(Arrival::More) => {}
                Ok(Arrival::Ended) => return Err(OpeningError::Ended),
                Err(error) => return Err(OpeningError::Carrier(error)),
            }
        }
    }

    fn step(&mut self, plaintext: &[u8]) -> Result<(), OpeningError> {
        let (options, boot_id, purpose) = (self.options, self.boot_id, self.purpose);
        FRAME_BUFFER.with_borrow_mut(|out| {
            out.clear();
            let opening = self.opening.get_or_insert_with(|| match purpose {
                Purpose::Start => Opening::initiate(&options, boot_id, out),
                Purpose::Resume(request) => Opening::resume(&options, boot_id, request, out),
                Purpose::Accept => Opening::accept(&options, boot_id),
            });
            let step = opening.receive(plaintext, out);
            if !out.is_empty() {
                self.conduit.encrypt(out);
            }
            match step {
                Ok(OpeningStep::Wait) => {}
                Ok(OpeningStep::Asked { boot_id }) => {
                    self.peer_boot_id = Some(boot_id);
                    self.progress = Progress::Asked;
                }
                Ok(OpeningStep::Open(opened)) => {
                    self.peer_boot_id = Some(opened.peer_boot_id);
                    self.opened = Some(*opened);
                    self.progress = Progress::Open;
                }
                Ok(OpeningStep::AskedResume(request)) => {
                    self.asked_resume = Some(request);
                    self.progress = Progress::AskedResume;
                }
                Ok(OpeningStep::Resumed(resumed)) => {
                    self.resumed = Some(*resumed);
                    self.progress = Progress::Resumed;
                }
                Ok(OpeningStep::Refused { code, boot_id, retry_after_ms }) => {
                    self.peer_boot_id = Some(boot_id);
                    return Err(OpeningError::Refused { code, retry_after_ms });
                }
                Err(code) => return Err(OpeningError::Violation(code)),
            }
            Ok(())
        })
    }

    /// Acceptor, after `Asked`: grants the session.
    pub fn answer(&mut self, session_id: SessionId, ticket: ResumeTicket) {
        let mut out = Vec::new();
        if let Some(opening) = self.opening.as_mut().filter(|_| self.progress == Progress::Asked) {
            opening.answer(session_id, ticket, &mut out);
            self.progress = Progress::Waiting;
            self.conduit.encrypt(&out);
            self.conduit.flush();
        }
    }

    /// Acceptor, after `AskedResume`: grants it, as the session said.
    pub fn answer_resume(&mut self, grant: ResumeGrant) {
        let mut out = Vec::new();
        if let Some(opening) = self.opening.as_mut().filter(|_| self.progress == Progress::AskedResume) {
            opening.answer_resume(grant, &mut out);
            self.progress = Progress::Waiting;
            self.conduit.encrypt(&out);
            self.conduit.flush();
        }
    }

    /// Acceptor, after `Asked` or `AskedResume`: refuses, and ends the carrier.
    pub fn refuse(&mut self, code: Code, retry_after_ms: u32) {
        let mut out = Vec::new();
        if let Some(opening) = self.opening.as_mut() {
            opening.refuse(code, retry_after_ms, &mut out);
            self.progress = Progress::Waiting;
            self.conduit.encrypt(&out);
            self.conduit.carrier.close();
            self.conduit.flush();
        }
    }

    /// The session, once it is open. `Err` gives the link back.
    pub fn into_session(mut self, now: Nanos) -> Result<SessionLink, Box<OpeningLink>> {
        match self.opened.take() {
            Some(opened) => Ok(SessionLink::new(self.conduit, opened, &self.options, now)),
            None => Err(Box::new(self)),
        }
    }

    /// The carrier and what it brings to its session, once it resumes one. `Err` gives the link back.
    pub(super) fn into_resumed(mut self) -> Result<(Conduit, ResumedHere), Box<OpeningLink>> {
        match self.resumed.take() {
            Some(resumed) => Ok((self.conduit, resumed)),
            None => Err(Box::new(self)),
        }
    }
}

impl SessionLink {
    fn new(conduit: Conduit, opened: Opened, options: &Options, now: Nanos) -> SessionLink {
        let mut session = Session::new(opened.session_id, opened.agreement, options, now);
        session.allow_resume(opened.ticket);
        let early = session.receive_plaintext(&opened.rest, now);
        debug_assert!(early.is_ok() || session.closed().is_some());
        SessionLink::from_parts(conduit, session, now)
    }
}
