//! Endpoints and opening carriers for Python.

use std::sync::{Arc, Mutex};

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::error::{core_error, core_error_of_opening};
use super::identity::Identity;
use super::lock;
use super::session_link::SessionLink;
use crate::carrier::{Carrier, CarrierError, Expect, TlsConfig};
use crate::hash;
use crate::link::{self, Buffered, OpeningError, Progress, Purpose, Wire, WireFull};
use crate::rtt::{Budget, BudgetLimits, Code, KindLimits, Limits, Nanos, Options, ResumeTicket, Window};

/// The key, the options and the boot id that all carriers of one endpoint share.
#[pyclass(frozen, module = "web4._core")]
pub(super) struct Endpoint {
    config: TlsConfig,
    options: Options,
    boot_id: [u8; 16],
    memory: Arc<Budget>,
}

#[pymethods]
impl Endpoint {
    #[new]
    #[pyo3(signature = (identity, boot_id, /, *, frame_payload, channels, kinds, heartbeat_ns, drain_timeout_ns,
                        ack_delay_ns, resend_bytes, resend_reserve, resume_window_ms, rekey_after_ns, rekey_bytes,
                        rekey_frames, carrier_lifetime_ns, memory_per_peer, memory))]
    #[expect(clippy::too_many_arguments, reason = "keywords, checked together")]
    fn new(
        py: Python<'_>,
        identity: &Identity,
        boot_id: &[u8],
        frame_payload: u32,
        channels: u32,
        kinds: [(u32, u32, u32); 3],
        heartbeat_ns: u64,
        drain_timeout_ns: u64,
        ack_delay_ns: u64,
        resend_bytes: u32,
        resend_reserve: u32,
        resume_window_ms: u32,
        rekey_after_ns: u64,
        rekey_bytes: u64,
        rekey_frames: u64,
        carrier_lifetime_ns: u64,
        memory_per_peer: u64,
        memory: u64,
    ) -> PyResult<Self> {
        let kinds = kinds.map(|(max_message, messages, bytes)| KindLimits {
            max_message,
            window: Window { messages, bytes },
        });
        let options = Options {
            limits: Limits { frame_payload, channels, kinds },
            heartbeat: heartbeat_ns,
            drain_timeout: drain_timeout_ns,
            ack_delay: ack_delay_ns,
            resend_bytes,
            resend_reserve,
            resume_window_ms,
            rekey_after: rekey_after_ns,
            rekey_bytes,
            rekey_frames,
            carrier_lifetime: carrier_lifetime_ns,
        };
        let limits = BudgetLimits { per_peer: memory_per_peer, endpoint: memory };
        if let Some(field) = options.fault().or_else(|| limits.fault()) {
            let text = format!("the option {field} has a value that cannot work");
            return Err(core_error(py, "bad_option", Some(field), text));
        }
        let config = TlsConfig::from_pkcs8(&identity.inner.pkcs8_der())
            .map_err(|_| PyRuntimeError::new_err("the TLS provider refuses the identity's key"))?;
        let memory = Budget::new(limits);
        Ok(Endpoint { config, options, boot_id: exactly(boot_id, "boot_id")?, memory })
    }

    /// Bytes that all sessions hold.
    #[getter]
    fn memory_held(&self) -> u64 {
        self.memory.held()
    }

    /// Whether no session more is to be granted.
    #[getter]
    fn memory_full(&self) -> bool {
        self.memory.is_full()
    }

    /// The ids of the sessions that waited for memory that a peer's session has freed; `memory_freed` tells them.
    #[pyo3(signature = (peer, /))]
    fn take_waiting<'py>(&self, py: Python<'py>, peer: &[u8]) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let ids = self.memory.take_waiting(&exactly(peer, "peer")?);
        Ok(ids.iter().map(|id| PyBytes::new(py, id)).collect())
    }

    /// A carrier to whoever holds the key of fingerprint `expect` (32 bytes), or to anybody when that is None. It is
    /// on the socket `fd`, or on a wire that the caller feeds and drains; one write has at most `max_write` bytes.
    #[pyo3(signature = (fd, expect, max_write=None, /))]
    fn dial(
        &self,
        fd: Option<i32>,
        expect: Option<&[u8]>,
        max_write: Option<usize>,
    ) -> PyResult<OpeningLink> {
        let expect = match expect {
            Some(fingerprint) => Expect::Fingerprint(exactly(fingerprint, "expect")?),
            None => Expect::Any,
        };
        self.link(Carrier::dial(&self.config, expect), wire(fd, max_write)?, Purpose::Start)
    }

    /// A carrier to the peer of a session, to go on with that; None when the session cannot be resumed any more.
    #[pyo3(signature = (fd, session, max_write=None, /))]
    fn redial(
        &self,
        fd: Option<i32>,
        session: &SessionLink,
        max_write: Option<usize>,
    ) -> PyResult<Option<OpeningLink>> {
        let Some((peer, request)) = session.ask_resume() else { return Ok(None) };
        let carrier = Carrier::dial(&self.config, Expect::Fingerprint(peer));
        self.link(carrier, wire(fd, max_write)?, Purpose::Resume(request)).map(Some)
    }

    /// A carrier that somebody dialled.
    #[pyo3(signature = (fd, max_write=None, /))]
    fn accept(&self, fd: Option<i32>, max_write: Option<usize>) -> PyResult<OpeningLink> {
        self.link(Carrier::accept(&self.config), wire(fd, max_write)?, Purpose::Accept)
    }
}

impl Endpoint {
    fn link(
        &self,
        carrier: Result<Carrier, CarrierError>,
        wire: Wire,
        purpose: Purpose,
    ) -> PyResult<OpeningLink> {
        let carrier = carrier.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        let link = link::OpeningLink::new(carrier, wire, purpose, &self.options, self.boot_id);
        Ok(OpeningLink { inner: Mutex::new(Some(link)), memory: Arc::clone(&self.memory) })
    }
}

fn wire(fd: Option<i32>, max_write: Option<usize>) -> PyResult<Wire> {
    match (fd, max_write) {
        (_, Some(0)) => Err(PyValueError::new_err("max_write is a number of bytes from 1, or None")),
        (Some(descriptor), most) => Ok(Wire::Socket { descriptor, max_write: most.unwrap_or(usize::MAX) }),
        (None, most) => Ok(Wire::Buffered(Buffered::new(most))),
    }
}

pub(super) fn wire_full(_: WireFull) -> PyErr {
    PyValueError::new_err("the wire holds what it can: advance comes before more is fed")
}

/// A carrier between its first byte and an open session.
#[pyclass(frozen, module = "web4._core")]
pub(super) struct OpeningLink {
    inner: Mutex<Option<link::OpeningLink>>,
    memory: Arc<Budget>,
}

impl OpeningLink {
    /// Takes the link out, to become part of a session.
    pub(super) fn take(&self) -> PyResult<link::OpeningLink> {
        let taken = lock(&self.inner).take();
        taken.ok_or_else(|| PyRuntimeError::new_err("the carrier has become a session already"))
    }

    pub(super) fn with<R>(&self, work: impl FnOnce(&mut link::OpeningLink) -> R) -> PyResult<R> {
        let mut guard = lock(&self.inner);
        guard
            .as_mut()
            .map(work)
            .ok_or_else(|| PyRuntimeError::new_err("the carrier has become a session, or is released"))
    }
}

#[pymethods]
impl OpeningLink {
    /// Reads, decides, writes; says how far the opening is: 0 waiting, 1 asked, 2 open, 3 asked to resume, 4 resumed.
    fn advance(&self, py: Python<'_>) -> PyResult<u8> {
        match py.detach(|| self.with(link::OpeningLink::advance))? {
            Ok(Progress::Waiting) => Ok(0),
            Ok(Progress::Asked) => Ok(1),
            Ok(Progress::Open) => Ok(2),
            Ok(Progress::AskedResume) => Ok(3),
            Ok(Progress::Resumed) => Ok(4),
            Err(error) => Err(opening_error(py, &error)),
        }
    }

    /// Writes what waits; False when the wire takes no more now.
    fn flush(&self) -> PyResult<bool> {
        self.with(link::OpeningLink::flush)
    }

    /// Wire without a socket: brings what arrived; `advance` takes it in.
    #[pyo3(signature = (data, /))]
    fn feed(&self, data: &[u8]) -> PyResult<()> {
        self.with(|link| link.feed(data))?.map_err(wire_full)
    }

    /// Wire without a socket: nothing more will arrive.
    fn feed_end(&self) -> PyResult<()> {
        self.with(link::OpeningLink::feed_end)
    }

    /// Wire without a socket: what is to be written next, empty when that is all. What was taken is written by now.
    fn take_output<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.with(link::OpeningLink::take_output)?))
    }

    /// Grants the session that was asked for.
    #[pyo3(signature = (session_id, ticket, /))]
    fn answer(&self, session_id: &[u8], ticket: &[u8]) -> PyResult<()> {
        let session_id = exactly(session_id, "session_id")?;
        let ticket = ResumeTicket(exactly(ticket, "ticket")?);
        self.with(|link| link.answer(session_id, ticket))
    }

    /// The id of the session that the peer asks to resume, or None.
    #[getter]
    fn asked_session_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.with(|link| link.asked_resume().map(|request| PyBytes::new(py, &request.session_id)))
    }

    /// Grants the resume that was asked for, if the session does; it then has no carrier until this one has opened.
    #[pyo3(signature = (session, next_ticket, now, /))]
    fn answer_resume(
        &self,
        py: Python<'_>,
        session: &SessionLink,
        next_ticket: &[u8],
        now: Nanos,
    ) -> PyResult<u8> {
        let ticket = ResumeTicket(exactly(next_ticket, "next_ticket")?);
        self.with(|link| {
            let request = link.asked_resume().copied();
            let request = request.ok_or_else(|| PyRuntimeError::new_err("no resume is asked for"))?;
            let (granted, status) = session.grant_resume(&request, ticket, now);
            match granted {
                Ok(grant) => {
                    link.answer_resume(grant);
                    Ok(status)
                }
                Err(code) => {
                    link.refuse(code, 0);
                    Err(core_error(py, code.word(), Some("refused"), format!("refused: {code}")))
                }
            }
        })?
    }

    /// Refuses it, with the word of a code.
    #[pyo3(signature = (code, retry_after_ms, /))]
    fn refuse(&self, code: &str, retry_after_ms: u32) -> PyResult<()> {
        let code = code_of(code)?;
        self.with(|link| link.refuse(code, retry_after_ms))
    }

    /// The session. This object is of no use afterwards.
    #[pyo3(signature = (now, /))]
    fn open_session(&self, now: Nanos) -> PyResult<SessionLink> {
        let mut guard = lock(&self.inner);
        let link = guard
            .take()
            .ok_or_else(|| PyRuntimeError::new_err("the carrier has become a session already"))?;
        match link.into_session(now) {
            Ok(mut session) => {
                session.share_memory(&self.memory);
                Ok(SessionLink::new(session))
            }
            Err(link) => {
                *guard = Some(*link);
                Err(PyRuntimeError::new_err("the carrier is not open"))
            }
        }
    }

    /// Lets go of the wire, so that the socket can be closed.
    fn release(&self) {
        *lock(&self.inner) = None;
    }

    /// Whether a whole ClientHello has arrived.
    #[getter]
    fn has_client_hello(&self) -> PyResult<bool> {
        self.with(|link| link.carrier().has_client_hello())
    }

    /// The peer's proven fingerprint, or None.
    #[getter]
    fn peer(&self) -> PyResult<Option<String>> {
        self.with(|link| link.carrier().peer_fingerprint().map(|fingerprint| hash::hex(fingerprint)))
    }

    /// The id of the peer's start, once it named it.
    #[getter]
    fn peer_boot_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.with(|link| link.peer_boot_id().map(|boot_id| PyBytes::new(py, &boot_id)))
    }
}

/// What went wrong, for the rtt room to raise: `field` is the family, `proven` to whom it may be charged (RTT-9).
fn opening_error(py: Python<'_>, error: &OpeningError) -> PyErr {
    let (family, code, text) = match error {
        OpeningError::Carrier(error) => {
            let family = if error.is_authentication() { "authentication" } else { "carrier" };
            (family, error.code().name(), error.to_string())
        }
        OpeningError::Refused { code, .. } => ("refused", code.word(), format!("the peer refused: {code}")),
        OpeningError::Violation(code) => ("violation", code.word(), format!("the opening failed: {code}")),
        OpeningError::Ended => ("carrier", "ended", "the peer ended the carrier while it opened".to_owned()),
    };
    let proven = match error {
        OpeningError::Carrier(error) => error.proven().map(|fingerprint| hash::hex(fingerprint)),
        _ => None,
    };
    let retry_after_ms = match error {
        OpeningError::Refused { retry_after_ms, .. } => Some(*retry_after_ms),
        _ => None,
    };
    core_error_of_opening(py, code, Some(family), text, proven, retry_after_ms)
}

pub(super) fn exactly<const N: usize>(bytes: &[u8], name: &str) -> PyResult<[u8; N]> {
    bytes.try_into().map_err(|_| PyValueError::new_err(format!("{name} has {N} bytes, not {}", bytes.len())))
}

pub(super) fn code_of(word: &str) -> PyResult<Code> {
    let known = Code::ALL.iter().find(|(_, known)| *known == word);
    known
        .map(|(code, _)| *code)
        .ok_or_else(|| PyValueError::new_err(format!("no RTT code is called {word:?}")))
}
