//! A session on its carrier: what is read changes it, what it has to say is written as far as the wire takes it.

use super::{Arrival, Conduit, FRAME_BUFFER, Wire};
use bytes::Bytes;

use crate::carrier::{Carrier, CarrierError};
use crate::rtt::{ChannelId, Nanos, Offered, SendError, Session, Ticket};

/// Records that are encrypted before they are written in one call. More would make a control message wait longer
/// behind them, fewer would cost a call each (RTT-21).
const RECORDS_PER_WRITE: usize = 4;
/// Bytes of single messages that share a write at most: about one TLS record.
const SHARED_BYTES: usize = 16 * 1024;
/// What a message counts for beyond its bytes, so that empty ones are bounded, too.
const MESSAGE_COST: usize = 32;
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
    /// A message was written a moment ago, and the driver says when that moment is over: what is sent until then may
    /// wait for more.
    burst: bool,
    /// What waits for a shared write, in bytes.
    held: usize,
}

impl SessionLink {
    pub(super) fn from_parts(conduit: Conduit, session: Session) -> SessionLink {
        super::heap::settle();
        SessionLink {
            conduit,
            session,
            failure: None,
            blocked: false,
            finished: false,
            burst: false,
            held: 0,
        }
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

    /// Whether the driver has to say when the burst is over.
    pub fn is_bursting(&self) -> bool {
        self.burst
    }

    /// Hands one message to a channel, and writes it, or lets it wait for those that follow.
    ///
    /// The first message after a pause is written at once. Those of a burst share a write, as long as that changes
    /// nothing but the number of writes: control never waits (RTT-21), and what has no room is offered when
    /// everything before it is written, so that no policy acts on what only this has kept in the queue (RTT-40).
    ///
    /// # Errors
    /// As `Session::send`.
    pub fn send_one(
        &mut self,
        channel: ChannelId,
        message: Bytes,
        wait: bool,
        ticket: Ticket,
    ) -> Result<Offered, SendError> {
        let size = message.len();
        let may_wait = self.session.may_share_write(channel, size);
        if !may_wait {
            self.write_held();
        }
        let offered = self.session.send(channel, vec![message], wait, ticket)?;
        self.held += size + MESSAGE_COST;
        if !self.burst || !may_wait || self.held >= SHARED_BYTES {
            self.burst = true;
            self.write_held();
        }
        Ok(offered)
    }

    /// Writes what waits for a shared write.
    pub fn write_held(&mut self) {
        if self.held > 0 && !self.blocked {
            self.write();
        }
    }

    /// Some time has passed since the burst began or this was called: writes what was held meanwhile. The burst is
    /// over if nothing was, or if the driver is about to sleep.
    pub fn end_burst(&mut self, sleeps: bool) {
        self.burst = self.held > 0 && !sleeps;
        self.write_held();
    }

    /// Reads what is there, does what is due, and writes what follows from it.
    pub fn advance(&mut self, now: Nanos) {
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
        self.held = 0;
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
            some
        })
    }
}
