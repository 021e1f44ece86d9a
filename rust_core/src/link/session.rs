//! A session on its carrier: what is read changes it, what it has to say is written as far as the wire takes it.

use std::time::Instant;

use super::{Arrival, Conduit, FRAME_BUFFER, Wire};
use crate::carrier::{Carrier, CarrierError};
use crate::rtt::{Nanos, Session};

/// Records that are encrypted before they are written in one call. More would make a control message wait longer
/// behind them, fewer would cost a call each (RTT-21).
const RECORDS_PER_WRITE: usize = 4;
/// Reads in a row before others get their turn.
const READS_PER_TURN: usize = 4;

/// A session and the carrier under it.
#[derive(Debug)]
pub struct SessionLink {
    conduit: Conduit,
    session: Session,
    failure: Option<CarrierError>,
    blocked: bool,
    finished: bool,
    /// What the driver said the time was, and when it said so.
    told: Option<(Nanos, Instant)>,
}

impl SessionLink {
    pub(super) fn from_parts(conduit: Conduit, session: Session) -> SessionLink {
        SessionLink { conduit, session, failure: None, blocked: false, finished: false, told: None }
    }

    /// The session.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The carrier, for its binding and the peer's key.
    pub fn carrier(&self) -> &Carrier {
        &self.conduit.carrier
    }

    /// Lets go of the wire, so that its socket can be closed.
    pub fn release(&mut self) {
        self.conduit.wire = Wire::Gone;
        self.finished = true;
    }

    /// The TLS error that ended the carrier, if one did.
    pub fn failure(&self) -> Option<&CarrierError> {
        self.failure.as_ref()
    }

    /// Whether the wire took less than there was: call `write` again when it takes more.
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether nothing more will be read or written.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Reads what is there, does what is due, and writes what follows from it.
    pub fn advance(&mut self, now: Nanos) {
        self.told = Some((now, Instant::now()));
        for _ in 0..READS_PER_TURN {
            let session = &mut self.session;
            // A violation closes the session, which then ignores the rest and says why itself.
            let arrival = self.conduit.read(|plaintext| {
                session.receive_plaintext(plaintext, now).ok();
            });
            match arrival {
                Ok(Arrival::More) => continue,
                Ok(Arrival::Drained) => break,
                Ok(Arrival::Ended) => {}
                Err(error) => self.failure = Some(error),
            }
            self.conduit.flush();
            self.session.carrier_lost();
            self.finished = true;
            return;
        }
        if self.session.deadline().is_some_and(|deadline| deadline <= now) {
            self.session.handle_timeout(now);
        }
        self.write();
    }

    /// Writes what the session has to say, as far as the wire takes it.
    pub fn write(&mut self) {
        self.blocked = !self.conduit.flush();
        while !self.blocked && !self.finished && self.encrypt_some() {
            self.blocked = !self.conduit.flush();
        }
        if self.session.closed().is_some() && !self.finished {
            // One attempt (RTT-61). A peer that reads nothing would else hold the socket for as long as it likes.
            if !self.blocked {
                self.conduit.carrier.close();
                self.conduit.flush();
            }
            (self.finished, self.blocked) = (true, false);
        }
    }

    fn encrypt_some(&mut self) -> bool {
        FRAME_BUFFER.with_borrow_mut(|frames| {
            let mut some = false;
            for _ in 0..RECORDS_PER_WRITE {
                frames.clear();
                if !self.session.transmit(frames) {
                    break;
                }
                self.conduit.encrypt(frames);
                some = true;
            }
            if self.session.wants_time()
                && let Some((now, at)) = self.told
            {
                self.session.written_at(now.saturating_add(at.elapsed().as_nanos() as Nanos));
            }
            some
        })
    }
}
