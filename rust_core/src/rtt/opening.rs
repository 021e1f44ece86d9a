//! The opening of one carrier: from the version byte to CONFIRM, on each side (section 4, RTT-15, RTT-37).
//!
//! Both machines are sans-I/O. They consume plaintext of an authenticated carrier and append to `out` what is to
//! be written. They know no key and no address: who may come in is asked of whoever drives them.

use super::code::Code;
use super::limits::Options;
use super::opening_frame::{
    BootId, Extension, FRAME_VERSIONS, OPENING_VERSION, OpeningFrame, SessionId, Ticket,
};
use super::session::Agreement;

/// What the driver of an opening has to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum OpeningStep {
    /// Nothing until more bytes come.
    Wait,
    /// Acceptor: a START arrived; ask `admit`, then call `answer` (RTT-6).
    Asked { boot_id: BootId },
    /// The session is open on this carrier.
    Open(Box<Opened>),
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
    /// Plaintext that arrived behind the opening and belongs to the session.
    pub rest: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// Initiator: START is written.
    Asking,
    /// Acceptor: nothing arrived.
    Expecting,
    /// Acceptor: START arrived, `answer` has not been called.
    Deciding { offer: Offer },
    /// Acceptor: STARTED is written.
    Answered { session_id: SessionId, peer_boot_id: BootId, agreement: Agreement },
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
        Opening { options: *options, boot_id, state: State::Asking, version_seen: false, pending: Vec::new() }
    }

    /// The acceptor's side; it writes nothing before it was asked.
    pub fn accept(options: &Options, boot_id: BootId) -> Opening {
        Opening {
            options: *options,
            boot_id,
            state: State::Expecting,
            version_seen: false,
            pending: Vec::new(),
        }
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
        if matches!(self.state, State::Deciding { .. }) {
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
                if !versions.iter().any(|version| FRAME_VERSIONS.contains(version)) {
                    return Err(self.refuse(Code::VERSION, 0, out));
                }
                if critical(&extensions) {
                    return Err(self.refuse(Code::EXTENSION, 0, out));
                }
                let agreement = Agreement {
                    initiator: false,
                    limits: self.options.limits.agree(&limits),
                    resume_window_ms: self.options.resume_window_ms.min(resume_window_ms),
                };
                if !self.pending.is_empty() {
                    return Err(Code::OUT_OF_STATE);
                }
                self.state = State::Deciding { offer: Offer { boot_id, agreement } };
                Ok(OpeningStep::Asked { boot_id })
            }
            // No endpoint of this build keeps a session without a carrier: nothing can be resumed (RTT-33).
            (State::Expecting, OpeningFrame::Resume { .. }) => {
                Err(self.refuse(Code::UNKNOWN_SESSION, 0, out))
            }
            (
                State::Asking,
                OpeningFrame::Started {
                    version,
                    session_id,
                    boot_id,
                    limits,
                    resume_window_ms,
                    extensions,
                    ..
                },
            ) => {
                if !FRAME_VERSIONS.contains(&version) {
                    return Err(Code::VERSION);
                }
                if critical(&extensions) {
                    return Err(Code::EXTENSION);
                }
                let agreement = Agreement {
                    initiator: true,
                    limits: self.options.limits.agree(&limits),
                    resume_window_ms: self.options.resume_window_ms.min(resume_window_ms),
                };
                OpeningFrame::Confirm { session_id, epoch: 0 }.encode(out);
                Ok(self.open(session_id, boot_id, agreement))
            }
            (State::Asking, OpeningFrame::Refused { code, boot_id, retry_after_ms }) => {
                Ok(OpeningStep::Refused { code, boot_id, retry_after_ms })
            }
            (
                State::Answered { session_id, peer_boot_id, agreement },
                OpeningFrame::Confirm { session_id: confirmed, epoch },
            ) if confirmed == session_id && epoch == 0 => Ok(self.open(session_id, peer_boot_id, agreement)),
            _ => Err(Code::OUT_OF_STATE),
        }
    }

    /// Acceptor: grants the session that was asked for, under an id and a ticket nobody can guess.
    ///
    /// # Panics
    /// When no `OpeningStep::Asked` is waiting for an answer.
    pub fn answer(&mut self, session_id: SessionId, ticket: Ticket, out: &mut Vec<u8>) {
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
        self.state = State::Answered { session_id, peer_boot_id, agreement };
    }

    /// Acceptor: refuses, and tells nothing but the code (RTT-6, RTT-36). Returns the code.
    pub fn refuse(&mut self, code: Code, retry_after_ms: u32, out: &mut Vec<u8>) -> Code {
        out.push(OPENING_VERSION);
        OpeningFrame::Refused { code, boot_id: self.boot_id, retry_after_ms }.encode(out);
        self.state = State::Done;
        code
    }

    fn open(&mut self, session_id: SessionId, peer_boot_id: BootId, agreement: Agreement) -> OpeningStep {
        let rest = std::mem::take(&mut self.pending);
        OpeningStep::Open(Box::new(Opened { session_id, peer_boot_id, agreement, rest }))
    }
}

fn critical(extensions: &[Extension]) -> bool {
    // This build knows no extension, so every critical one is unknown.
    extensions.iter().any(|extension| extension.critical)
}
