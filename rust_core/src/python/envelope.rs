//! Envelopes for Python.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use super::error::core_error;
use super::identity::{Identity, refuse_signature, refused_positions};
use crate::batch::{self, Opened};
use crate::envelope::{self, EnvelopeError};
use crate::hash::{self, DIGEST_LEN};
use crate::identity::{BadSignature, KEY_LEN};

/// An envelope in canonical form. Nothing of it is verified until `verify` has returned.
#[pyclass(frozen, module = "web4._core")]
pub(super) struct Envelope {
    inner: envelope::Envelope<PyBackedBytes>,
    early: Option<Early>,
}

/// What `open_envelopes` has found out: `verify` says it when it is asked about the same key, and not before.
struct Early {
    public_key: [u8; KEY_LEN],
    verdict: Result<(), EnvelopeError>,
    digest: [u8; DIGEST_LEN],
    content_digest: [u8; DIGEST_LEN],
}

impl Envelope {
    fn of_batch(opened: Opened<PyBackedBytes>, public_key: [u8; KEY_LEN]) -> Self {
        let Opened { envelope, digest, content_digest, verdict } = opened;
        Self { inner: envelope, early: Some(Early { public_key, verdict, digest, content_digest }) }
    }
}

#[pymethods]
impl Envelope {
    /// `cip`, `hcp`, `lip` or `mesh`.
    #[getter]
    fn protocol(&self) -> &'static str {
        self.inner.protocol().name()
    }

    /// The protocol's version as it is written.
    #[getter]
    fn version(&self) -> String {
        self.inner.version().into_owned()
    }

    /// The type as it is written.
    #[getter]
    fn r#type(&self) -> String {
        self.inner.kind().into_owned()
    }

    /// The message id (of a mesh envelope: `id`), if there is one and it is a string.
    #[getter]
    fn msg_id(&self) -> Option<String> {
        self.inner.msg_id().map(|id| id.into_owned())
    }

    /// The timestamp (of a mesh envelope: `created_at`) as it is written, if there is one and it is a string.
    #[getter]
    fn timestamp(&self) -> Option<String> {
        self.inner.timestamp().map(|timestamp| timestamp.into_owned())
    }

    /// The canonical bytes of the payload, if there is one.
    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.inner.payload().map(|payload| PyBytes::new(py, payload))
    }

    /// The canonical bytes of the whole envelope: the object that was parsed, not a copy.
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.inner.inner().into_pyobject(py)?.into_any())
    }

    /// Lowercase hex BLAKE3-256 of all the bytes. Computed on each use, unless a batch has done so.
    #[getter]
    fn digest(&self) -> String {
        match &self.early {
            Some(early) => hash::hex(&early.digest),
            None => hash::hex(&hash::blake3(self.inner.bytes())),
        }
    }

    /// Lowercase hex BLAKE3-256 of the canonical bytes without `sign` and `timestamp`, of a mesh envelope without
    /// `sign`, `created_at` and `hops`. Computed on each use, unless a batch has done so.
    #[getter]
    fn content_digest(&self) -> String {
        match &self.early {
            Some(early) => hash::hex(&early.content_digest),
            None => hash::hex(&self.inner.content_digest()),
        }
    }

    /// The canonical bytes of a mesh envelope with one more entry of `hops`, which its origin did not sign.
    #[pyo3(signature = (hop, /))]
    fn with_hop<'py>(&self, py: Python<'py>, hop: &str) -> PyResult<Bound<'py, PyBytes>> {
        self.inner.with_hop(hop).map(|longer| PyBytes::new(py, &longer)).map_err(|error| refuse(py, &error))
    }

    /// Verifies the envelope's signature strictly against a raw public key, or raises.
    #[pyo3(signature = (public_key, /))]
    fn verify(&self, py: Python<'_>, public_key: &[u8]) -> PyResult<()> {
        let Ok(key) = <&[u8; KEY_LEN]>::try_from(public_key) else {
            return Err(refuse_signature(py, BadSignature));
        };
        let verdict = match &self.early {
            Some(early) if early.public_key == *key => early.verdict.clone(),
            _ => self.inner.verify(key),
        };
        verdict.map_err(|error| refuse(py, &error))
    }

    fn __repr__(&self) -> String {
        format!("<Envelope {}, {} bytes>", self.inner.protocol().name(), self.inner.bytes().len())
    }
}

/// Checks size, strict canonical syntax and the discriminator of `data`.
#[pyfunction]
#[pyo3(signature = (data, /, max_bytes))]
pub(super) fn parse_envelope(
    py: Python<'_>,
    data: Bound<'_, PyBytes>,
    max_bytes: usize,
) -> PyResult<Envelope> {
    envelope::Envelope::parse(PyBackedBytes::from(data), max_bytes)
        .map(|inner| Envelope { inner, early: None })
        .map_err(|error| refuse(py, &error))
}

/// Parses many envelopes and finds out over the cores what will be asked about them: digests, and whether
/// `public_key` signed them. None where `parse_envelope` refuses.
#[pyfunction]
#[pyo3(signature = (data, public_key, /, max_bytes))]
pub(super) fn open_envelopes(
    py: Python<'_>,
    data: Vec<Bound<'_, PyBytes>>,
    public_key: &[u8],
    max_bytes: usize,
) -> PyResult<Vec<Option<Envelope>>> {
    let public_key: [u8; KEY_LEN] = public_key.try_into().map_err(|_| refuse_signature(py, BadSignature))?;
    let data: Vec<_> = data.into_iter().map(PyBackedBytes::from).collect();
    let opened = py.detach(|| batch::open(data, &public_key, max_bytes));
    Ok(opened.into_iter().map(|one| one.map(|one| Envelope::of_batch(one, public_key))).collect())
}

/// Signs an envelope that has no `sign` yet; the canonical bytes of the whole.
#[pyfunction]
#[pyo3(signature = (identity, unsigned, /, max_bytes))]
pub(super) fn seal_envelope<'py>(
    py: Python<'py>,
    identity: &Bound<'py, Identity>,
    unsigned: &[u8],
    max_bytes: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    envelope::seal(&identity.get().inner, unsigned, max_bytes)
        .map(|sealed| PyBytes::new(py, &sealed))
        .map_err(|error| refuse(py, &error))
}

/// Signs many envelopes over the cores, as `seal_envelope`; raises for the first that it refuses.
#[pyfunction]
#[pyo3(signature = (identity, unsigned, /, max_bytes))]
pub(super) fn seal_envelopes<'py>(
    py: Python<'py>,
    identity: &Bound<'py, Identity>,
    unsigned: Vec<Bound<'py, PyBytes>>,
    max_bytes: usize,
) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let identity = &identity.get().inner;
    let unsigned: Vec<_> = unsigned.into_iter().map(PyBackedBytes::from).collect();
    let sealed = py.detach(|| batch::seal(identity, unsigned, max_bytes));
    sealed
        .into_iter()
        .map(|one| one.map(|data| PyBytes::new(py, &data)).map_err(|error| refuse(py, &error)))
        .collect()
}

/// Verifies many `(envelope, public_key)` strictly, each by itself, over the cores; the positions of those
/// that do not verify, in ascending order.
#[pyfunction]
#[pyo3(signature = (pairs, /))]
pub(super) fn verify_envelopes<'py>(
    py: Python<'py>,
    pairs: Vec<(Bound<'py, Envelope>, Bound<'py, PyBytes>)>,
) -> Vec<usize> {
    let checks = pairs.iter().map(|(envelope, public_key)| {
        let key: &[u8; KEY_LEN] =
            public_key.as_bytes().try_into().map_err(|_| EnvelopeError::from(BadSignature))?;
        envelope.get().inner.signature_check(key)
    });
    refused_positions(py, checks.collect())
}

fn refuse(py: Python<'_>, error: &EnvelopeError) -> PyErr {
    core_error(py, error.code(), error.field(), error.to_string())
}
