//! The journal's chain for Python, a batch of records of one lane per call.

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::record::{self, Fields};

/// Random bytes of each record (JRN-2).
const SALT: usize = 16;

/// What a record is made of: at, cause, principal, refs, type, version, payload, salt.
type Draft<'py> = (
    i64,
    Option<(Bound<'py, PyString>, u64)>,
    Option<Bound<'py, PyString>>,
    Vec<(Bound<'py, PyString>, Bound<'py, PyString>)>,
    Bound<'py, PyString>,
    u16,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
);

/// One stored record: header, payload, salt, payload hash, hash.
type Stored<'py> = (
    Bound<'py, PyBytes>,
    Option<Bound<'py, PyBytes>>,
    Option<Bound<'py, PyBytes>>,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
);

/// The `prev` of a lane's first record (JRN-3d).
#[pyfunction]
#[pyo3(signature = (journal_id, lane, /))]
pub(super) fn lane_genesis<'py>(py: Python<'py>, journal_id: &[u8], lane: &str) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &record::genesis(journal_id, lane))
}

/// The salted hash of a payload (JRN-3a).
#[pyfunction]
#[pyo3(signature = (salt, payload, /))]
pub(super) fn payload_hash<'py>(py: Python<'py>, salt: &[u8], payload: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &record::payload_hash(salt, payload))
}

/// Chains drafts to `prev` as records `first_seq` and on; gives (header, payload hash, hash) of each.
#[pyfunction]
#[pyo3(signature = (lane, first_seq, prev, drafts, /))]
pub(super) fn seal_records<'py>(
    py: Python<'py>,
    lane: &str,
    first_seq: u64,
    prev: &[u8],
    drafts: &Bound<'py, PyList>,
) -> PyResult<Bound<'py, PyList>> {
    let sealed = PyList::empty(py);
    let mut previous = digest(prev)?;
    for (seq, draft) in (first_seq..).zip(drafts.iter()) {
        let (at, cause, principal, refs, kind, version, payload, salt): Draft<'_> = draft.extract()?;
        let about = About { cause, principal, refs, kind, version };
        let header = about.header(lane, seq, at)?;
        let payload_hash = record::payload_hash(salt.as_bytes(), payload.as_bytes());
        previous = record::record_hash(&previous, &header, &payload_hash);
        let parts = [&header[..], &payload_hash, &previous].map(|bytes| PyBytes::new(py, bytes));
        sealed.append(PyTuple::new(py, parts)?)?;
    }
    Ok(sealed)
}

/// One lane's part of a commit: text of the lane, the lane, its head, the events.
type Part<'py> = (Bound<'py, PyString>, Bound<'py, PyAny>, Bound<'py, PyTuple>, Vec<Event<'py>>);

/// Number, hash, time, base and its hash: where a lane ends and begins.
type Head<'py> = (u64, Bound<'py, PyBytes>, i64, Bound<'py, PyAny>, Bound<'py, PyAny>);

/// A prepared event: itself, type, version, payload, time, cause, principal, references, work.
type Event<'py> = (
    Bound<'py, PyAny>,
    Bound<'py, PyString>,
    u16,
    Bound<'py, PyBytes>,
    i64,
    Option<(Bound<'py, PyString>, u64)>,
    Option<Bound<'py, PyString>>,
    Bound<'py, PyTuple>,
    Bound<'py, PyAny>,
);

/// How Python's records, answers, heads and moves of heads are made of their fields.
type Makers<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>);

/// What a commit consists of: its records, where each part went, the lanes' moves, and the last part of each lane.
type SealedGroup<'py> = (Bound<'py, PyList>, Vec<Option<Bound<'py, PyAny>>>, Bound<'py, PyList>, Vec<usize>);

/// Seals all parts of a commit, in the order of their lanes' names.
#[pyfunction]
#[pyo3(signature = (parts, salts, makers, /))]
pub(super) fn seal_group<'py>(
    py: Python<'py>,
    parts: &Bound<'py, PyList>,
    salts: &Bound<'py, PyBytes>,
    makers: Makers<'py>,
) -> PyResult<SealedGroup<'py>> {
    let (make_record, make_answer, make_head, make_move) = makers;
    let mut salts = salts.as_bytes().chunks_exact(SALT);
    let mut sorted = parts
        .iter()
        .enumerate()
        .map(|(index, part)| Ok((index, part.extract()?)))
        .collect::<PyResult<Vec<(usize, Part<'py>)>>>()?;
    // Code points and their UTF-8 sort alike; parts of one lane stay in the order they came.
    sorted.sort_by(|(_, a), (_, b)| a.0.to_str().unwrap_or_default().cmp(b.0.to_str().unwrap_or_default()));
    let records = PyList::empty(py);
    let mut answers = vec![None; sorted.len()];
    let moves = PyList::empty(py);
    let mut last_parts = Vec::with_capacity(sorted.len());
    let mut sorted = sorted.into_iter().peekable();
    while let Some((index, (text, lane, before, events))) = sorted.next() {
        let name = text.to_str()?;
        let head: Head<'py> = before.extract()?;
        let mut end = End { seq: head.0, hash: head.1, at: head.2, previous: [0; 32] };
        end.previous = digest(end.hash.as_bytes())?;
        if end.seq == 0 {
            end.at = i64::MIN; // there is no time that the first record would go behind
        }
        let mut part = (index, events);
        loop {
            let first = end.seq.checked_add(1).ok_or_else(out_of_numbers)?;
            for event in part.1 {
                let salt = salts.next().ok_or_else(|| PyValueError::new_err("too few salts"))?;
                records.append(make_record.call1((end.seal(&lane, name, event, salt)?,))?)?;
            }
            answers[part.0] = Some(make_answer.call1(((first, end.seq, &end.hash),))?);
            match sorted.next_if(|(_, next)| next.0.to_str().is_ok_and(|next| next == name)) {
                Some((index, next)) => part = (index, next.3),
                None => break,
            }
        }
        let after = make_head.call1(((end.seq, end.hash, end.at, head.3, head.4),))?;
        moves.append(make_move.call1(((lane, before, after),))?)?;
        last_parts.push(part.0);
    }
    Ok((records, answers, moves, last_parts))
}

/// Where a lane ends while it is sealed.
struct End<'py> {
    seq: u64,
    hash: Bound<'py, PyBytes>,
    at: i64,
    previous: record::Digest,
}

impl<'py> End<'py> {
    /// Puts one event behind what is there; the fields of its record.
    fn seal(
        &mut self,
        lane: &Bound<'py, PyAny>,
        name: &str,
        event: Event<'py>,
        salt: &[u8],
    ) -> PyResult<Bound<'py, PyTuple>> {
        let (_, kind, version, payload, at, cause, principal, refs, work) = event;
        let py = lane.py();
        self.seq = self.seq.checked_add(1).ok_or_else(out_of_numbers)?;
        self.at = self.at.max(at);
        let about = About { cause, principal, refs: refs.extract()?, kind, version };
        let header = about.header(name, self.seq, self.at)?;
        let payload_hash = record::payload_hash(salt, payload.as_bytes());
        self.previous = record::record_hash(&self.previous, &header, &payload_hash);
        self.hash = PyBytes::new(py, &self.previous);
        let fields = (
            lane,
            self.seq,
            self.at,
            PyBytes::new(py, &header),
            payload,
            PyBytes::new(py, salt),
            PyBytes::new(py, &payload_hash),
            &self.hash,
            refs,
            work,
        );
        fields.into_pyobject(py)
    }
}

/// What a header says beside its place and time.
struct About<'py> {
    cause: Option<(Bound<'py, PyString>, u64)>,
    principal: Option<Bound<'py, PyString>>,
    refs: Vec<(Bound<'py, PyString>, Bound<'py, PyString>)>,
    kind: Bound<'py, PyString>,
    version: u16,
}

impl About<'_> {
    fn header(&self, lane: &str, seq: u64, at: i64) -> PyResult<Vec<u8>> {
        let cause = match &self.cause {
            Some((lane, seq)) => Some((lane.to_str()?, *seq)),
            None => None,
        };
        let principal = self.principal.as_ref().map(|text| text.to_str()).transpose()?;
        let refs = self
            .refs
            .iter()
            .map(|(kind, value)| Ok((kind.to_str()?, value.to_str()?)))
            .collect::<PyResult<Vec<_>>>()?;
        let fields =
            Fields { at, cause, principal, refs: &refs, kind: self.kind.to_str()?, version: self.version };
        Ok(record::header(lane, seq, &fields))
    }
}

fn out_of_numbers() -> PyErr {
    PyOverflowError::new_err("a lane has no more numbers")
}

fn digest(bytes: &[u8]) -> PyResult<record::Digest> {
    bytes.try_into().map_err(|_| PyValueError::new_err("a hash has 32 bytes"))
}

/// The index of the first stored record that does not follow the one before it, the first following `prev`.
///
/// A record is (header, payload, salt, payload hash, hash). One without payload is erased: its salt must be gone,
/// too, and the hash of its payload is taken as it stands (JRN-3e).
#[pyfunction]
#[pyo3(signature = (prev, records, /))]
pub(super) fn first_broken_record(prev: &[u8], records: &Bound<'_, PyList>) -> PyResult<Option<usize>> {
    let mut previous = prev.to_vec();
    for (index, stored) in records.iter().enumerate() {
        let (header, payload, salt, payload_hash, hash): Stored<'_> = stored.extract()?;
        let intact = match (&payload, &salt) {
            (Some(payload), Some(salt)) => {
                record::payload_hash(salt.as_bytes(), payload.as_bytes()) == payload_hash.as_bytes()
            }
            (None, None) => true,
            _ => false,
        };
        let expected = record::record_hash(&previous, header.as_bytes(), payload_hash.as_bytes());
        if !intact || expected != hash.as_bytes() {
            return Ok(Some(index));
        }
        previous.clear();
        previous.extend_from_slice(hash.as_bytes());
    }
    Ok(None)
}
