//! A session and the carrier it has just now: what is read changes the session, what that has to say is written as far as
//! the wire takes it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::{Arrival, Conduit, FRAME_BUFFER, OpeningLink, WireFull};
use crate::carrier::{Carrier, CarrierError};
use crate::rtt::{Budget, ChannelId, Code, Nanos, Offered, SendError, Session, State, Ticket};

/// Records that are encrypted before they are written in one call. More would make a control message wait longer
/// behind them, fewer would cost a call each (RTT-21).
const RECORDS_PER_WRITE: usize = 4;
/// Bytes of single messages that share a write at most: about one TLS record.
const SHARED_BYTES: usize = 16 * 1024;
/// What a message counts for beyond its bytes, so that empty ones are bounded, too.
const MESSAGE_COST: usize = 32;
/// Reads in a row before others get their turn.
const READS_PER_TURN: usize = 4;

/// A session and the carrier under it, while it has one.
#[derive(Debug)]
pub struct SessionLink {
    conduit: Option<Conduit>,
    session: Session,
    /// The peer's public key and fingerprint, proven by the first carrier and by each that follows.
    peer: ([u8; 32], [u8; 32]),
    failure: Option<CarrierError>,
    blocked: bool,
    /// A message was written a moment ago, and the driver says when that moment is over: what is sent until then may
    /// wait for more.
    burst: bool,
    /// What waits for a shared write, in bytes.
    held: usize,
    farewell: Vec<Vec<u8>>,
    /// What the driver said the time was, and when it said so.
    told: (Nanos, Instant),
}

/// Why a carrier did not become a session's.
#[derive(Debug)]
pub enum AttachError {
    /// It has not opened, or not to resume a session. Here it is again.
    NotResumed(Box<OpeningLink>),
    /// The session does not take it; see `Session::resume`.
    Refused(Code),
}

impl SessionLink {
    pub(super) fn from_parts(conduit: Conduit, session: Session, now: Nanos) -> SessionLink {
        super::heap::settle();
        let carrier = &conduit.carrier;
        let peer = carrier.peer_public_key().copied().zip(carrier.peer_fingerprint().copied());
        let peer = peer.unwrap_or_default();
        SessionLink {
            conduit: Some(conduit),
            session,
            peer,
            failure: None,
            blocked: false,
            burst: false,
            held: 0,
            farewell: Vec::new(),
            told: (now, Instant::now()),
        }
    }

    /// The session.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Counts what the session holds into the memory of its peer and of the endpoint, and keeps it to that.
    pub fn share_memory(&mut self, memory: &Arc<Budget>) {
        let share = memory.share(self.peer.1, self.session.id());
        self.session.share_memory(share);
    }

    /// The peer's raw public key.
    pub fn peer_public_key(&self) -> &[u8; 32] {
        &self.peer.0
    }

    /// The peer's fingerprint.
    pub fn peer_fingerprint(&self) -> &[u8; 32] {
        &self.peer.1
    }

    /// The carrier, for its binding.
    pub fn carrier(&self) -> Option<&Carrier> {
        self.conduit.as_ref().map(|conduit| &conduit.carrier)
    }

    /// Lets go of the carrier, so that its socket can be closed.
    pub fn release(&mut self) {
        if let Some(mut conduit) = self.conduit.take() {
            self.farewell = conduit.farewell();
        }
        (self.blocked, self.burst, self.held) = (false, false, 0);
    }

    /// The TLS error that ended the latest carrier, if one did.
    pub fn failure(&self) -> Option<&CarrierError> {
        self.failure.as_ref()
    }

    /// Whether the wire took less than there was: call `write` again when it takes more.
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Buffered wire: whether there is something to `take_output`.
    pub fn has_output(&self) -> bool {
        self.conduit.as_ref().is_some_and(Conduit::has_output)
    }

    /// Buffered wire: what arrived. `advance` takes it in.
    ///
    /// # Errors
    /// `WireFull`: nothing was taken, `advance` comes first.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), WireFull> {
        self.conduit.as_mut().map_or(Ok(()), |conduit| conduit.feed(bytes))
    }

    /// Buffered wire: nothing more will arrive.
    pub fn feed_end(&mut self) {
        if let Some(conduit) = self.conduit.as_mut() {
            conduit.feed_end();
        }
    }

    /// Buffered wire: what is to be written next, after as much as fits was encrypted; empty when that is all. What
    /// was taken before is written by now.
    pub fn take_output(&mut self) -> Vec<u8> {
        if let Some(conduit) = self.conduit.as_mut() {
            conduit.landed();
            self.write();
        }
        self.conduit.as_mut().map_or_else(Vec::new, Conduit::take)
    }

    /// Buffered wire, once it is let go of: what was encrypted and is not written, such as CLOSE. Once.
    pub fn take_farewell(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.farewell)
    }

    /// Whether there is no carrier to read or write: because the session is closed, or suspended.
    pub fn is_detached(&self) -> bool {
        self.conduit.is_none()
    }

    /// Goes on upon a carrier that opened by a resume. The one of before is let go of, and what it still brings ignored.
    ///
    /// # Errors
    /// `AttachError`; a carrier that the session refused is gone.
    pub fn attach(&mut self, opening: OpeningLink, now: Nanos) -> Result<(), AttachError> {
        let (conduit, here) = opening.into_resumed().map_err(AttachError::NotResumed)?;
        self.session.resume(&here.resumed, now).map_err(AttachError::Refused)?;
        self.told = (now, Instant::now());
        (self.conduit, self.failure, self.farewell) = (Some(conduit), None, Vec::new());
        // Whoever looked after a burst on the carrier of before knows nothing of this one.
        (self.blocked, self.burst, self.held) = (false, false, 0);
        // A violation closes the session, which says why itself.
        self.session.receive_plaintext(&here.rest, now).ok();
        self.write();
        Ok(())
    }

    /// Initiator: a carrier that was dialled to resume this session, and is not attached, is given up.
    pub fn give_up(&mut self, opening: &OpeningLink) {
        if let Some(resumed) = opening.resumed() {
            self.session.learn_ticket(resumed);
        }
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
            // Without a carrier nothing is written, and nobody looks after the burst.
            self.burst = !self.is_detached();
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
        self.told = (now, Instant::now());
        for _ in 0..READS_PER_TURN {
            let SessionLink { conduit: Some(conduit), session, .. } = self else { break };
            // A violation closes the session, which then ignores the rest and says why itself.
            let arrival = conduit.read(|plaintext| {
                session.receive_plaintext(plaintext, now).ok();
            });
            match arrival {
                Ok(Arrival::More) => continue,
                Ok(Arrival::Drained) => break,
                Ok(Arrival::Ended) => {}
                Err(error) => self.failure = Some(error),
            }
            conduit.flush();
            return self.carrier_lost(now);
        }
        if self.session.deadline().is_some_and(|deadline| deadline <= now) {
            self.session.handle_timeout(now);
        }
        self.write();
    }

    /// The carrier is gone.
    pub fn carrier_lost(&mut self, now: Nanos) {
        self.session.carrier_lost(now);
        self.release();
    }

    /// Writes what the session has to say, as far as the wire takes it.
    pub fn write(&mut self) {
        self.held = 0;
        self.blocked = !self.flush();
        while !self.blocked && self.encrypt_some() {
            self.blocked = !self.flush();
        }
        match self.session.state() {
            State::Open | State::Closing => {}
            State::Suspended => self.release(),
            State::Closed => self.say_goodbye(),
        }
    }

    /// One attempt (RTT-61). A peer that reads nothing would else hold the socket for as long as it likes. A buffered
    /// wire has room for it whatever its stream does; there the driver bounds the attempt.
    fn say_goodbye(&mut self) {
        if self.conduit.as_mut().is_some_and(|conduit| conduit.wire.buffered().is_some()) {
            self.blocked = false;
            self.encrypt_some();
        }
        if let Some(conduit) = self.conduit.as_mut().filter(|_| !self.blocked) {
            conduit.carrier.close();
            conduit.flush();
        }
        self.release();
    }

    fn flush(&mut self) -> bool {
        self.conduit.as_mut().is_none_or(Conduit::flush)
    }

    fn encrypt_some(&mut self) -> bool {
        let SessionLink { conduit: Some(conduit), session, told, .. } = self else { return false };
        FRAME_BUFFER.with_borrow_mut(|frames| {
            let mut some = false;
            for _ in 0..RECORDS_PER_WRITE {
                if session.take_rekey() {
                    conduit.refresh_keys();
                    some = true;
                }
                frames.clear();
                if !session.transmit(frames) {
                    break;
                }
                conduit.encrypt(frames);
                some = true;
            }
            if session.wants_time() {
                session.written_at(Some(told.0 + told.1.elapsed().as_nanos() as Nanos));
            }
            some
        })
    }
}
