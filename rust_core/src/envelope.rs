//! The generic envelope: what one agent says to another, signed (sections 3 and 4 of the specification).
//!
//! [`Envelope::parse`] and [`Envelope::verify`] are two calls on purpose: schema checks stand between them
//! (VAL-1). What a type means, and which versions and types are known, is not decided here.

use std::borrow::Cow;
use std::ops::Range;

use base64ct::{Base64, Encoding};

use crate::canonical::{self, CanonicalError, Member};
use crate::hash;
use crate::identity::{BadSignature, Domain, Identity, KEY_LEN, PublicKey, SIGNATURE_LEN, SignatureCheck};

/// No canonical envelope is longer, whatever a node allows (ENV-3), in bytes.
pub const MAX_ENVELOPE_LEN: usize = 256 * 1024;

/// How many members a digest leaves out at most.
const MAX_CUTS: usize = 3;

/// What stands around the signature in the canonical form of `sign`.
const SIGN_HEAD: &str = r#"{"algo":"ed25519","signature":""#;
const SIGN_TAIL: &str = r#""}"#;

/// The protocols; the name is the envelope's discriminator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Agent to agent.
    Cip,
    /// Human to human, through agents.
    Hcp,
    /// Learning from the internet.
    Lip,
    /// From node to node over others (section 15). It has `id` in the place of `msg_id` and `created_at` in the
    /// place of `timestamp`, and its origin does not sign `hops`, to which every node that passes it on adds.
    Mesh,
}

impl Protocol {
    /// The name as it is written in an envelope.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cip => "cip",
            Self::Hcp => "hcp",
            Self::Lip => "lip",
            Self::Mesh => "mesh",
        }
    }

    fn from_key(key: &[u8]) -> Option<Self> {
        [Self::Cip, Self::Hcp, Self::Lip, Self::Mesh]
            .into_iter()
            .find(|protocol| protocol.name().as_bytes() == key)
    }

    /// The purpose of the envelope's signature (SIG-2).
    fn purpose(self) -> &'static str {
        match self {
            Self::Cip | Self::Hcp | Self::Lip => "envelope",
            Self::Mesh => "mesh",
        }
    }
}

/// Why an envelope is refused, in the order in which it is checked (VAL-1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Step 1.
    #[error("the envelope is longer than {limit} bytes")]
    TooLarge {
        /// The size that is allowed, in bytes.
        limit: usize,
    },
    /// Step 2.
    #[error("{0}")]
    Form(#[from] CanonicalError),
    /// Step 3: not an object with exactly one of `cip`, `hcp`, `lip`, `mesh`.
    #[error("an envelope is an object with exactly one of cip, hcp, lip and mesh")]
    Discriminator,
    /// Step 3: the version is not even a version.
    #[error("the version is not a short string")]
    Version(Protocol),
    /// Step 3: there is no type, or it is not a string.
    #[error("the type is missing or not a string")]
    Type,
    /// Step 4, as far as `sign` is concerned.
    #[error("missing, not allowed here, or not written in the one right way")]
    Field(&'static str),
    /// Step 9.
    #[error("{0}")]
    Signature(#[from] BadSignature),
}

impl EnvelopeError {
    /// The stable code (ERR-1).
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Form(CanonicalError::Syntax { .. }) => "syntax",
            Self::Form(CanonicalError::NotCanonical) => "not_canonical",
            Self::Discriminator => "discriminator",
            Self::Version(_) => "version",
            Self::Type => "unknown_type",
            Self::Field(_) => "field",
            Self::Signature(_) => "signature",
        }
    }

    /// The dotted path of the field concerned, if it is one.
    #[must_use]
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Version(protocol) => Some(protocol.name()),
            Self::Type => Some("type"),
            Self::Field(field) => Some(field),
            Self::Signature(_) => Some("sign.signature"),
            Self::TooLarge { .. } | Self::Form(_) | Self::Discriminator => None,
        }
    }
}

/// An envelope in canonical form, and where its parts lie in it.
#[derive(Debug, Clone)]
pub struct Envelope<B> {
    bytes: B,
    protocol: Protocol,
    version: Range<usize>,
    kind: Range<usize>,
    msg_id: Option<Range<usize>>,
    payload: Option<Range<usize>>,
    hops: Option<Member>,
    sign: Option<Member>,
    timestamp: Option<Member>,
}

impl<B: AsRef<[u8]>> Envelope<B> {
    /// Checks size, strict canonical syntax and the discriminator of `bytes`; verifies nothing.
    ///
    /// # Errors
    /// The first of `TooLarge`, `Form`, `Discriminator`, `Version`, `Type` that applies.
    pub fn parse(bytes: B, max_len: usize) -> Result<Self, EnvelopeError> {
        let data = bytes.as_ref();
        let limit = max_len.min(MAX_ENVELOPE_LEN);
        if data.len() > limit {
            return Err(EnvelopeError::TooLarge { limit });
        }
        let members = canonical::validate(data)?.ok_or(EnvelopeError::Discriminator)?;
        Self::from_members(bytes, members)
    }

    /// Step 3: `bytes` are canonical, and `members` are theirs.
    fn from_members(bytes: B, members: Vec<Member>) -> Result<Self, EnvelopeError> {
        let data = bytes.as_ref();
        let mut discriminator = None;
        let (mut kind, mut payload, mut sign) = (None, None, None);
        let (mut msg_id, mut timestamp) = (None, None);
        let (mut id, mut created_at, mut hops) = (None, None, None);
        for member in members {
            match &data[member.key.clone()] {
                b"created_at" => created_at = Some(member),
                b"hops" => hops = Some(member),
                b"id" => id = Some(member.value),
                b"msg_id" => msg_id = Some(member.value),
                b"payload" => payload = Some(member.value),
                b"sign" => sign = Some(member),
                b"timestamp" => timestamp = Some(member),
                b"type" => kind = Some(member.value),
                key => {
                    if let Some(protocol) = Protocol::from_key(key)
                        && discriminator.replace((protocol, member.value)).is_some()
                    {
                        return Err(EnvelopeError::Discriminator);
                    }
                }
            }
        }
        let (protocol, version) = discriminator.ok_or(EnvelopeError::Discriminator)?;
        let is_string = |value: &Range<usize>| data[value.start] == b'"';
        if !is_string(&version) {
            return Err(EnvelopeError::Version(protocol));
        }
        let kind = kind.filter(is_string).ok_or(EnvelopeError::Type)?;
        if protocol == Protocol::Mesh {
            (msg_id, timestamp) = (id, created_at);
        } else {
            hops = None;
        }
        let envelope = Self { protocol, version, kind, msg_id, payload, hops, sign, timestamp, bytes };
        envelope.domain_version()?;
        Ok(envelope)
    }

    /// The canonical bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Gives back what was parsed.
    #[must_use]
    pub fn inner(&self) -> &B {
        &self.bytes
    }

    /// The protocol that the discriminator names.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The protocol's version as it is written; whether it is known is the protocol's business.
    #[must_use]
    pub fn version(&self) -> Cow<'_, str> {
        self.text(&self.version).unwrap_or_default()
    }

    /// The type as it is written; whether it is known is the protocol's business.
    #[must_use]
    pub fn kind(&self) -> Cow<'_, str> {
        self.text(&self.kind).unwrap_or_default()
    }

    /// The message id (of a mesh envelope: `id`), if there is one and it is a string.
    #[must_use]
    pub fn msg_id(&self) -> Option<Cow<'_, str>> {
        self.msg_id.as_ref().and_then(|value| self.text(value))
    }

    /// The timestamp (of a mesh envelope: `created_at`), if there is one and it is a string.
    #[must_use]
    pub fn timestamp(&self) -> Option<Cow<'_, str>> {
        self.timestamp.as_ref().and_then(|member| self.text(&member.value))
    }

    /// The canonical bytes of the payload, if there is one.
    #[must_use]
    pub fn payload(&self) -> Option<&[u8]> {
        self.payload.clone().map(|value| &self.bytes()[value])
    }

    /// BLAKE3-256 of the canonical bytes without `sign` and `timestamp` (SIG-5), of a mesh envelope without
    /// `sign`, `created_at` and `hops`: what stays the same when a message is sent again.
    #[must_use]
    pub fn content_digest(&self) -> [u8; hash::DIGEST_LEN] {
        hash::blake3_pieces(self.without([&self.hops, &self.sign, &self.timestamp]))
    }

    /// The canonical bytes of a mesh envelope with one more entry of `hops` (MESH-3, step 7). The origin's
    /// signature stays as good as it was.
    ///
    /// # Errors
    /// `Field` if this is no mesh envelope, if `hops` is missing or no list, or if `hop` would need an escape.
    pub fn with_hop(&self, hop: &str) -> Result<Vec<u8>, EnvelopeError> {
        let refused = EnvelopeError::Field("hops");
        let hops = self.hops.as_ref().ok_or(refused.clone())?.value.clone();
        let data = self.bytes();
        if data[hops.start] != b'[' || !hop.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(refused);
        }
        let is_empty = hops.len() == 2;
        let mut longer = Vec::with_capacity(data.len() + hop.len() + 3);
        longer.extend_from_slice(&data[..hops.end - 1]);
        longer.extend_from_slice(if is_empty { b"\"" } else { b",\"" });
        longer.extend_from_slice(hop.as_bytes());
        longer.extend_from_slice(b"\"]");
        longer.extend_from_slice(&data[hops.end..]);
        Ok(longer)
    }

    /// Verifies the envelope's own signature against `public_key`, strictly (SIG-3, SIG-4).
    ///
    /// # Errors
    /// `Field` if `sign` is missing or not written in the one right way, `Signature` if it does not verify.
    pub fn verify(&self, public_key: &[u8; KEY_LEN]) -> Result<(), EnvelopeError> {
        Ok(self.signature_check(public_key)?.verify()?)
    }

    /// As [`Envelope::verify`], with a key that was read before; `None` is one that could not be.
    ///
    /// # Errors
    /// As [`Envelope::verify`].
    pub fn verify_with(&self, key: Option<&PublicKey>) -> Result<(), EnvelopeError> {
        let (signature, signed_bytes) = (self.signature()?, self.signed_bytes()?);
        Ok(key.ok_or(BadSignature)?.verify(&signed_bytes, &signature)?)
    }

    /// The verification that [`Envelope::verify`] would do, to be done later or in a batch.
    ///
    /// # Errors
    /// `Field` if `sign` is missing or not written in the one right way.
    pub fn signature_check(&self, public_key: &[u8; KEY_LEN]) -> Result<SignatureCheck, EnvelopeError> {
        let signature = self.signature()?;
        Ok(SignatureCheck { public_key: *public_key, signed_bytes: self.signed_bytes()?, signature })
    }

    fn signature(&self) -> Result<[u8; SIGNATURE_LEN], EnvelopeError> {
        let sign = self.sign.as_ref().ok_or(EnvelopeError::Field("sign"))?;
        // In canonical form there is exactly one way to write a right `sign`.
        let encoded = self.bytes()[sign.value.clone()]
            .strip_prefix(SIGN_HEAD.as_bytes())
            .and_then(|rest| rest.strip_suffix(SIGN_TAIL.as_bytes()))
            .ok_or(EnvelopeError::Field("sign"))?;
        let mut signature = [0; SIGNATURE_LEN];
        match Base64::decode(encoded, &mut signature) {
            Ok(decoded) if decoded.len() == SIGNATURE_LEN => Ok(signature),
            _ => Err(EnvelopeError::Field("sign.signature")),
        }
    }

    fn signed_bytes(&self) -> Result<Vec<u8>, EnvelopeError> {
        let version = self.domain_version()?;
        let domain = Domain::new(self.protocol.name(), version, self.protocol.purpose())
            .map_err(|_| EnvelopeError::Version(self.protocol))?;
        Ok(domain.signed_bytes(self.without([&self.hops, &self.sign, &None]), self.bytes().len()))
    }

    /// The version, if it can stand in a signing domain. Such a text needs no escapes.
    fn domain_version(&self) -> Result<&str, EnvelopeError> {
        std::str::from_utf8(&self.bytes()[self.version.start + 1..self.version.end - 1])
            .ok()
            .filter(|version| Domain::new(self.protocol.name(), version, self.protocol.purpose()).is_ok())
            .ok_or(EnvelopeError::Version(self.protocol))
    }

    fn text(&self, value: &Range<usize>) -> Option<Cow<'_, str>> {
        let written = self.bytes()[value.clone()].strip_prefix(b"\"")?;
        canonical::unescape(std::str::from_utf8(written).ok()?)
    }

    /// The canonical bytes without some members: cut out, not written anew.
    fn without(&self, cuts: [&Option<Member>; MAX_CUTS]) -> Vec<&[u8]> {
        let bytes = self.bytes();
        let end = bytes.len() - 1;
        let mut pieces: Vec<&[u8]> = vec![b"{"];
        let mut start = 1;
        let mut cuts = cuts.map(|cut| cut.as_ref().map_or(end..end, Member::span));
        cuts.sort_by_key(|cut| cut.start);
        for cut in cuts.into_iter().chain(std::iter::once(end..end)) {
            let kept = &bytes[start..cut.start];
            let kept = kept.strip_prefix(b",").unwrap_or(kept);
            let kept = kept.strip_suffix(b",").unwrap_or(kept);
            if !kept.is_empty() {
                if pieces.len() > 1 {
                    pieces.push(b",");
                }
                pieces.push(kept);
            }
            start = cut.end;
        }
        pieces.push(b"}");
        pieces
    }
}

/// Signs an envelope that has no `sign` yet. `unsigned` is strict JSON in any spelling; the result is the
/// whole envelope in canonical form.
///
/// # Errors
/// As [`Envelope::parse`], but never `NotCanonical`; `Field` if there is a `sign` already; `TooLarge` also if
/// only the signed envelope is longer than `max_len`.
pub fn seal(identity: &Identity, unsigned: &[u8], max_len: usize) -> Result<Vec<u8>, EnvelopeError> {
    let limit = max_len.min(MAX_ENVELOPE_LEN);
    if unsigned.len() > limit {
        return Err(EnvelopeError::TooLarge { limit });
    }
    let (canonical, members) = match canonical::validate(unsigned) {
        Err(CanonicalError::NotCanonical) => {
            let canonical = canonical::canonicalize(unsigned)?;
            let members = canonical::validate(&canonical)?;
            (Cow::Owned(canonical), members)
        }
        members => (Cow::Borrowed(unsigned), members?),
    };
    let members = members.ok_or(EnvelopeError::Discriminator)?;
    let at = end_of_members_before(&canonical, &members, b"sign");
    let envelope = Envelope::from_members(canonical.as_ref(), members)?;
    if envelope.sign.is_some() {
        return Err(EnvelopeError::Field("sign"));
    }
    let signature = identity.sign_bytes(&envelope.signed_bytes()?);
    let sealed = insert_sign(&canonical, at, &Base64::encode_string(&signature));
    if sealed.len() > limit { Err(EnvelopeError::TooLarge { limit }) } else { Ok(sealed) }
}

/// Where the last member ends whose key sorts before `key`: behind the opening brace if there is none.
fn end_of_members_before(canonical: &[u8], members: &[Member], key: &[u8]) -> usize {
    let sorts_before =
        |member: &&Member| canonical::compare_written_keys(&canonical[member.key.clone()], key).is_lt();
    members.iter().take_while(sorts_before).last().map_or(1, |member| member.value.end)
}

fn insert_sign(canonical: &[u8], at: usize, signature: &str) -> Vec<u8> {
    let (head, tail) = canonical.split_at(at);
    let is_first = at == 1;
    // An envelope has members besides `sign`, so exactly one comma is needed.
    let before = if is_first { "" } else { "," };
    let after = if is_first { "," } else { "" };
    let sign = [before, "\"sign\":", SIGN_HEAD, signature, SIGN_TAIL, after];
    let mut sealed = Vec::with_capacity(canonical.len() + sign.iter().map(|part| part.len()).sum::<usize>());
    sealed.extend_from_slice(head);
    for part in sign {
        sealed.extend_from_slice(part.as_bytes());
    }
    sealed.extend_from_slice(tail);
    sealed
}
