//! BLAKE3-256, the one hash of the project: fingerprints, content digests, chains, blobs, claim keys.

/// Size of a digest in bytes.
pub const DIGEST_LEN: usize = 32;

/// The BLAKE3-256 of `bytes`.
#[must_use]
pub fn blake3(bytes: &[u8]) -> [u8; DIGEST_LEN] {
    *blake3::hash(bytes).as_bytes()
}

/// The BLAKE3-256 of `bytes` under a key: who does not hold it can neither guess nor recognise short values.
#[must_use]
pub fn blake3_keyed(key: &[u8; DIGEST_LEN], bytes: &[u8]) -> [u8; DIGEST_LEN] {
    *blake3::keyed_hash(key, bytes).as_bytes()
}

/// The BLAKE3-256 of the concatenation of `pieces`, without concatenating them.
#[must_use]
pub fn blake3_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> [u8; DIGEST_LEN] {
    let mut hasher = blake3::Hasher::new();
    for piece in pieces {
        hasher.update(piece);
    }
    *hasher.finalize().as_bytes()
}

/// The BLAKE3-256 of what comes in pieces, too long to be held at once.
#[derive(Debug, Default)]
pub struct Running(blake3::Hasher);

impl Running {
    /// Adds a piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of all pieces so far.
    #[must_use]
    pub fn digest(&self) -> [u8; DIGEST_LEN] {
        *self.0.finalize().as_bytes()
    }
}

/// `digest` in lowercase hex, the only spelling of a hash in Web4 (SIG-4).
#[must_use]
pub fn hex(digest: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    digest
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}
