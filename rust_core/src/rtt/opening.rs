//! The opening of one carrier: from the version byte to CONFIRM, on each side (section 4, RTT-15, RTT-37).
//!
//! Both machines are sans-I/O. They consume plaintext of an authenticated carrier and append to `out` what is to
//! be written. They know no key and no address: who may come in is asked of whoever drives them.

use super::code::Code;
use super::limits::{Limits, Options};
use super::opening_frame::{
    BootId, Extension, FRAME_VERSIONS, OPENING_VERSION, OpeningFrame, ResumeTicket, SessionId,
};
use super::resume::{ResumeGrant, ResumeRequest, Resumed};
use super::session::Agreement;

/// What the driver of an opening has to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum OpeningStep {
    /// Nothing until more bytes come.
    Wait,
    /// Acceptor: a START arrived; ask `admit`, then call `answer` (RTT-6).
    Asked { boot_id: BootId },
    /// Acceptor: a RESUME arrived; ask `admit` and the session, then call `answer_resume` or `refuse` (RTT-31).
    AskedResume(ResumeRequest),
    /// A new session is open on this carrier.
    Open(Box<Opened>),
    /// A session goes on, on this carrier.
    Resumed(Box<ResumedHere>),
    /// Initiator: the acceptor refused.
    Refused { code: Code, boot_id: BootId, retry_after_ms: u32 },
}

/// The result of an opening.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// Names the session.
    pub session_id: SessionId,
    /// The peer's start (RTT-35).
    pub peer_boot_id: BootId,
    /// What the session may do.
    pub agreement: Agreement,
    /// What the session is resumed with for the first time.
    pub ticket: ResumeTicket,
    /// Plaintext that arrived behind the opening and belongs to the session.
    pub rest: Vec<u8>,
}

/// The result of an opening that resumes a session.
#[derive(Debug, PartialEq, Eq)]
pub struct ResumedHere {
    /// What the session has to know.
    pub resumed: Resumed,
    /// Plaintext that arrived behind the opening and belongs to the session.
    pub rest: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// Initiator: START is written.
    Asking,
    /// Initiator: RESUME is written.
    AskingResume { request: ResumeRequest },
    /// Acceptor: nothing arrived.
    Expecting,
    /// Acceptor: START arrived, `answer` has not been called.
    Deciding { offer: Offer },
    /// Acceptor: STARTED is written.
    Answered { session_id: SessionId, peer_boot_id: BootId, agreement: Agreement, ticket: ResumeTicket },
    /// Acceptor: RESUME arrived, neither `answer_resume` nor `refuse` has been called.
    DecidingResume { request: ResumeRequest },
    /// Acceptor: RESUMED is written.
    AnsweredResume { resumed: Resumed },
    /// Nothing more will be read.
    Done,
}

#[derive(Debug)]
struct Offer {
    boot_id: BootId,
    agreement: Agreement,
}

/// One side of the opening of one carrier.
#[derive(Debug)]
pub struct Opening {
    options: Options,
    boot_id: BootId,
    state: State,
    version_seen: bool,
    pending: Vec<u8>,
}

impl Opening {
    /// The initiator's side; the version byte and START are appended to `out` at once.
    pub fn initiate(options: &Options, boot_id: BootId, out: &mut Vec<u8>) -> Opening {
        out.push(OPENING_VERSION);
        let start = OpeningFrame::Start {
            versions: FRAME_VERSIONS.to_vec(),
            boot_id,
            limits: options.limits,
            resume_window_ms: options.resume_window_ms,
            extensions: vec![],
        };
        start.encode(out);
        Self::new(options, boot_id, State::Asking)
    }

    /// The initiator's side of a resume; the version byte and RESUME are appended to `out` at once.
    pub fn resume(options: &Options, boot_id: BootId, request: ResumeRequest, out: &mut Vec<u8>) -> Opening {
        out.push(OPENING_VERSION);
        let ResumeRequest { session_id, ticket, epoch, cursor } = request;
        let resume = OpeningFrame::Resume {
            versions: FRAME_VERSIONS.to_vec(),
            session_id,
            boot_id,
            ticket,
            epoch,
            cursor,
            extensions: vec![],
        };
        resume.encode(out);
        Self::new(options, boot_id, State::AskingResume { request })
    }

    /// The acceptor's side; it writes nothing before it was asked.
    pub fn accept(options: &Options, boot_id: BootId) -> Opening {
        Self::new(options, boot_id, State::Expecting)
    }

    fn new(options: &Options, boot_id: BootId, state: State) -> Opening {
        Opening { options: *options, boot_id, state, version_seen: false, pending: Vec::new() }
    }

    /// Takes in plaintext.
    ///
    /// An error is a violation by the peer; the caller closes the carrier, and whatever else arrives is ignored. A
    /// refusal that the specification words is written to `out` first.
    pub fn receive(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<OpeningStep, Code> {
        if matches!(self.state, State::Done) {
            return Ok(OpeningStep::Wait);
        }
        self.pending.extend_from_slice(plaintext);
        let outcome = self.step(out);
        if outcome.is_err() {
            self.state = State::Done;
        }
        if matches!(self.state, State::Done) {
            self.pending = Vec::new();
        }
        outcome
    }

    fn step(&mut self, out: &mut Vec<u8>) -> Result<OpeningStep, Code> {
        if !self.version_seen {
            match self.pending.first() {
                None => return Ok(OpeningStep::Wait),
                Some(&OPENING_VERSION) => self.pending.drain(..1),
                Some(_) => return Err(Code::BAD_OPENING),
            };
            self.version_seen = true;
        }
        if matches!(self.state, State::Deciding { .. } | State::DecidingResume { .. }) {
            // The initiator has nothing to say until it is answered.
            return if self.pending.is_empty() { Ok(OpeningStep::Wait) } else { Err(Code::OUT_OF_STATE) };
        }
        let Some((frame, used)) = OpeningFrame::parse(&self.pending)? else { return Ok(OpeningStep::Wait) };
        self.pending.drain(..used);
        match (std::mem::replace(&mut self.state, State::Done), frame) {
            (
                State::Expecting,
                OpeningFrame::Start { versions, boot_id, limits, resume_window_ms, extensions },
            ) => {
                self.check_terms(&versions, &extensions, out)?;
                let agreement = self.agree(false, &limits, resume_window_ms);
                self.state = State::Deciding { offer: Offer { boot_id, agreement } };
                Ok(OpeningStep::Asked { boot_id })
            }
            (
                State::Expecting,
                OpeningFrame::Resume { versions, session_id, ticket, epoch, cursor, extensions, .. },
            ) => {
                self.check_terms(&versions, &extensions, out)?;
                let request = ResumeRequest { session_id, ticket, epoch, cursor };
                self.state = State::DecidingResume { request };
                Ok(OpeningStep::AskedResume(request))
            }
            (
                State::Asking,
                OpeningFrame::Started {
                    version,
                    session_id,
                    boot_id,
                    ticket,
                    limits,
                    resume_window_ms,
                    extensions,
                },
            ) => {
                check_answer(version, &extensions)?;
                let agreement = self.agree(true, &limits, resume_window_ms);
                OpeningFrame::Confirm { session_id, epoch: 0 }.encode(out);
                Ok(self.open(session_id, boot_id, agreement, ticket))
            }
            (
                State::AskingResume { request },
                OpeningFrame::Resumed { version, epoch, cursor, ticket, extensions, .. },
            ) => {
                check_answer(version, &extensions)?;
                if epoch != request.epoch {
                    return Err(Code::STALE_EPOCH);
                }
                let session_id = request.session_id;
                OpeningFrame::Confirm { session_id, epoch }.encode(out);
                Ok(self.go_on(Resumed { session_id, epoch, cursor, ticket }))
            }
            (
                State::Asking | State::AskingResume { .. },
                OpeningFrame::Refused { code, boot_id, retry_after_ms },
            ) => Ok(OpeningStep::Refused { code, boot_id, retry_after_ms }),
            (
                State::Answered { session_id, peer_boot_id, agreement, ticket },
                OpeningFrame::Confirm { session_id: confirmed, epoch },
            ) if confirmed == session_id && epoch == 0 => {
                Ok(self.open(session_id, peer_boot_id, agreement, ticket))
            }
            (State::AnsweredResume { resumed }, OpeningFrame::Confirm { session_id, epoch })
                if session_id == resumed.session_id && epoch == resumed.epoch =>
            {
                Ok(self.go_on(resumed))
            }
            _ => Err(Code::OUT_OF_STATE),
        }
    }

    /// Acceptor: whether the initiator can be understood, and has said all it may before it is answered.
    fn check_terms(
        &mut self,
        versions: &[u8],
        extensions: &[Extension],
        out: &mut Vec<u8>,
    ) -> Result<(), Code> {
        if !versions.iter().any(|version| FRAME_VERSIONS.contains(version)) {
            return Err(self.refuse(Code::VERSION, 0, out));
        }
        if critical(extensions) {
            return Err(self.refuse(Code::EXTENSION, 0, out));
        }
        if self.pending.is_empty() { Ok(()) } else { Err(Code::OUT_OF_STATE) }
    }

    fn agree(&self, initiator: bool, limits: &Limits, resume_window_ms: u32) -> Agreement {
        Agreement {
            initiator,
            limits: self.options.limits.agree(limits),
            resume_window_ms: self.options.resume_window_ms.min(resume_window_ms),
        }
    }

    /// Acceptor: grants the session that was asked for, under an id and a ticket nobody can guess.
    ///
    /// # Panics
    /// When no `OpeningStep::Asked` is waiting for an answer.
    pub fn answer(&mut self, session_id: SessionId, ticket: ResumeTicket, out: &mut Vec<u8>) {
        let State::Deciding { offer } = std::mem::replace(&mut self.state, State::Done) else {
            panic!("an opening is answered once, after it asked");
        };
        out.push(OPENING_VERSION);
        let started = OpeningFrame::Started {
            version: FRAME_VERSIONS[0],
            session_id,
            boot_id: self.boot_id,
            ticket,
            limits: self.options.limits,
            resume_window_ms: self.options.resume_window_ms,
            extensions: vec![],
        };
        started.encode(out);
        let Offer { boot_id: peer_boot_id, agreement } = offer;
        self.state = State::Answered { session_id, peer_boot_id, agreement, ticket };
    }

    /// Acceptor: grants the resume that was asked for, as the session said.
    ///
    /// # Panics
    /// When no `OpeningStep::AskedResume` is waiting for an answer.
    pub fn answer_resume(&mut self, grant: ResumeGrant, out: &mut Vec<u8>) {
        let State::DecidingResume { request } = std::mem::replace(&mut self.state, State::Done) else {
            panic!("a resume is answered once, after it was asked for");
        };
        out.push(OPENING_VERSION);
        let ResumeGrant { epoch, cursor, ticket } = grant;
        let resumed = OpeningFrame::Resumed {
            version: FRAME_VERSIONS[0],
            boot_id: self.boot_id,
            epoch,
            cursor,
            ticket,
            extensions: vec![],
        };
        resumed.encode(out);
        let ResumeRequest { session_id, cursor, .. } = request;
        self.state = State::AnsweredResume { resumed: Resumed { session_id, epoch, cursor, ticket } };
    }

    /// Acceptor: refuses, and tells nothing but the code (RTT-6, RTT-36). Returns the code.
    pub fn refuse(&mut self, code: Code, retry_after_ms: u32, out: &mut Vec<u8>) -> Code {
        out.push(OPENING_VERSION);
        OpeningFrame::Refused { code, boot_id: self.boot_id, retry_after_ms }.encode(out);
        self.state = State::Done;
        code
    }

    fn open(
        &mut self,
        session_id: SessionId,
        peer_boot_id: BootId,
        agreement: Agreement,
        ticket: ResumeTicket,
    ) -> OpeningStep {
        let rest = std::mem::take(&mut self.pending);
        OpeningStep::Open(Box::new(Opened { session_id, peer_boot_id, agreement, ticket, rest }))
    }

    fn go_on(&mut self, resumed: Resumed) -> OpeningStep {
        let rest = std::mem::take(&mut self.pending);
        OpeningStep::Resumed(Box::new(ResumedHere { resumed, rest }))
    }
}

/// Initiator: whether the acceptor's answer can be understood.
fn check_answer(version: u8, extensions: &[Extension]) -> Result<(), Code> {
    if !FRAME_VERSIONS.contains(&version) {
        return Err(Code::VERSION);
    }
    if critical(extensions) { Err(Code::EXTENSION) } else { Ok(()) }
}

fn critical(extensions: &[Extension]) -> bool {
    // This build knows no extension, so every critical one is unknown.
    extensions.iter().any(|extension| extension.critical)
}
