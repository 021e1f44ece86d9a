//! Many envelopes of one peer at once: what costs most about each is done together, on all cores.

use crate::cores::spread;
use crate::envelope::{self, Envelope, EnvelopeError};
use crate::hash::{self, DIGEST_LEN};
use crate::identity::{Identity, KEY_LEN, PublicKey};

/// An envelope with what can be said of it before anybody asks. The verdict is nobody's until the checks that come
/// before step 9 have passed (VAL-1).
#[derive(Debug, Clone)]
pub struct Opened<B> {
    /// It.
    pub envelope: Envelope<B>,
    /// BLAKE3-256 of all its bytes.
    pub digest: [u8; DIGEST_LEN],
    /// See [`Envelope::content_digest`].
    pub content_digest: [u8; DIGEST_LEN],
    /// What [`Envelope::verify`] gives for the key that was named.
    pub verdict: Result<(), EnvelopeError>,
}

/// Parses each of `envelopes` and verifies it strictly and by itself (SIG-3). What [`Envelope::parse`] refuses is
/// `None`: it says why.
pub fn open<B: AsRef<[u8]> + Send>(
    envelopes: Vec<B>,
    public_key: &[u8; KEY_LEN],
    max_len: usize,
) -> Vec<Option<Opened<B>>> {
    let key = PublicKey::new(public_key).ok();
    spread(envelopes, |bytes| {
        let envelope = Envelope::parse(bytes, max_len).ok()?;
        let (digest, content_digest) = (hash::blake3(envelope.bytes()), envelope.content_digest());
        let verdict = envelope.verify_with(key.as_ref());
        Some(Opened { envelope, digest, content_digest, verdict })
    })
}

/// Seals each of `unsigned`, as [`envelope::seal`].
pub fn seal<B: AsRef<[u8]> + Send>(
    identity: &Identity,
    unsigned: Vec<B>,
    max_len: usize,
) -> Vec<Result<Vec<u8>, EnvelopeError>> {
    spread(unsigned, |bytes| envelope::seal(identity, bytes.as_ref(), max_len))
}
