//! The session table of an endpoint for Python: ids and fingerprints are bytes.

use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::error::core_error;
use super::lock;
use super::opening_link::exactly;
use crate::rtt::opening_frame::SessionId;
use crate::rtt::{self, Found, Nanos, TableLimits};

/// Whose sessions an endpoint keeps, how many, and since when they have no carrier.
#[pyclass(frozen, module = "web4._core")]
pub(super) struct SessionTable {
    inner: Mutex<rtt::SessionTable>,
}

#[pymethods]
impl SessionTable {
    #[new]
    #[pyo3(signature = (*, sessions_per_peer, sessions, suspended))]
    fn new(sessions_per_peer: u32, sessions: u32, suspended: u32) -> Self {
        let limits = TableLimits { sessions_per_peer, sessions, suspended };
        SessionTable { inner: Mutex::new(rtt::SessionTable::new(limits)) }
    }

    fn __len__(&self) -> usize {
        lock(&self.inner).len()
    }

    /// How many sessions have no carrier.
    #[getter]
    fn suspended(&self) -> usize {
        lock(&self.inner).suspended()
    }

    /// The sessions that a later start of the same peer ends (RTT-35).
    #[pyo3(signature = (peer, boot_id, /))]
    fn of_earlier_boots<'py>(
        &self,
        py: Python<'py>,
        peer: &[u8],
        boot_id: &[u8],
    ) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let (peer, boot_id) = (exactly(peer, "peer")?, exactly(boot_id, "boot_id")?);
        let ids = lock(&self.inner).of_earlier_boots(&peer, &boot_id);
        Ok(ids.iter().map(|id| PyBytes::new(py, id)).collect())
    }

    /// Raises `CoreError` with `limit` or `busy` if a peer may not have one session more.
    #[pyo3(signature = (peer, /))]
    fn check_room(&self, py: Python<'_>, peer: &[u8]) -> PyResult<()> {
        let peer = exactly(peer, "peer")?;
        let room = lock(&self.inner).check_room(&peer);
        room.map_err(|code| core_error(py, code.word(), Some("refused"), format!("no room: {code}")))
    }

    /// A session was granted, or opened here.
    #[pyo3(signature = (session_id, peer, boot_id, /))]
    fn insert(&self, session_id: &[u8], peer: &[u8], boot_id: &[u8]) -> PyResult<()> {
        let (peer, boot_id) = (exactly(peer, "peer")?, exactly(boot_id, "boot_id")?);
        lock(&self.inner).insert(id_of(session_id)?, peer, boot_id);
        Ok(())
    }

    /// A session is over, or was never confirmed.
    #[pyo3(signature = (session_id, /))]
    fn remove(&self, session_id: &[u8]) -> PyResult<()> {
        lock(&self.inner).remove(&id_of(session_id)?);
        Ok(())
    }

    /// What a session is to the peer that names it: `own`, `unknown`, or somebody else's, `foreign` (RTT-33).
    #[pyo3(signature = (session_id, peer, /))]
    fn find(&self, session_id: &[u8], peer: &[u8]) -> PyResult<&'static str> {
        Ok(match lock(&self.inner).find(&id_of(session_id)?, &exactly(peer, "peer")?) {
            Found::Own => "own",
            Found::Unknown => "unknown",
            Found::Foreign => "foreign",
        })
    }

    /// A session lost its carrier; the id of the one to give up for it, or None.
    #[pyo3(signature = (session_id, now, /))]
    fn suspend<'py>(
        &self,
        py: Python<'py>,
        session_id: &[u8],
        now: Nanos,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let evicted = lock(&self.inner).suspend(&id_of(session_id)?, now);
        Ok(evicted.map(|id| PyBytes::new(py, &id)))
    }

    /// A session has a carrier again.
    #[pyo3(signature = (session_id, /))]
    fn resume(&self, session_id: &[u8]) -> PyResult<()> {
        lock(&self.inner).resume(&id_of(session_id)?);
        Ok(())
    }
}

fn id_of(bytes: &[u8]) -> PyResult<SessionId> {
    exactly(bytes, "session_id")
}
