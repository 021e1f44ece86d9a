//! Identities and signatures for Python.

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::error::core_error;
use crate::identity::{
    self, BadDomain, BadSignature, Domain, IdentityError, KEY_LEN, SIGNATURE_LEN, SignatureCheck,
};

/// An agent's Ed25519 key pair. Its repr shows the fingerprint only.
#[pyclass(frozen, module = "web4._core")]
pub(super) struct Identity {
    pub(super) inner: identity::Identity,
}

#[pymethods]
impl Identity {
    /// A new identity from the operating system's randomness.
    #[staticmethod]
    fn generate(py: Python<'_>) -> PyResult<Self> {
        identity::Identity::generate().map(|inner| Self { inner }).map_err(|error| refuse_key(py, error))
    }

    /// The identity that belongs to a seed of 32 bytes.
    #[staticmethod]
    #[pyo3(signature = (seed, /))]
    fn from_seed(seed: &[u8]) -> PyResult<Self> {
        let seed = seed.try_into().map_err(|_| PyValueError::new_err("a seed has 32 bytes"))?;
        Ok(Self { inner: identity::Identity::from_seed(seed) })
    }

    /// Reads a PKCS#8 PEM document.
    #[staticmethod]
    #[pyo3(signature = (pem, /))]
    fn from_pem(py: Python<'_>, pem: &str) -> PyResult<Self> {
        identity::Identity::from_pem(pem).map(|inner| Self { inner }).map_err(|error| refuse_key(py, error))
    }

    /// The private key as a PKCS#8 PEM document: handle with care.
    fn to_pem(&self) -> String {
        self.inner.to_pem().to_string()
    }

    /// The raw public key, 32 bytes.
    #[getter]
    fn public_key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.public_key())
    }

    /// Lowercase hex BLAKE3-256 of the raw public key.
    #[getter]
    fn fingerprint(&self) -> &str {
        self.inner.fingerprint()
    }

    /// Signs a message for one protocol, version and purpose; 64 bytes.
    #[pyo3(signature = (message, /, *, protocol, version, purpose))]
    fn sign<'py>(
        &self,
        py: Python<'py>,
        message: &[u8],
        protocol: &str,
        version: &str,
        purpose: &str,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let domain = Domain::new(protocol, version, purpose).map_err(refuse_domain)?;
        Ok(PyBytes::new(py, &self.inner.sign(&domain, message)))
    }

    fn __repr__(&self) -> String {
        format!("<Identity {}>", self.inner.fingerprint())
    }
}

/// The fingerprint of a raw public key of 32 bytes.
#[pyfunction]
#[pyo3(signature = (public_key, /))]
pub(super) fn fingerprint(public_key: &[u8]) -> PyResult<String> {
    let key = public_key.try_into().map_err(|_| PyValueError::new_err("a public key has 32 bytes"))?;
    Ok(identity::fingerprint(key))
}

/// Verifies strictly that `public_key` signed `message` for one protocol, version and purpose, or raises.
#[pyfunction]
#[pyo3(signature = (public_key, message, signature, /, *, protocol, version, purpose))]
pub(super) fn verify(
    py: Python<'_>,
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
    protocol: &str,
    version: &str,
    purpose: &str,
) -> PyResult<()> {
    let domain = Domain::new(protocol, version, purpose).map_err(refuse_domain)?;
    signature_check(public_key, &domain, message, signature)
        .and_then(|check| check.verify())
        .map_err(|error| refuse_signature(py, error))
}

/// Verifies many `(public_key, message, signature)` strictly, each by itself, over the cores; the positions
/// of those that do not verify, in ascending order.
#[pyfunction]
#[pyo3(signature = (checks, /, *, protocol, version, purpose))]
pub(super) fn verify_many<'py>(
    py: Python<'py>,
    checks: Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>)>,
    protocol: &str,
    version: &str,
    purpose: &str,
) -> PyResult<Vec<usize>> {
    let domain = Domain::new(protocol, version, purpose).map_err(refuse_domain)?;
    let checks: Vec<_> = checks
        .iter()
        .map(|(key, message, signature)| {
            signature_check(key.as_bytes(), &domain, message.as_bytes(), signature.as_bytes())
        })
        .collect();
    Ok(refused_positions(py, checks))
}

/// Runs the checks that could be made, and gives the positions of all that do not verify.
pub(super) fn refused_positions<E>(py: Python<'_>, checks: Vec<Result<SignatureCheck, E>>) -> Vec<usize> {
    let mut refused = Vec::new();
    let (positions, checks): (Vec<_>, Vec<_>) = checks
        .into_iter()
        .enumerate()
        .filter_map(|(position, check)| match check {
            Ok(check) => Some((position, check)),
            Err(_) => {
                refused.push(position);
                None
            }
        })
        .unzip();
    // One verification is too short to let other threads have the interpreter, many are not.
    let results = py.detach(|| identity::verify_many(&checks));
    let failed = positions.into_iter().zip(results).filter(|(_, result)| result.is_err());
    refused.extend(failed.map(|(position, _)| position));
    refused.sort_unstable();
    refused
}

/// Of whatever bytes a peer sent: a key or signature of another length is simply a bad signature.
fn signature_check(
    public_key: &[u8],
    domain: &Domain<'_>,
    message: &[u8],
    signature: &[u8],
) -> Result<SignatureCheck, BadSignature> {
    let public_key: [u8; KEY_LEN] = public_key.try_into().map_err(|_| BadSignature)?;
    let signature: [u8; SIGNATURE_LEN] = signature.try_into().map_err(|_| BadSignature)?;
    let signed_bytes = domain.signed_bytes([message], message.len());
    Ok(SignatureCheck { public_key, signed_bytes, signature })
}

pub(super) fn refuse_signature(py: Python<'_>, error: BadSignature) -> PyErr {
    core_error(py, "signature", None, error.to_string())
}

fn refuse_key(py: Python<'_>, error: IdentityError) -> PyErr {
    match error {
        IdentityError::Malformed => core_error(py, "key_malformed", None, error.to_string()),
        IdentityError::NoRandomness => PyOSError::new_err(error.to_string()),
    }
}

/// The domain is the caller's own word, so a bad one is a mistake in the program.
fn refuse_domain(error: BadDomain) -> PyErr {
    PyValueError::new_err(error.to_string())
}
