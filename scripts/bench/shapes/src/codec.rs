//! TLS and framing on bytes alone: wire bytes in, batches of messages out, and the other way round.

use std::io::{self, BufRead, Write};
use std::ops::Range;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};

/// Complete messages, as ranges of one decrypted buffer.
#[derive(Default)]
pub struct Batch {
    pub plain: Vec<u8>,
    pub messages: Vec<Range<usize>>,
}

/// Buffers kept for reuse.
const SPARE: usize = 8;

/// One TLS connection with its framing.
pub struct Codec {
    tls: Connection,
    plain: Vec<u8>,
    scratch: Vec<u8>,
    spare: Vec<Vec<u8>>,
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Codec {
    /// A server when `key` is given, else a client that trusts `certificate` alone.
    pub fn new(certificate: Vec<u8>, key: Option<Vec<u8>>) -> io::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificate = CertificateDer::from(certificate);
        let tls13 = &[&rustls::version::TLS13];
        let mut tls: Connection = match key {
            Some(key) => {
                let key = PrivateKeyDer::Pkcs8(key.into());
                let config = ServerConfig::builder_with_provider(provider)
                    .with_protocol_versions(tls13)
                    .and_then(|config| config.with_no_client_auth().with_single_cert(vec![certificate], key));
                ServerConnection::new(Arc::new(config.map_err(invalid)?)).map_err(invalid)?.into()
            }
            None => {
                let mut roots = RootCertStore::empty();
                roots.add(certificate).map_err(invalid)?;
                let config = ClientConfig::builder_with_provider(provider)
                    .with_protocol_versions(tls13)
                    .map_err(invalid)?
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                let name = ServerName::try_from("localhost").expect("a constant name");
                ClientConnection::new(Arc::new(config), name).map_err(invalid)?.into()
            }
        };
        // The callers bound what they hand over; rustls's own limit would cut a batch in two.
        tls.set_buffer_limit(None);
        Ok(Self { tls, plain: Vec::new(), scratch: Vec::new(), spare: Vec::new() })
    }

    /// Take in bytes from the wire.
    pub fn feed(&mut self, mut wire: &[u8]) -> io::Result<()> {
        while !wire.is_empty() {
            self.tls.read_tls(&mut wire)?;
            let state = self.tls.process_new_packets().map_err(invalid)?;
            if state.plaintext_bytes_to_read() > 0 {
                let mut reader = self.tls.reader();
                loop {
                    let chunk = match reader.fill_buf() {
                        Ok(chunk) if !chunk.is_empty() => chunk,
                        _ => break,
                    };
                    self.plain.extend_from_slice(chunk);
                    let length = chunk.len();
                    reader.consume(length);
                }
            }
        }
        Ok(())
    }

    /// Every complete message fed so far; the rest stays for the next call.
    pub fn take(&mut self) -> Batch {
        let mut messages = Vec::new();
        let mut at = 0;
        while let Some(header) = self.plain[at..].first_chunk::<4>() {
            let length = u32::from_be_bytes(*header) as usize;
            if self.plain.len() - at - 4 < length {
                break;
            }
            messages.push(at + 4..at + 4 + length);
            at += 4 + length;
        }
        if messages.is_empty() {
            return Batch::default();
        }
        let mut next = self.spare.pop().unwrap_or_default();
        next.clear();
        next.extend_from_slice(&self.plain[at..]);
        Batch { plain: std::mem::replace(&mut self.plain, next), messages }
    }

    /// Give a buffer back for reuse: growing a fresh one for every batch costs more than decrypting it.
    pub fn recycle(&mut self, plain: Vec<u8>) {
        if self.spare.len() < SPARE && plain.capacity() > 0 {
            self.spare.push(plain);
        }
    }

    /// Frame and encrypt messages in as few TLS records as their bytes need.
    pub fn encode<'a>(&mut self, messages: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
        self.scratch.clear();
        for message in messages {
            frame(&mut self.scratch, message);
        }
        self.tls.writer().write_all(&self.scratch)
    }

    /// Encrypt bytes that are framed already.
    pub fn encode_framed(&mut self, framed: &[u8]) -> io::Result<()> {
        self.tls.writer().write_all(framed)
    }

    pub fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Write what is encrypted until the socket takes no more; true when all is written.
    pub fn flush(&mut self, mut wire: impl Write) -> io::Result<bool> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut wire) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

pub fn frame(into: &mut Vec<u8>, message: &[u8]) {
    into.extend_from_slice(&(message.len() as u32).to_be_bytes());
    into.extend_from_slice(message);
}
