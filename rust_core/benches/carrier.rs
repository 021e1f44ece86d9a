//! Bytes per second of a carrier in memory, beside the bare cipher: `cargo bench --bench carrier`.
//!
//! One thread. Sender and receiver are timed apart. Every run of a case follows a run of bare AES-256-GCM on
//! records of 16 KiB in the same direction, and the ratio of the two is what to trust on a busy machine.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use web4_core::carrier::{Carrier, Expect, RECORD_PAYLOAD, TlsConfig};

/// Plaintext per run.
const VOLUME: usize = 16 << 20;
const RUNS: usize = 31;

fn main() {
    println!("{:44} {:>10} {:>8}", "median of 31 runs", "GB/s", "of bare");
    for (name, algorithm) in [
        ("AES-256-GCM", &AES_256_GCM),
        ("AES-128-GCM", &AES_128_GCM),
        ("ChaCha20-Poly1305", &CHACHA20_POLY1305),
    ] {
        for record in [RECORD_PAYLOAD, 1 << 10] {
            let what = format!("bare {name}, {} KiB records", record >> 10);
            report(&format!("{what}, seal"), seal, || seal_with(algorithm, record));
            report(&format!("{what}, open"), open, || open_with(algorithm, record));
        }
    }
    for write in [1 << 10, 16 << 10, 64 << 10] {
        report(&format!("carrier send, {} KiB writes", write >> 10), seal, || send(write));
    }
    report("carrier send, 64 B frames, 1024 to a write", seal, send_coalesced);
    for record in [1 << 10, 16 << 10] {
        for feed in [16 << 10, 64 << 10, 256 << 10] {
            let what = format!("{} KiB records, {} KiB at once", record >> 10, feed >> 10);
            report(&format!("carrier receive, {what}"), open, || receive(record, feed));
        }
    }
    let mut handshakes: Vec<_> = (0..RUNS * 4).map(|_| timed(|| drop(black_box(open_pair())))).collect();
    handshakes.sort();
    println!("handshake, both sides, median: {:?}", handshakes[handshakes.len() / 2]);
    println!("size of a carrier: {} B and what rustls allocates", size_of::<Carrier>());
}

fn report(name: &str, reference: impl Fn() -> Duration, case: impl Fn() -> Duration) {
    let mut times = Vec::new();
    let mut ratios = Vec::new();
    for _ in 0..RUNS {
        let bare = reference();
        let time = case();
        times.push(time.as_secs_f64());
        ratios.push(bare.as_secs_f64() / time.as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    ratios.sort_by(f64::total_cmp);
    let rate = VOLUME as f64 / times[RUNS / 2] / 1e9;
    println!("{name:44} {rate:10.2} {:8.2}", ratios[RUNS / 2]);
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn seal() -> Duration {
    seal_with(&AES_256_GCM, RECORD_PAYLOAD)
}

fn open() -> Duration {
    open_with(&AES_256_GCM, RECORD_PAYLOAD)
}

fn key(algorithm: &'static Algorithm) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(algorithm, &vec![1; algorithm.key_len()]).expect("length"))
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([3; 12])
}

fn seal_with(algorithm: &'static Algorithm, record: usize) -> Duration {
    let key = key(algorithm);
    let mut buffer = vec![0; record];
    timed(|| {
        for _ in 0..VOLUME / record {
            let tag = key.seal_in_place_separate_tag(nonce(), Aad::empty(), black_box(&mut buffer));
            let _ = black_box(tag.expect("seal"));
        }
    })
}

/// Opening overwrites its input, so each record is copied in first, at over 100 GB/s.
fn open_with(algorithm: &'static Algorithm, record: usize) -> Duration {
    let key = key(algorithm);
    let mut sealed = vec![0; record];
    key.seal_in_place_append_tag(nonce(), Aad::empty(), &mut sealed).expect("seal");
    let mut buffer = sealed.clone();
    timed(|| {
        for _ in 0..VOLUME / record {
            black_box(&mut buffer).copy_from_slice(black_box(&sealed));
            black_box(key.open_in_place(nonce(), Aad::empty(), &mut buffer)).expect("open");
        }
    })
}

fn open_pair() -> (Carrier, Carrier) {
    let (one, two) = (identity(1), identity(2));
    let mut dialer = Carrier::dial(one, Expect::Fingerprint(two.fingerprint())).expect("randomness");
    let mut acceptor = Carrier::accept(two).expect("randomness");
    let mut wire = Vec::new();
    while dialer.is_handshaking() || acceptor.is_handshaking() {
        dialer.transmit_into(&mut wire);
        acceptor.receive(&std::mem::take(&mut wire)).expect("honest");
        acceptor.transmit_into(&mut wire);
        dialer.receive(&std::mem::take(&mut wire)).expect("honest");
    }
    (dialer, acceptor)
}

fn identity(number: usize) -> &'static TlsConfig {
    static IDENTITIES: std::sync::LazyLock<[TlsConfig; 3]> =
        std::sync::LazyLock::new(|| [0, 1, 2].map(|seed| TlsConfig::from_seed(&[seed; 32]).expect("valid")));
    &IDENTITIES[number]
}

/// Writes of one size; what is encrypted is thrown away 64 KiB or more at a time, as by a socket.
fn send(write: usize) -> Duration {
    let (mut dialer, _acceptor) = open_pair();
    let plaintext = vec![0x11; write];
    timed(|| {
        let mut unsent = 0;
        for _ in 0..VOLUME / write {
            let taken = dialer.send(black_box(&plaintext)).expect("open");
            assert_eq!(taken, write);
            unsent += taken;
            if unsent >= 64 << 10 {
                unsent = 0;
                discard(&mut dialer);
            }
        }
        discard(&mut dialer);
    })
}

/// 64-byte frames gathered into 64 KiB before each write.
fn send_coalesced() -> Duration {
    let (mut dialer, _acceptor) = open_pair();
    let frame = [0x22_u8; 64];
    let mut gathered = Vec::with_capacity(64 << 10);
    timed(|| {
        for _ in 0..VOLUME / frame.len() {
            gathered.extend_from_slice(black_box(&frame));
            if gathered.len() == 64 << 10 {
                assert_eq!(dialer.send(&gathered).expect("open"), gathered.len());
                gathered.clear();
                discard(&mut dialer);
            }
        }
    })
}

fn discard(carrier: &mut Carrier) {
    while carrier.wants_transmit() {
        carrier
            .transmit(|slices| Ok(slices.iter().map(|slice| black_box(slice).len()).sum()))
            .expect("accepted");
    }
}

/// Records of one size, given to the receiver in slices as a socket read returns them.
fn receive(write: usize, feed: usize) -> Duration {
    let (mut dialer, mut acceptor) = open_pair();
    let plaintext = vec![0x33; write];
    let mut wire = Vec::new();
    // A read buffer is warm; a wire of the whole volume would not be. So it is made piece by piece.
    let piece = 1 << 20;
    let mut total = Duration::ZERO;
    for _ in 0..VOLUME / piece {
        wire.clear();
        for _ in 0..piece / write {
            dialer.send(&plaintext).expect("open");
            dialer.transmit_into(&mut wire);
        }
        total += timed(|| wire.chunks(feed).for_each(|part| read_all(&mut acceptor, part)));
    }
    total
}

fn read_all(carrier: &mut Carrier, mut part: &[u8]) {
    while !part.is_empty() {
        let taken = carrier.receive(part).expect("honest");
        part = &part[taken..];
        loop {
            let length = black_box(carrier.plaintext()).len();
            if length == 0 {
                break;
            }
            carrier.consume(length);
        }
    }
}
