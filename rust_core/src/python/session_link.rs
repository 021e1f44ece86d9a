//! Open sessions for Python. Each call crosses the border once, whatever it moves (RTT-64).

use std::sync::Mutex;

use bytes::Bytes;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use super::error::core_error;
use super::lock;
use super::opening_link::{OpeningLink, code_of, wire_full};
use super::session_words::{
    LOSSES, dict, event_number, offered_number, open_error, outcome_number, policy_of, send_error,
};
use crate::hash;
use crate::link::{self, AttachError};
use crate::rtt::{
    ChannelId, Code, Kind, Nanos, Nothing, Offered, ResumeGrant, ResumeRequest, ResumeTicket, State, Ticket,
};

/// What the driver has to look at after a call: bits of the status that most calls return.
const HAS_EVENTS: u8 = 1;
const BLOCKED: u8 = 2;
const FINISHED: u8 = 4;
const BURST: u8 = 8;
const DETACHED: u8 = 16;

/// An open session on its carrier.
#[pyclass(frozen, module = "web4._core")]
pub(super) struct SessionLink {
    pub(super) inner: Mutex<link::SessionLink>,
}

impl SessionLink {
    pub(super) fn new(link: link::SessionLink) -> Self {
        SessionLink { inner: Mutex::new(link) }
    }
}

fn status(link: &mut link::SessionLink) -> u8 {
    let events = if link.session().has_events() { HAS_EVENTS } else { 0 };
    let blocked = if link.is_blocked() || link.has_output() { BLOCKED } else { 0 };
    let finished = match (link.is_detached(), link.session().state()) {
        (true, State::Closed) => FINISHED,
        (true, _) => DETACHED,
        (false, _) => 0,
    };
    events | blocked | finished
}

#[pymethods]
impl SessionLink {
    /// Reads, does what is due, writes; returns the status.
    #[pyo3(signature = (now, /))]
    fn advance(&self, py: Python<'_>, now: Nanos) -> u8 {
        py.detach(|| {
            let mut link = lock(&self.inner);
            link.advance(now);
            status(&mut link)
        })
    }

    /// Writes what waits; returns the status.
    fn write(&self, py: Python<'_>) -> u8 {
        py.detach(|| {
            let mut link = lock(&self.inner);
            link.write();
            status(&mut link)
        })
    }

    /// Wire without a socket: brings what arrived; `advance` takes it in.
    #[pyo3(signature = (data, /))]
    fn feed(&self, data: &[u8]) -> PyResult<()> {
        lock(&self.inner).feed(data).map_err(wire_full)
    }

    /// Wire without a socket: nothing more will arrive.
    fn feed_end(&self) {
        lock(&self.inner).feed_end();
    }

    /// Wire without a socket: what is to be written next, empty when that is all; what was taken is written by now.
    /// Returns (bytes, status).
    fn take_output<'py>(&self, py: Python<'py>) -> (Bound<'py, PyBytes>, u8) {
        let (bytes, status) = py.detach(|| {
            let mut link = lock(&self.inner);
            let bytes = link.take_output();
            (bytes, status(&mut link))
        });
        (PyBytes::new(py, &bytes), status)
    }

    /// Wire without a socket, once it is let go of: what was encrypted and is not written, such as CLOSE. Once.
    fn take_farewell<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        lock(&self.inner).take_farewell().iter().map(|part| PyBytes::new(py, part)).collect()
    }

    /// Takes the events out, oldest first: (number of its kind, channel or ticket).
    fn events<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let mut link = lock(&self.inner);
        let list = PyList::empty(py);
        while let Some(event) = link.session().poll_event() {
            let (number, argument) = event_number(event);
            list.append((number, argument))?;
        }
        Ok(list)
    }

    /// When `advance` wants to be called next, in nanoseconds, or None.
    #[getter]
    fn deadline(&self) -> Option<Nanos> {
        lock(&self.inner).session().deadline()
    }

    /// Hands one message to a channel. It is written at once, or with `share` soon, see `end_burst`. Returns the outcome
    /// in the two lowest bits, above them the status; with BURST if a burst began.
    #[pyo3(signature = (channel, message, wait, share, ticket, /))]
    fn send(
        &self,
        py: Python<'_>,
        channel: ChannelId,
        message: &Bound<'_, PyBytes>,
        wait: bool,
        share: bool,
        ticket: Ticket,
    ) -> PyResult<u8> {
        let message = Bytes::copy_from_slice(message.as_bytes());
        if !share {
            let (offered, status) = self.offer(py, channel, vec![message], wait, ticket)?;
            return Ok(offered_number(&offered) | status << 2);
        }
        let outcome = py.detach(|| {
            let mut link = lock(&self.inner);
            let before = link.is_bursting();
            let offered = link.send_one(channel, message, wait, ticket)?;
            let burst = if link.is_bursting() && !before { BURST } else { 0 };
            Ok(offered_number(&offered) | (status(&mut link) | burst) << 2)
        });
        outcome.map_err(|error| send_error(py, error))
    }

    /// Writes what single sends of a burst have left to be written together. The burst is over if they left nothing,
    /// or if the loop is about to sleep; returns the status, with BURST if it goes on.
    #[pyo3(signature = (sleeps, /))]
    fn end_burst(&self, py: Python<'_>, sleeps: bool) -> u8 {
        py.detach(|| {
            let mut link = lock(&self.inner);
            link.end_burst(sleeps);
            let burst = if link.is_bursting() { BURST } else { 0 };
            status(&mut link) | burst
        })
    }

    /// Hands a batch to a channel and writes; returns (one outcome for all, or a list of one each, status).
    #[pyo3(signature = (channel, messages, wait, ticket, /))]
    fn send_many<'py>(
        &self,
        py: Python<'py>,
        channel: ChannelId,
        messages: &Bound<'_, PyList>,
        wait: bool,
        ticket: Ticket,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let mut batch = Vec::with_capacity(messages.len());
        for message in messages.iter() {
            batch.push(Bytes::copy_from_slice(message.cast::<PyBytes>()?.as_bytes()));
        }
        let (offered, status) = self.offer(py, channel, batch, wait, ticket)?;
        match offered {
            Offered::AllAccepted => (0, status).into_pyobject(py),
            Offered::Each(outcomes) => {
                let numbers: Vec<u16> =
                    outcomes.into_iter().map(|outcome| outcome_number(outcome).into()).collect();
                (numbers, status).into_pyobject(py)
            }
            Offered::Waiting => (3, status).into_pyobject(py),
        }
    }

    /// Takes up to `most` messages out of a channel and grants what that frees; returns (messages, status), or
    /// (why there is none, status): 0 none yet, 1 the peer ended, 2 reset by the peer, 3 reset here, 4 closed.
    #[pyo3(signature = (channel, most, /))]
    fn receive<'py>(
        &self,
        py: Python<'py>,
        channel: ChannelId,
        most: usize,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let mut link = lock(&self.inner);
        let messages = PyList::empty(py);
        let mut nothing = Nothing::Yet;
        for _ in 0..most {
            match link.session().receive(channel) {
                Ok(message) => messages.append(PyBytes::new(py, &message))?,
                Err(reason) => {
                    nothing = reason;
                    break;
                }
            }
        }
        if messages.is_empty() {
            let number = match nothing {
                Nothing::Yet => 0,
                Nothing::Ended => 1,
                Nothing::Reset { by_peer: true, .. } => 2,
                Nothing::Reset { by_peer: false, .. } => 3,
                Nothing::SessionClosed => 4,
            };
            return (number, status(&mut link)).into_pyobject(py);
        }
        if link.session().grants_credit() && !link.is_blocked() {
            drop(link);
            let status = self.write(py);
            return (messages, status).into_pyobject(py);
        }
        (messages, status(&mut link)).into_pyobject(py)
    }

    /// Takes one message out of a channel and grants what that frees. Returns the message, with the status if that is
    /// not 0, or None where `receive` has more to say.
    #[pyo3(signature = (channel, /))]
    fn receive_one<'py>(&self, py: Python<'py>, channel: ChannelId) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut link = lock(&self.inner);
        let Ok(message) = link.session().receive(channel) else { return Ok(None) };
        let writes = link.session().grants_credit() && !link.is_blocked();
        let mut now = status(&mut link);
        drop(link);
        let message = PyBytes::new(py, &message);
        if writes {
            now = self.write(py);
        }
        match now {
            0 => Ok(Some(message.into_any())),
            status => Ok(Some((message, status).into_pyobject(py)?.into_any())),
        }
    }

    /// Opens a channel and writes; returns (its id, status).
    #[pyo3(signature = (kind, name, policy, /))]
    fn open_channel(
        &self,
        py: Python<'_>,
        kind: &str,
        name: &str,
        policy: Option<&str>,
    ) -> PyResult<(ChannelId, u8)> {
        let Some(kind) = Kind::from_name(kind) else {
            return Err(core_error(py, "unknown_kind", None, format!("no channel kind is called {kind:?}")));
        };
        let policy = policy_of(py, kind, policy)?;
        let id = lock(&self.inner)
            .session()
            .open_channel(kind, name, policy)
            .map_err(|error| open_error(py, error))?;
        Ok((id, self.write(py)))
    }

    /// Chooses the policy of what this side sends on a channel that the peer opened.
    #[pyo3(signature = (channel, policy, /))]
    fn set_policy(&self, py: Python<'_>, channel: ChannelId, policy: &str) -> PyResult<()> {
        let policy = policy_of(py, Kind::Knowledge, Some(policy))?;
        lock(&self.inner).session().set_policy(channel, policy).map_err(|error| open_error(py, error))
    }

    /// Kind, name and largest message of a channel, or None.
    #[pyo3(signature = (channel, /))]
    fn channel_info(&self, channel: ChannelId) -> Option<(&'static str, String, u32)> {
        let mut link = lock(&self.inner);
        link.session().channel_info(channel).map(|(kind, name, most)| (kind.name(), name.to_owned(), most))
    }

    /// Why a channel was reset: (word of the code, whether by the peer), or None.
    #[pyo3(signature = (channel, /))]
    fn channel_reset(&self, channel: ChannelId) -> Option<(&'static str, bool)> {
        lock(&self.inner).session().channel_reset(channel).map(|(code, by_peer)| (code.word(), by_peer))
    }

    /// Ends a channel: what was accepted is delivered, nothing more is read; returns the status.
    #[pyo3(signature = (channel, /))]
    fn release_channel(&self, py: Python<'_>, channel: ChannelId) -> u8 {
        lock(&self.inner).session().release_channel(channel);
        self.write(py)
    }

    /// Ends both directions of a channel now; returns the status.
    #[pyo3(signature = (channel, /))]
    fn reset_channel(&self, py: Python<'_>, channel: ChannelId) -> u8 {
        // What was accepted gets as far as if it had been written by itself.
        self.write_held(py);
        lock(&self.inner).session().reset_channel(channel, Code::CANCELLED);
        self.write(py)
    }

    /// Writes, and asks to be told when everything accepted so far is acknowledged; returns (whether it is, status).
    #[pyo3(signature = (channel, ticket, /))]
    fn flush(&self, py: Python<'_>, channel: ChannelId, ticket: Ticket) -> PyResult<(bool, u8)> {
        self.write_held(py);
        let mut link = lock(&self.inner);
        let done = link.session().flush(channel, ticket).map_err(|error| send_error(py, error))?;
        Ok((done, status(&mut link)))
    }

    /// Takes a waiting batch back; False when it was accepted, or failed, already.
    #[pyo3(signature = (channel, ticket, /))]
    fn cancel_send(&self, channel: ChannelId, ticket: Ticket) -> bool {
        lock(&self.inner).session().cancel_send(channel, ticket)
    }

    /// Forgets a flush.
    #[pyo3(signature = (channel, ticket, /))]
    fn cancel_flush(&self, channel: ChannelId, ticket: Ticket) {
        lock(&self.inner).session().cancel_flush(channel, ticket);
    }

    /// Begins the graceful end; returns the status.
    #[pyo3(signature = (now, /))]
    fn shutdown(&self, py: Python<'_>, now: Nanos) -> u8 {
        lock(&self.inner).session().shutdown(now);
        self.write(py)
    }

    /// Ends the session now, with one attempt to say so; returns the status.
    #[pyo3(signature = (code, text, /))]
    fn abort(&self, py: Python<'_>, code: &str, text: &str) -> PyResult<u8> {
        let code = code_of(code)?;
        self.write_held(py);
        lock(&self.inner).session().abort(code, text);
        Ok(self.write(py))
    }

    /// The carrier is gone: the session is suspended, or ends if it cannot be. Returns the status.
    #[pyo3(signature = (now, /))]
    fn carrier_lost(&self, now: Nanos) -> u8 {
        let mut link = lock(&self.inner);
        link.carrier_lost(now);
        status(&mut link)
    }

    /// Goes on upon a carrier that opened by a resume of this session; returns the status. Nothing can be done with
    /// `opening` afterwards.
    #[pyo3(signature = (opening, now, /))]
    fn attach(&self, py: Python<'_>, opening: &OpeningLink, now: Nanos) -> PyResult<u8> {
        let opening = opening.take()?;
        py.detach(|| {
            let mut link = lock(&self.inner);
            link.attach(opening, now).map(|()| status(&mut link))
        })
        .map_err(|error| match error {
            AttachError::NotResumed(_) => PyRuntimeError::new_err("the carrier resumes no session"),
            AttachError::Refused(code) => {
                core_error(py, code.word(), Some("violation"), format!("the session does not go on: {code}"))
            }
        })
    }

    /// Initiator: a carrier that was dialled to resume this session, and is not attached, is given up.
    #[pyo3(signature = (opening, /))]
    fn give_up(&self, opening: &OpeningLink) -> PyResult<()> {
        opening.with(|opening| lock(&self.inner).give_up(opening))
    }

    /// The session is lost, and `loss` says how; ends it if it has not ended. Returns the status.
    #[pyo3(signature = (loss, /))]
    fn lose(&self, loss: &str) -> PyResult<u8> {
        let known = LOSSES.iter().find(|(word, _)| *word == loss);
        let (loss, code) =
            known.ok_or_else(|| PyValueError::new_err(format!("no session is lost by {loss:?}")))?;
        let mut link = lock(&self.inner);
        link.session().lose(loss, *code);
        link.release();
        Ok(status(&mut link))
    }

    /// Memory was freed that this session waited for: lets in who waits, grants what was withheld; returns the status.
    fn memory_freed(&self, py: Python<'_>) -> u8 {
        lock(&self.inner).session().memory_freed();
        self.write(py)
    }

    /// Lets go of the wire, so that the socket can be closed.
    fn release(&self) {
        lock(&self.inner).release();
    }

    /// `open`, `suspended`, `closing` or `closed`.
    #[getter]
    fn state(&self) -> &'static str {
        match lock(&self.inner).session().state() {
            State::Open => "open",
            State::Suspended => "suspended",
            State::Closing => "closing",
            State::Closed => "closed",
        }
    }

    /// Why it is closed: (reason, word of the code, reason text, how it was lost or None), or None.
    #[getter]
    fn closed(&self) -> Option<(&'static str, &'static str, String, Option<&'static str>)> {
        let mut link = lock(&self.inner);
        let closed = link.session().closed()?;
        Some((closed.reason, closed.code.word(), closed.text.clone(), closed.loss))
    }

    /// Why it has no carrier, while it is suspended, or None.
    #[getter]
    fn suspension(&self) -> Option<&'static str> {
        lock(&self.inner).session().suspension()
    }

    /// The number of the current, or the latest, carrier.
    #[getter]
    fn epoch(&self) -> u32 {
        lock(&self.inner).session().epoch()
    }

    /// The code of the TLS failure that ended the carrier, or None.
    #[getter]
    fn failure(&self) -> Option<&'static str> {
        lock(&self.inner).failure().map(|error| error.code().name())
    }

    /// The session's id.
    #[getter]
    fn session_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &lock(&self.inner).session().id())
    }

    /// Whether this side dialled.
    #[getter]
    fn initiator(&self) -> bool {
        lock(&self.inner).session().agreement().initiator
    }

    /// The peer's fingerprint.
    #[getter]
    fn peer(&self) -> String {
        hash::hex(lock(&self.inner).peer_fingerprint())
    }

    /// The peer's raw public key.
    #[getter]
    fn peer_public_key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, lock(&self.inner).peer_public_key())
    }

    /// The TLS exporter value of the current carrier for this session's id (RTT-8). Secret.
    fn binding<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut link = lock(&self.inner);
        let id = link.session().id();
        let carrier = link.carrier();
        let carrier =
            carrier.ok_or_else(|| core_error(py, "closed", None, "the session has no carrier".to_owned()))?;
        carrier
            .export_binding(&id)
            .map(|binding| PyBytes::new(py, &binding))
            .map_err(|error| core_error(py, error.code().name(), None, error.to_string()))
    }

    /// The counters of the session.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        dict(py, &lock(&self.inner).session().stats().fields())
    }

    /// The counters of a channel, or None.
    #[pyo3(signature = (channel, /))]
    fn channel_stats<'py>(
        &self,
        py: Python<'py>,
        channel: ChannelId,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let stats = lock(&self.inner).session().channel_stats(channel);
        stats.map(|stats| dict(py, &stats.fields())).transpose()
    }

    /// What was accepted and not acknowledged when the session or a channel ended: (channel, name, kind, index,
    /// whether unsent, content) each.
    fn take_lost<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for lost in lock(&self.inner).session().take_lost() {
            let content = PyBytes::new(py, &lost.message.message);
            list.append((
                lost.channel,
                lost.name,
                lost.kind.name(),
                lost.message.index,
                lost.message.unsent,
                content,
            ))?;
        }
        Ok(list)
    }
}

impl SessionLink {
    fn write_held(&self, py: Python<'_>) {
        py.detach(|| lock(&self.inner).write_held());
    }

    /// Whom to dial and what to ask for, to go on with the session.
    pub(super) fn ask_resume(&self) -> Option<([u8; 32], ResumeRequest)> {
        let mut link = lock(&self.inner);
        let peer = *link.peer_fingerprint();
        link.session().ask_resume().map(|request| (peer, request))
    }

    /// Lets the session decide about a resume; says the status afterwards, too.
    pub(super) fn grant_resume(
        &self,
        request: &ResumeRequest,
        next_ticket: ResumeTicket,
        now: Nanos,
    ) -> (Result<ResumeGrant, Code>, u8) {
        let mut link = lock(&self.inner);
        let granted = link.session().grant_resume(request, next_ticket, now);
        if granted.is_ok() {
            // What the fenced carrier still brings is ignored (RTT-31).
            link.release();
        }
        (granted, status(&mut link))
    }

    fn offer(
        &self,
        py: Python<'_>,
        channel: ChannelId,
        messages: Vec<Bytes>,
        wait: bool,
        ticket: Ticket,
    ) -> PyResult<(Offered, u8)> {
        let outcome = py.detach(|| {
            let mut link = lock(&self.inner);
            let offered = link.session().send(channel, messages, wait, ticket)?;
            if !link.is_blocked() {
                link.write();
            }
            Ok((offered, status(&mut link)))
        });
        outcome.map_err(|error| send_error(py, error))
    }
}
