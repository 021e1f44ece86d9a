//! The sessions of an endpoint, by what decides about them: whose they are, how many, and which have no carrier
//! (sections 9 and 15). The sessions themselves are with their driver; this says which of them to end.

use std::collections::{BTreeMap, BTreeSet};

use super::code::Code;
use super::limits::Nanos;
use super::opening_frame::{BootId, SessionId};

/// An endpoint's proven name: the hash of its public key.
pub type Fingerprint = [u8; 32];

/// How many sessions an endpoint keeps (section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLimits {
    /// Of one peer.
    pub sessions_per_peer: u32,
    /// Altogether.
    pub sessions: u32,
    /// Without a carrier.
    pub suspended: u32,
}

/// What an identity that names a session may be told about it (RTT-33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is its own.
    Own,
    /// There is none of that name.
    Unknown,
    /// It is somebody else's: to be told the same, and remembered as evidence.
    Foreign,
}

#[derive(Debug)]
struct Entry {
    peer: Fingerprint,
    boot_id: BootId,
    suspended_at: Option<Nanos>,
}

/// Who has which session, and since when without a carrier.
#[derive(Debug)]
pub struct SessionTable {
    limits: TableLimits,
    entries: BTreeMap<SessionId, Entry>,
    by_peer: BTreeSet<(Fingerprint, SessionId)>,
    suspended: BTreeSet<(Nanos, SessionId)>,
}

impl SessionTable {
    /// An empty table.
    pub fn new(limits: TableLimits) -> SessionTable {
        SessionTable {
            limits,
            entries: BTreeMap::new(),
            by_peer: BTreeSet::new(),
            suspended: BTreeSet::new(),
        }
    }

    /// Sessions that are not over, those included that were granted and are not confirmed: opening many at once
    /// would pass every limit otherwise.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sessions of one peer, oldest name first.
    pub fn of_peer(&self, peer: &Fingerprint) -> impl Iterator<Item = SessionId> + '_ {
        self.by_peer.range((*peer, [0; 16])..=(*peer, [0xff; 16])).map(|(_, id)| *id)
    }

    /// The sessions that a later start of the same peer ends: it cannot know them any more (RTT-35).
    pub fn of_earlier_boots(&self, peer: &Fingerprint, boot_id: &BootId) -> Vec<SessionId> {
        self.of_peer(peer)
            .filter(|id| self.entries.get(id).is_some_and(|entry| entry.boot_id != *boot_id))
            .collect()
    }

    /// Whether a peer may have one session more.
    ///
    /// # Errors
    /// `LIMIT` or `BUSY`, to refuse with (RTT-36).
    pub fn check_room(&self, peer: &Fingerprint) -> Result<(), Code> {
        if self.of_peer(peer).count() >= self.limits.sessions_per_peer as usize {
            return Err(Code::LIMIT);
        }
        if self.entries.len() >= self.limits.sessions as usize {
            return Err(Code::BUSY);
        }
        Ok(())
    }

    /// A session was granted, or opened here.
    pub fn insert(&mut self, id: SessionId, peer: Fingerprint, boot_id: BootId) {
        self.remove(&id);
        self.by_peer.insert((peer, id));
        self.entries.insert(id, Entry { peer, boot_id, suspended_at: None });
    }

    /// A session is over, or was never confirmed.
    pub fn remove(&mut self, id: &SessionId) {
        self.resume(id);
        if let Some(entry) = self.entries.remove(id) {
            self.by_peer.remove(&(entry.peer, *id));
        }
    }

    /// What a session is to the peer that asks to resume it.
    pub fn find(&self, id: &SessionId, peer: &Fingerprint) -> Found {
        match self.entries.get(id) {
            None => Found::Unknown,
            Some(entry) if entry.peer == *peer => Found::Own,
            Some(_) => Found::Foreign,
        }
    }

    /// A session lost its carrier. Names the one that has been without for longest if there are too many now: it is
    /// lost (`evicted`).
    pub fn suspend(&mut self, id: &SessionId, now: Nanos) -> Option<SessionId> {
        let entry = self.entries.get_mut(id)?;
        if entry.suspended_at.is_none() {
            entry.suspended_at = Some(now);
            self.suspended.insert((now, *id));
        }
        let crowded = self.suspended.len() > self.limits.suspended as usize;
        self.suspended.first().filter(|_| crowded).map(|(_, longest)| *longest)
    }

    /// A session has a carrier again.
    pub fn resume(&mut self, id: &SessionId) {
        if let Some(since) = self.entries.get_mut(id).and_then(|entry| entry.suspended_at.take()) {
            self.suspended.remove(&(since, *id));
        }
    }

    /// How many sessions have no carrier.
    pub fn suspended(&self) -> usize {
        self.suspended.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TableLimits = TableLimits { sessions_per_peer: 2, sessions: 3, suspended: 2 };

    fn table(entries: &[(u8, u8, u8)]) -> SessionTable {
        let mut table = SessionTable::new(LIMITS);
        for (id, peer, boot) in entries {
            table.insert([*id; 16], [*peer; 32], [*boot; 16]);
        }
        table
    }

    #[test]
    fn room_is_counted_per_peer_and_altogether() {
        let mut table = table(&[(1, 1, 1), (2, 1, 1)]);
        assert_eq!(table.check_room(&[1; 32]), Err(Code::LIMIT));
        assert_eq!(table.check_room(&[2; 32]), Ok(()));
        table.insert([3; 16], [2; 32], [1; 16]);
        assert_eq!(table.check_room(&[2; 32]), Err(Code::BUSY));
        table.remove(&[1; 16]);
        assert_eq!(table.check_room(&[1; 32]), Ok(()));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_session_is_found_by_its_own_peer_alone() {
        let table = table(&[(1, 1, 1)]);
        assert_eq!(table.find(&[1; 16], &[1; 32]), Found::Own);
        assert_eq!(table.find(&[1; 16], &[2; 32]), Found::Foreign);
        assert_eq!(table.find(&[2; 16], &[1; 32]), Found::Unknown);
    }

    #[test]
    fn sessions_of_earlier_boots_are_named() {
        let table = table(&[(1, 1, 1), (2, 1, 2), (3, 2, 1)]);
        assert_eq!(table.of_earlier_boots(&[1; 32], &[2; 16]), vec![[1; 16]]);
    }

    #[test]
    fn the_longest_suspended_makes_room() {
        let mut table = table(&[(1, 1, 1), (2, 1, 1), (3, 2, 1)]);
        assert_eq!(table.suspend(&[2; 16], 10), None);
        assert_eq!(table.suspend(&[2; 16], 15), None, "it is suspended already");
        assert_eq!(table.suspend(&[1; 16], 20), None);
        assert_eq!(table.suspend(&[3; 16], 30), Some([2; 16]));
        table.remove(&[2; 16]);
        assert_eq!(table.suspended(), 2);
        table.resume(&[1; 16]);
        assert_eq!(table.suspended(), 1);
        assert_eq!(table.suspend(&[9; 16], 40), None, "nobody's");
    }
}
