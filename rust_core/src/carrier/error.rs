//! What can go wrong with a carrier, whom it says something about, and whether dialling again makes sense.

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible, PeerMisbehaved};

use super::verifier::KeyRefused;

/// The two ends of a carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opened the byte stream: the TLS client.
    Dialer,
    /// Accepted the byte stream: the TLS server.
    Acceptor,
}

/// Why a carrier ended. The names of [`CarrierErrorCode::name`] are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CarrierErrorCode {
    /// The peer proved a key, but not the expected one (RTT-5).
    WrongKey,
    /// The peer proved the key of this very endpoint (RTT-7).
    SelfConnection,
    /// The peer presented something else than exactly one sound Ed25519 raw public key.
    BadKey,
    /// The peer's signature does not prove the key it presented.
    BadProof,
    /// The dialer presented no key.
    NoClientKey,
    /// The peer does not take part in raw public keys (RFC 7250): for example it knows X.509 only.
    NoRawKey,
    /// The peer did not agree to `web4-rtt/1`.
    Alpn,
    /// The peer does not speak TLS 1.3.
    TlsVersion,
    /// No cipher suite, key exchange or signature scheme in common.
    TlsParameters,
    /// The dialer tried a pre-shared key or early data, which no conforming peer does (RTT-4).
    Resumption,
    /// The peer ended the carrier with an alert that says that it does not accept us.
    Refused,
    /// Bytes were altered, repeated, reordered or are not TLS (RTT-49).
    Damaged,
    /// The byte stream ended without a `close_notify`.
    Truncated,
    /// The proven peer broke TLS itself, inside authenticated records.
    Violation,
    /// The carrier was closed in an orderly way, by either side.
    Closed,
    /// An operation that needs a finished handshake came too early.
    Handshaking,
    /// The operating system gave no randomness, or another failure that is not the peer's.
    Internal,
}

impl CarrierErrorCode {
    /// The stable name of the code.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WrongKey => "wrong_key",
            Self::SelfConnection => "self_connection",
            Self::BadKey => "bad_key",
            Self::BadProof => "bad_proof",
            Self::NoClientKey => "no_client_key",
            Self::NoRawKey => "no_raw_key",
            Self::Alpn => "alpn",
            Self::TlsVersion => "tls_version",
            Self::TlsParameters => "tls_parameters",
            Self::Resumption => "resumption",
            Self::Refused => "refused",
            Self::Damaged => "damaged",
            Self::Truncated => "truncated",
            Self::Violation => "violation",
            Self::Closed => "closed",
            Self::Handshaking => "handshaking",
            Self::Internal => "internal",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::WrongKey => "the peer proved another key than the expected one",
            Self::SelfConnection => "the peer is this endpoint itself",
            Self::BadKey => "the peer presented no sound Ed25519 raw public key",
            Self::BadProof => "the peer did not prove the key it presented",
            Self::NoClientKey => "the dialer presented no key",
            Self::NoRawKey => "the peer does not use raw public keys",
            Self::Alpn => "the peer did not agree to web4-rtt/1",
            Self::TlsVersion => "the peer does not speak TLS 1.3",
            Self::TlsParameters => "no TLS parameters in common",
            Self::Resumption => "the dialer offered a pre-shared key or early data",
            Self::Refused => "the peer refused the carrier",
            Self::Damaged => "damaged bytes",
            Self::Truncated => "the byte stream ended without close_notify",
            Self::Violation => "the peer broke the TLS protocol",
            Self::Closed => "the carrier is closed",
            Self::Handshaking => "the handshake is not complete",
            Self::Internal => "TLS failed on this side",
        }
    }
}

/// The end of a carrier: what went wrong and what is proven about the peer.
///
/// Holds no payload bytes and no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarrierError {
    code: CarrierErrorCode,
    authentication: bool,
    proven: Option<[u8; 32]>,
    alert: Option<u8>,
    detail: Option<String>,
}

impl CarrierError {
    pub(super) fn new(code: CarrierErrorCode, proven: Option<[u8; 32]>) -> Self {
        use CarrierErrorCode as Code;
        let authentication = matches!(
            code,
            Code::WrongKey | Code::SelfConnection | Code::BadKey | Code::BadProof | Code::NoClientKey
        );
        Self { code, authentication, proven, alert: None, detail: None }
    }

    pub(super) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Translate what rustls reports. `proven` is the fingerprint of the key proven so far.
    pub(super) fn from_tls(error: &Error, role: Role, proven: Option<[u8; 32]>) -> Self {
        use CarrierErrorCode as Code;
        let plain = |code| Self::new(code, proven);
        match error {
            Error::InvalidCertificate(refused) => Self::from_refused_key(refused),
            Error::NoCertificatesPresented if role == Role::Acceptor => plain(Code::NoClientKey),
            Error::NoCertificatesPresented => plain(Code::BadKey),
            Error::NoApplicationProtocol => plain(Code::Alpn),
            // The certificate resolver of the acceptor declines for one reason only: no ALPN was offered.
            Error::General(_) if role == Role::Acceptor && proven.is_none() => plain(Code::Alpn),
            Error::PeerIncompatible(why) => Self::from_incompatible(why, role, proven),
            Error::AlertReceived(alert) => Self::from_alert(*alert, role, proven),
            // Reported only from inside a record that was authenticated. Everything else that rustls
            // calls misbehaviour can be caused by anybody who can write to the byte stream.
            Error::PeerMisbehaved(
                PeerMisbehaved::TooManyKeyUpdateRequests
                | PeerMisbehaved::IllegalTlsInnerPlaintext
                | PeerMisbehaved::KeyEpochWithPendingFragment,
            ) if proven.is_some() => plain(Code::Violation).with_detail(error.to_string()),
            Error::FailedToGetRandomBytes | Error::EncryptError | Error::General(_) => {
                plain(Code::Internal).with_detail(error.to_string())
            }
            _ => plain(Code::Damaged).with_detail(error.to_string()),
        }
    }

    fn from_refused_key(refused: &CertificateError) -> Self {
        use CarrierErrorCode as Code;
        match refused {
            CertificateError::BadSignature => Self::new(Code::BadProof, None),
            CertificateError::Other(other) => match other.0.downcast_ref::<KeyRefused>() {
                Some(KeyRefused::WrongKey(peer)) => Self::new(Code::WrongKey, Some(*peer)),
                Some(KeyRefused::SelfConnection(own)) => Self::new(Code::SelfConnection, Some(*own)),
                None => Self::new(Code::BadKey, None),
            },
            _ => Self::new(Code::BadKey, None),
        }
    }

    fn from_incompatible(why: &PeerIncompatible, role: Role, proven: Option<[u8; 32]>) -> Self {
        use CarrierErrorCode as Code;
        let code = match why {
            PeerIncompatible::IncorrectCertificateTypeExtension
            | PeerIncompatible::UnsolicitedCertificateTypeExtension => Code::NoRawKey,
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled => Code::TlsVersion,
            _ => Code::TlsParameters,
        };
        let mut error = Self::new(code, proven).with_detail(Error::from(why.clone()).to_string());
        // An acceptor says so inside encrypted extensions, where damage shows as a failed record instead;
        // a dialer says so in its plaintext hello, where one altered byte looks the same.
        error.authentication = code == Code::NoRawKey && role == Role::Dialer;
        error
    }

    fn from_alert(alert: AlertDescription, role: Role, proven: Option<[u8; 32]>) -> Self {
        use AlertDescription as Alert;
        use CarrierErrorCode as Code;
        let code = match alert {
            Alert::NoApplicationProtocol => Code::Alpn,
            Alert::ProtocolVersion => Code::TlsVersion,
            Alert::UnexpectedMessage
            | Alert::BadRecordMac
            | Alert::RecordOverflow
            | Alert::DecodeError
            | Alert::IllegalParameter => Code::Damaged,
            _ => Code::Refused,
        };
        let mut error = Self::new(code, proven);
        error.alert = Some(u8::from(alert));
        error.detail = Some(format!("alert {alert:?}"));
        // Before the peer's key is proven anybody on the path could have written the alert.
        error.authentication = role == Role::Dialer
            && proven.is_some()
            && matches!(
                alert,
                Alert::BadCertificate
                    | Alert::UnsupportedCertificate
                    | Alert::CertificateRevoked
                    | Alert::CertificateExpired
                    | Alert::CertificateUnknown
                    | Alert::UnknownCA
                    | Alert::AccessDenied
                    | Alert::DecryptError
                    | Alert::CertificateRequired
            );
        error
    }

    /// What went wrong.
    pub fn code(&self) -> CarrierErrorCode {
        self.code
    }

    /// Whether this is an authentication failure in the sense of RTT-46, which is final: the peer proved
    /// another key or gave a wrong or no proof, or, having proven its own key, it refused ours. Everything
    /// else is a failed carrier, which a dialer may try again.
    pub fn is_authentication(&self) -> bool {
        self.authentication
    }

    /// Fingerprint of the key that the peer had proven by its signature, if any (RTT-9). Without one, the
    /// failure may be charged to the network address only.
    pub fn proven(&self) -> Option<&[u8; 32]> {
        self.proven.as_ref()
    }

    /// The TLS alert that the peer sent, if one ended the carrier.
    pub fn alert(&self) -> Option<u8> {
        self.alert
    }
}

impl fmt::Display for CarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.text())?;
        match &self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CarrierError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not to take part in raw public keys is final when the acceptor says so inside encrypted extensions, as a
    /// server does that knows X.509 only and ignores what it does not know. In a plaintext hello it is not.
    #[test]
    fn no_raw_key_is_final_only_where_it_cannot_be_damage() {
        let error = Error::from(PeerIncompatible::IncorrectCertificateTypeExtension);
        for (role, authentication) in [(Role::Dialer, true), (Role::Acceptor, false)] {
            let error = CarrierError::from_tls(&error, role, None);
            assert_eq!(
                (error.code(), error.is_authentication()),
                (CarrierErrorCode::NoRawKey, authentication)
            );
        }
    }

    /// What a bystander can cause with one plaintext record is never charged to the proven peer as a violation.
    #[test]
    fn misbehaviour_that_anybody_can_cause_is_damage() {
        for why in [PeerMisbehaved::IllegalMiddleboxChangeCipherSpec, PeerMisbehaved::TooManyEmptyFragments] {
            let error = CarrierError::from_tls(&Error::from(why), Role::Acceptor, Some([1; 32]));
            assert_eq!(error.code(), CarrierErrorCode::Damaged);
        }
    }
}
