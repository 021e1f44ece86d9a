//! In-loop: Trio waits on the socket; one native call reads, decrypts and returns every complete message.

use std::sync::Mutex;

use pyo3::exceptions::PyConnectionError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::codec::{Batch, Codec};
use crate::descriptor::Socket;

/// Encrypted bytes held for the socket at once: enough to keep it busy, small enough to stay in cache.
const WRITE_CHUNK: usize = 256 * 1024;
/// Below this much work the GIL is kept when `adaptive`: retaking it may cost a whole switch interval.
const SMALL: usize = 16 * 1024;

struct State {
    codec: Codec,
    wire: Box<[u8]>,
}

#[pyclass(frozen)]
pub struct InLoop {
    socket: Socket,
    adaptive: bool,
    state: Mutex<State>,
}

fn lost(error: std::io::Error) -> PyErr {
    PyConnectionError::new_err(error.to_string())
}

#[pymethods]
impl InLoop {
    #[new]
    #[pyo3(signature = (fd, certificate, key, *, adaptive, read_size))]
    fn new(
        fd: i32,
        certificate: Vec<u8>,
        key: Option<Vec<u8>>,
        adaptive: bool,
        read_size: usize,
    ) -> PyResult<Self> {
        let codec = Codec::new(certificate, key).map_err(lost)?;
        let wire = vec![0; read_size].into_boxed_slice();
        Ok(Self { socket: Socket(fd), adaptive, state: Mutex::new(State { codec, wire }) })
    }

    #[getter]
    fn handshaking(&self) -> bool {
        self.state.lock().unwrap().codec.is_handshaking()
    }

    /// Read once from the socket and return every complete message; empty when there is none yet.
    fn receive<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let batch = if self.adaptive {
            let mut guard = self.state.lock().unwrap();
            let state: &mut State = &mut guard;
            match self.read(state).map_err(lost)? {
                None => Batch::default(),
                Some(got) if got < SMALL => decode(state, got).map_err(lost)?,
                Some(got) => py.detach(|| decode(state, got)).map_err(lost)?,
            }
        } else {
            py.detach(|| {
                let mut state = self.state.lock().unwrap();
                match self.read(&mut state)? {
                    None => Ok(Batch::default()),
                    Some(got) => decode(&mut state, got),
                }
            })
            .map_err(lost)?
        };
        let list =
            PyList::new(py, batch.messages.into_iter().map(|range| PyBytes::new(py, &batch.plain[range])))?;
        self.state.lock().unwrap().codec.recycle(batch.plain);
        Ok(list)
    }

    /// Encrypt and write messages from `first` on: how many are taken in all, and whether bytes still wait.
    fn send(&self, py: Python<'_>, messages: &Bound<'_, PyList>, first: usize) -> PyResult<(usize, bool)> {
        let held: Vec<Bound<'_, PyBytes>> =
            messages.iter().skip(first).map(|item| item.cast_into()).collect::<Result<_, _>>()?;
        let parts: Vec<&[u8]> = held.iter().map(|item| item.as_bytes()).collect();
        let small = parts.iter().map(|part| part.len()).sum::<usize>() < SMALL;
        let write = || {
            let mut state = self.state.lock().unwrap();
            let mut taken = 0;
            loop {
                if !state.codec.flush(self.socket)? {
                    return Ok((first + taken, true));
                }
                if taken == parts.len() {
                    return Ok((first + taken, false));
                }
                let mut bytes = 0;
                let chunk = parts[taken..].iter().take_while(|part| {
                    let room = bytes < WRITE_CHUNK;
                    bytes += part.len();
                    room
                });
                let count = chunk.count();
                state.codec.encode(parts[taken..taken + count].iter().copied())?;
                taken += count;
            }
        };
        if self.adaptive && small { write() } else { py.detach(write) }.map_err(lost)
    }
}

impl InLoop {
    fn read(&self, state: &mut State) -> std::io::Result<Option<usize>> {
        self.socket.receive(&mut state.wire)
    }
}

fn decode(state: &mut State, got: usize) -> std::io::Result<Batch> {
    let State { codec, wire } = state;
    codec.feed(&wire[..got])?;
    Ok(codec.take())
}
