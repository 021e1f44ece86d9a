//! The journal's chain for Python, a batch of records of one lane per call.

use pyo3::exceptions::PyValueError;
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

/// One lane's part of a commit: text of the lane, its place among the parts, the lane, its head, the events.
type Part<'py> = (
    Bound<'py, PyString>,
    Bound<'py, PyAny>,
    Bound<'py, PyAny>,
    (u64, Bound<'py, PyBytes>, i64, Bound<'py, PyAny>, Bound<'py, PyAny>),
    Vec<Event<'py>>,
);

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

/// Where a part ends: its first number, its last, the last hash, the last time.
type End<'py> = (u64, u64, Bound<'py, PyBytes>, i64);

/// Seals all parts of a commit, sorted by lane: parts of one lane follow each other.
#[pyfunction]
#[pyo3(signature = (parts, salts, make, /))]
pub(super) fn seal_group<'py>(
    py: Python<'py>,
    parts: &Bound<'py, PyList>,
    salts: &Bound<'py, PyBytes>,
    make: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyList>, Vec<End<'py>>)> {
    let records = PyList::empty(py);
    let mut ends: Vec<End<'py>> = Vec::with_capacity(parts.len());
    let mut salts = salts.as_bytes().chunks_exact(SALT);
    let mut before: Option<Bound<'py, PyString>> = None;
    let (mut seq, mut previous, mut at) = (0, [0; 32], 0);
    for part in parts.iter() {
        let (text, _, lane, head, events): Part<'_> = part.extract()?;
        let name = text.to_str()?;
        if before.as_ref().map(|text| text.to_str()).transpose()? != Some(name) {
            // A lane that nobody wrote has no time yet.
            at = if head.0 == 0 { i64::MIN } else { head.2 };
            (seq, previous) = (head.0, digest(head.1.as_bytes())?);
        }
        let first = seq + 1;
        let mut hash = head.1;
        for (_, kind, version, payload, brought, cause, principal, refs, work) in events {
            seq += 1;
            at = at.max(brought);
            let salt = salts.next().ok_or_else(|| PyValueError::new_err("too few salts"))?;
            let about = About { cause, principal, refs: refs.extract()?, kind, version };
            let header = about.header(name, seq, at)?;
            let payload_hash = record::payload_hash(salt, payload.as_bytes());
            previous = record::record_hash(&previous, &header, &payload_hash);
            hash = PyBytes::new(py, &previous);
            let fields = (
                &lane,
                seq,
                at,
                PyBytes::new(py, &header),
                payload,
                PyBytes::new(py, salt),
                PyBytes::new(py, &payload_hash),
                &hash,
                refs,
                work,
            );
            records.append(make.call1((fields,))?)?;
        }
        ends.push((first, seq, hash, at));
        before = Some(text);
    }
    Ok((records, ends))
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
