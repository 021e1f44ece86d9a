//! The hash chain of a journal's lane (JRN-3): headers in canonical form, payloads by salted hash.
//!
//! A record's hash covers its header and the hash of its payload, never the payload itself: payload and salt can be
//! erased, and the chain still verifies (JRN-3e).

use crate::canonical::write_string;
use crate::hash::{DIGEST_LEN, blake3_pieces};

const GENESIS: &str = "web4 journal genesis v1";
const RECORD: &str = "web4 journal record v1";

/// A BLAKE3-256.
pub type Digest = [u8; DIGEST_LEN];

/// What a record says about itself, beside its place.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    /// Unix milliseconds.
    pub at: i64,
    /// Lane and number of the record that led to this one.
    pub cause: Option<(&'a str, u64)>,
    /// On whose behalf.
    pub principal: Option<&'a str>,
    /// What history finds it by, sorted.
    pub refs: &'a [(&'a str, &'a str)],
    /// Registered type of the event.
    pub kind: &'a str,
    /// Version of its schema.
    pub version: u16,
}

/// The `prev` of a lane's first record: lanes of different journals have different ones (JRN-3d).
#[must_use]
pub fn genesis(journal_id: &[u8], lane: &str) -> Digest {
    *blake3::Hasher::new_derive_key(GENESIS).update(journal_id).update(lane.as_bytes()).finalize().as_bytes()
}

/// The RFC 8785 bytes of a header (JRN-3b).
#[must_use]
pub fn header(lane: &str, seq: u64, fields: &Fields<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    out.extend_from_slice(b"{\"at\":");
    out.extend_from_slice(fields.at.to_string().as_bytes());
    out.extend_from_slice(b",\"cause\":");
    match fields.cause {
        None => out.extend_from_slice(b"null"),
        Some((lane, seq)) => {
            out.push(b'[');
            write_string(lane, &mut out);
            out.push(b',');
            out.extend_from_slice(seq.to_string().as_bytes());
            out.push(b']');
        }
    }
    out.extend_from_slice(b",\"lane\":");
    write_string(lane, &mut out);
    out.extend_from_slice(b",\"principal\":");
    match fields.principal {
        None => out.extend_from_slice(b"null"),
        Some(principal) => write_string(principal, &mut out),
    }
    out.extend_from_slice(b",\"refs\":[");
    for (index, (kind, value)) in fields.refs.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"[" } else { b",[" });
        write_string(kind, &mut out);
        out.push(b',');
        write_string(value, &mut out);
        out.push(b']');
    }
    out.extend_from_slice(b"],\"seq\":");
    out.extend_from_slice(seq.to_string().as_bytes());
    out.extend_from_slice(b",\"type\":");
    write_string(fields.kind, &mut out);
    out.extend_from_slice(b",\"v\":");
    out.extend_from_slice(fields.version.to_string().as_bytes());
    out.push(b'}');
    out
}

/// The hash of a payload under its salt (JRN-3a).
#[must_use]
pub fn payload_hash(salt: &[u8], payload: &[u8]) -> Digest {
    blake3_pieces([salt, payload])
}

/// The hash of a record that follows `prev` (JRN-3c).
///
/// # Panics
/// Panics if the header is 4 GiB or longer, which none can be.
#[must_use]
pub fn record_hash(prev: &[u8], header: &[u8], payload_hash: &[u8]) -> Digest {
    let length = u32::try_from(header.len()).expect("a header is shorter than 4 GiB");
    *blake3::Hasher::new_derive_key(RECORD)
        .update(prev)
        .update(&length.to_le_bytes())
        .update(header)
        .update(payload_hash)
        .finalize()
        .as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<'a>(refs: &'a [(&'a str, &'a str)]) -> Fields<'a> {
        Fields {
            at: -7,
            cause: Some(("server", 3)),
            principal: Some("a\"\u{1f}\u{20ac}"),
            refs,
            kind: "note.taken",
            version: 2,
        }
    }

    /// JRN-3b: what the header's writer spells is its own canonical form, whatever a principal is called.
    #[test]
    fn a_header_is_canonical() {
        let refs = [("command", "c\n1"), ("session", "s")];
        for refs in [&refs[..], &refs[..1], &[]] {
            let written = header("session:s", u64::from(u32::MAX), &fields(refs));
            assert_eq!(crate::canonical::canonicalize(&written).unwrap(), written);
        }
        let bare = Fields { cause: None, principal: None, ..fields(&[]) };
        assert_eq!(
            header("server", 1, &bare),
            b"{\"at\":-7,\"cause\":null,\"lane\":\"server\",\"principal\":null,\"refs\":[],\"seq\":1,\"type\":\"note.taken\",\"v\":2}"
        );
    }

    /// JRN-3c: where one input ends and the next begins is part of the hash, and so is each of them.
    #[test]
    fn every_part_counts() {
        let genesis = genesis(&[1; 16], "server");
        let whole = record_hash(&genesis, b"{}", &[2; 32]);
        assert_ne!(whole, record_hash(&[0; 32], b"{}", &[2; 32]));
        assert_ne!(whole, record_hash(&genesis, b"{ }", &[2; 32]));
        assert_ne!(whole, record_hash(&genesis, b"{}", &[3; 32]));
        assert_ne!(genesis, super::genesis(&[1; 16], "knowledge"));
        assert_ne!(genesis, super::genesis(&[2; 16], "server"));
        assert_ne!(payload_hash(&[0; 16], b"x"), payload_hash(&[1; 16], b"x"));
    }
}
