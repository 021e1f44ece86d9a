//! How sessions are told to Python: numbers for events and outcomes, words and errors for the rest.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::error::core_error;
use crate::rtt::{Code, Event, Kind, Offered, OpenError, Outcome, Policy, SendError};

/// How the driver of a session may find it lost, and the code for that.
pub(super) const LOSSES: [(&str, Code); 13] = [
    ("auth_failed", Code::NOT_ADMITTED),
    ("cursor_invalid", Code::BAD_CURSOR),
    ("evicted", Code::LIMIT),
    ("expired", Code::TICKET_EXPIRED),
    ("extension", Code::EXTENSION),
    ("not_admitted", Code::NOT_ADMITTED),
    ("peer_restarted", Code::UNKNOWN_SESSION),
    ("refused", Code::UNKNOWN_SESSION),
    ("stale_epoch", Code::STALE_EPOCH),
    ("ticket_expired", Code::TICKET_EXPIRED),
    ("ticket_spent", Code::TICKET_SPENT),
    ("unknown_session", Code::UNKNOWN_SESSION),
    ("version", Code::VERSION),
];

/// The number of an event, and the channel or ticket it is about.
pub(super) fn event_number(event: Event) -> (u8, u64) {
    match event {
        Event::ChannelOpened(id) => (0, u64::from(id)),
        Event::Readable(id) => (1, u64::from(id)),
        Event::SendDone(ticket) => (2, ticket),
        Event::WaitFailed(ticket) => (3, ticket),
        Event::FlushDone(ticket) => (4, ticket),
        Event::PeerShutdown => (5, 0),
        Event::HeartbeatTimeout => (6, 0),
        Event::Closed => (7, 0),
        Event::Suspended => (8, 0),
        Event::Resumed => (9, 0),
        Event::Rekeyed => (10, 0),
        Event::CarrierAged => (11, 0),
        Event::MemoryFreed => (12, 0),
    }
}

pub(super) fn dict<'py>(py: Python<'py>, fields: &[(&'static str, u64)]) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in fields {
        dict.set_item(name, value)?;
    }
    Ok(dict)
}

/// What `send` says of one message.
pub(super) fn offered_number(offered: &Offered) -> u8 {
    match offered {
        Offered::AllAccepted => 0,
        Offered::Each(outcomes) => outcomes.first().map_or(0, |outcome| outcome_number(*outcome)),
        Offered::Waiting => 3,
    }
}

pub(super) fn outcome_number(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Accepted => 0,
        Outcome::EvictedOldest => 1,
        Outcome::DroppedNewest => 2,
    }
}

pub(super) fn policy_of(py: Python<'_>, kind: Kind, name: Option<&str>) -> PyResult<Policy> {
    let Some(name) = name else { return Ok(kind.default_policy()) };
    Policy::from_name(name)
        .ok_or_else(|| core_error(py, "bad_policy", None, format!("no policy is called {name:?}")))
}

pub(super) fn open_error(py: Python<'_>, error: OpenError) -> PyErr {
    let (code, text) = match error {
        OpenError::SessionClosed => ("session_closed", "the session opens no more channels"),
        OpenError::BadName => {
            return PyValueError::new_err("a channel name is 1 to 64 printable ASCII characters");
        }
        OpenError::BadPolicy => ("bad_policy", "the kind of the channel does not allow this policy"),
        OpenError::TooManyChannels => ("too_many_channels", "as many channels are open as were agreed"),
    };
    core_error(py, code, None, text.to_owned())
}

pub(super) fn send_error(py: Python<'_>, error: SendError) -> PyErr {
    let (code, text) = match error {
        SendError::ChannelClosed => ("channel_closed", "the channel takes no more messages"),
        SendError::SessionClosed => ("session_closed", "the session takes no more messages"),
        SendError::MessageTooLarge => ("message_too_large", "a message is larger than its channel allows"),
        SendError::BatchTooLarge => ("batch_too_large", "the batch could not fit even an empty queue"),
        SendError::QueueFull => ("queue_full", "the send queue is full"),
    };
    core_error(py, code, None, text.to_owned())
}
