//! Canonical JSON and hashes for Python.

use std::sync::Mutex;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::error::core_error;
use super::lock;
use crate::envelope::EnvelopeError;
use crate::{canonical, hash};

/// From this size on, hashing takes long enough that other threads should run meanwhile.
const LONG_INPUT: usize = 256 * 1024;

/// The canonical form (RFC 8785) of strict JSON: the same object when it is that already.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub(super) fn canonicalize<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyBytes>,
) -> PyResult<Bound<'py, PyBytes>> {
    if canonical::is_canonical(data.as_bytes()) {
        return Ok(data.clone());
    }
    match canonical::canonicalize(data.as_bytes()) {
        Ok(canonical) => Ok(PyBytes::new(py, &canonical)),
        Err(error) => {
            let error = EnvelopeError::from(error);
            Err(core_error(py, error.code(), None, error.to_string()))
        }
    }
}

/// The BLAKE3-256 of `data`, 32 bytes.
#[pyfunction]
#[pyo3(signature = (data, /))]
pub(super) fn blake3<'py>(py: Python<'py>, data: &Bound<'py, PyBytes>) -> Bound<'py, PyBytes> {
    let bytes = data.as_bytes();
    let digest =
        if bytes.len() < LONG_INPUT { hash::blake3(bytes) } else { py.detach(|| hash::blake3(bytes)) };
    PyBytes::new(py, &digest)
}

/// The BLAKE3-256 of `data` under a key of 32 bytes.
#[pyfunction]
#[pyo3(signature = (key, data, /))]
pub(super) fn blake3_keyed<'py>(
    py: Python<'py>,
    key: &[u8],
    data: &Bound<'py, PyBytes>,
) -> PyResult<Bound<'py, PyBytes>> {
    let key = key.try_into().map_err(|_| PyValueError::new_err("a hash key has 32 bytes"))?;
    let bytes = data.as_bytes();
    let digest = if bytes.len() < LONG_INPUT {
        hash::blake3_keyed(key, bytes)
    } else {
        py.detach(|| hash::blake3_keyed(key, bytes))
    };
    Ok(PyBytes::new(py, &digest))
}

/// The BLAKE3-256 of what comes in pieces.
#[pyclass(module = "web4._core")]
#[derive(Default)]
pub(super) struct Blake3(Mutex<hash::Running>);

#[pymethods]
impl Blake3 {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Adds a piece.
    #[pyo3(signature = (piece, /))]
    fn update(&self, py: Python<'_>, piece: &Bound<'_, PyBytes>) {
        let bytes = piece.as_bytes();
        if bytes.len() < LONG_INPUT {
            lock(&self.0).update(bytes);
        } else {
            py.detach(|| lock(&self.0).update(bytes));
        }
    }

    /// The digest of all pieces so far, 32 bytes.
    fn digest<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &lock(&self.0).digest())
    }
}
