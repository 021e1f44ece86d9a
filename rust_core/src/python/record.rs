//! The journal's chain for Python, a batch of records of one lane per call.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::record::{self, Fields};

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
    let mut previous: record::Digest =
        prev.try_into().map_err(|_| PyValueError::new_err("a hash has 32 bytes"))?;
    for (seq, draft) in (first_seq..).zip(drafts.iter()) {
        let (at, cause, principal, refs, kind, version, payload, salt): Draft<'_> = draft.extract()?;
        let cause = match &cause {
            Some((lane, seq)) => Some((lane.to_str()?, *seq)),
            None => None,
        };
        let principal = principal.as_ref().map(|text| text.to_str()).transpose()?;
        let refs = refs
            .iter()
            .map(|(kind, value)| Ok((kind.to_str()?, value.to_str()?)))
            .collect::<PyResult<Vec<_>>>()?;
        let fields = Fields { at, cause, principal, refs: &refs, kind: kind.to_str()?, version };
        let header = record::header(lane, seq, &fields);
        let payload_hash = record::payload_hash(salt.as_bytes(), payload.as_bytes());
        previous = record::record_hash(&previous, &header, &payload_hash);
        let parts = [&header[..], &payload_hash, &previous].map(|bytes| PyBytes::new(py, bytes));
        sealed.append(PyTuple::new(py, parts)?)?;
    }
    Ok(sealed)
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
