//! I/O thread: a native thread owns the socket; two bounded rings and one eventfd join it to Trio.
//!
//! The thread holds no Python object. Whoever fills an empty ring wakes the other side once, and only when it
//! said that it sleeps.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use pyo3::exceptions::PyConnectionError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::codec::{Batch, Codec, frame};
use crate::descriptor::{EventFd, Socket};

/// Bytes each ring may hold before its writer waits; with 1 MiB the rate at 1 KiB and above halves.
const RING: usize = 256 * 1024;

struct Rings {
    inbox: VecDeque<Batch>,
    inbox_bytes: usize,
    outbox: Vec<u8>,
    drained: Vec<Vec<u8>>,
    python_waits: bool,
    thread_sleeps: bool,
    thread_wants_room: bool,
    failed: Option<String>,
    closed: bool,
}

struct Shared {
    rings: Mutex<Rings>,
    to_python: EventFd,
    to_thread: EventFd,
}

#[pyclass(frozen)]
pub struct IoThread {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

fn lost(error: io::Error) -> PyErr {
    PyConnectionError::new_err(error.to_string())
}

#[pymethods]
impl IoThread {
    #[new]
    fn new(fd: i32, certificate: Vec<u8>, key: Option<Vec<u8>>) -> PyResult<Self> {
        let codec = Codec::new(certificate, key).map_err(lost)?;
        let rings = Rings {
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            outbox: Vec::new(),
            drained: Vec::new(),
            python_waits: false,
            thread_sleeps: false,
            thread_wants_room: false,
            failed: None,
            closed: false,
        };
        let shared = Arc::new(Shared {
            rings: Mutex::new(rings),
            to_python: EventFd::new().map_err(lost)?,
            to_thread: EventFd::new().map_err(lost)?,
        });
        let worker = Worker { shared: shared.clone(), socket: Socket(fd), codec, held: None };
        let thread = std::thread::Builder::new().name("shapes-io".into()).spawn(move || worker.run())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// The eventfd that is readable when messages or room have come.
    fn fileno(&self) -> i32 {
        self.shared.to_python.raw()
    }

    /// Drain the inbox; when it is empty, ask for a wake-up and return an empty list.
    fn receive<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let mut rings = self.shared.rings.lock().unwrap();
        let batches = std::mem::take(&mut rings.inbox);
        rings.inbox_bytes = 0;
        if batches.is_empty() {
            if let Some(text) = &rings.failed {
                return Err(PyConnectionError::new_err(text.clone()));
            }
            self.shared.to_python.clear();
            rings.python_waits = true;
        } else if std::mem::take(&mut rings.thread_wants_room) {
            self.shared.to_thread.set();
        }
        drop(rings);
        let list = PyList::empty(py);
        let mut drained = Vec::new();
        for batch in batches {
            for range in batch.messages {
                list.append(PyBytes::new(py, &batch.plain[range]))?;
            }
            drained.push(batch.plain);
        }
        if !drained.is_empty() {
            self.shared.rings.lock().unwrap().drained.append(&mut drained);
        }
        Ok(list)
    }

    /// Put messages from `first` on into the outbox: how many are taken in all, and whether to wait for room.
    fn send(&self, messages: &Bound<'_, PyList>, first: usize) -> PyResult<(usize, bool)> {
        let mut rings = self.shared.rings.lock().unwrap();
        if let Some(text) = &rings.failed {
            return Err(PyConnectionError::new_err(text.clone()));
        }
        let mut taken = first;
        for item in messages.iter().skip(first) {
            if rings.outbox.len() >= RING {
                break;
            }
            frame(&mut rings.outbox, item.cast::<PyBytes>()?.as_bytes());
            taken += 1;
        }
        if taken > first && std::mem::take(&mut rings.thread_sleeps) {
            self.shared.to_thread.set();
        }
        let wait = taken < messages.len();
        if wait {
            if rings.inbox.is_empty() {
                self.shared.to_python.clear();
            }
            rings.python_waits = true;
        }
        Ok((taken, wait))
    }

    /// End the thread; it writes nothing more.
    fn close(&self, py: Python<'_>) {
        self.shared.rings.lock().unwrap().closed = true;
        self.shared.to_thread.set();
        let thread = self.thread.lock().unwrap().take();
        py.detach(|| thread.map(JoinHandle::join));
    }
}

struct Worker {
    shared: Arc<Shared>,
    socket: Socket,
    codec: Codec,
    /// Messages for which the inbox had no room.
    held: Option<Batch>,
}

impl Worker {
    fn run(mut self) {
        if let Err(error) = self.work() {
            let mut rings = self.shared.rings.lock().unwrap();
            rings.failed = Some(error.to_string());
            self.shared.to_python.set();
        }
    }

    fn work(&mut self) -> io::Result<()> {
        let mut wire = vec![0; 256 * 1024];
        let mut spare = Vec::new();
        loop {
            let mut moved = false;
            if self.held.is_none()
                && let Some(got) = self.socket.receive(&mut wire)?
            {
                moved = true;
                self.codec.feed(&wire[..got])?;
                let batch = self.codec.take();
                if !batch.messages.is_empty() {
                    self.held = Some(batch);
                }
            }
            self.deliver();
            let writable = self.codec.flush(self.socket)?;
            if writable && !self.codec.is_handshaking() && self.take_outbox(&mut spare)? {
                moved = true;
                self.codec.flush(self.socket)?;
            }
            if !moved && !self.sleep()? {
                return Ok(());
            }
        }
    }

    /// Hand held messages to Python if the inbox has room.
    fn deliver(&mut self) {
        let Some(batch) = self.held.take() else {
            return;
        };
        let mut rings = self.shared.rings.lock().unwrap();
        if rings.inbox_bytes >= RING {
            rings.thread_wants_room = true;
            self.held = Some(batch);
            return;
        }
        for plain in rings.drained.drain(..) {
            self.codec.recycle(plain);
        }
        rings.inbox_bytes += batch.plain.len();
        rings.inbox.push_back(batch);
        if std::mem::take(&mut rings.python_waits) {
            self.shared.to_python.set();
        }
    }

    /// Encrypt everything queued; false when there was nothing.
    fn take_outbox(&mut self, spare: &mut Vec<u8>) -> io::Result<bool> {
        spare.clear(); // keeps its capacity for the swap
        {
            let mut rings = self.shared.rings.lock().unwrap();
            if rings.outbox.is_empty() {
                return Ok(false);
            }
            std::mem::swap(&mut rings.outbox, spare);
            if std::mem::take(&mut rings.python_waits) {
                self.shared.to_python.set();
            }
        }
        self.codec.encode_framed(spare)?;
        Ok(true)
    }

    /// Wait for the socket or for Python; false when the link is closed.
    fn sleep(&mut self) -> io::Result<bool> {
        let blocked = self.codec.wants_write();
        {
            let mut rings = self.shared.rings.lock().unwrap();
            if rings.closed {
                return Ok(false);
            }
            let can_send = !blocked && !self.codec.is_handshaking();
            if can_send && !rings.outbox.is_empty() || self.held.is_some() && rings.inbox_bytes < RING {
                return Ok(true);
            }
            rings.thread_sleeps = can_send;
        }
        let mut interest = 0;
        if self.held.is_none() {
            interest |= libc::POLLIN;
        }
        if blocked {
            interest |= libc::POLLOUT;
        }
        let mut waits = [
            libc::pollfd { fd: self.socket.0, events: interest, revents: 0 },
            libc::pollfd { fd: self.shared.to_thread.raw(), events: libc::POLLIN, revents: 0 },
        ];
        // SAFETY: the pointer and count describe `waits`, which outlives the call.
        if unsafe { libc::poll(waits.as_mut_ptr(), 2, -1) } < 0 {
            return Err(io::Error::last_os_error());
        }
        if waits[1].revents != 0 {
            self.shared.to_thread.clear();
        }
        self.shared.rings.lock().unwrap().thread_sleeps = false;
        Ok(true)
    }
}
