//! Bytes per second of a carrier in memory, beside the bare cipher: `cargo bench --bench carrier`.
//!
//! One thread; every figure is the median of several runs. Sender and receiver are timed apart.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use web4_core::carrier::{Carrier, Expect, RECORD_PAYLOAD, TlsConfig};

/// Plaintext per run.
const VOLUME: usize = 64 << 20;
const RUNS: usize = 9;

fn main() {
    for (name, algorithm) in [
        ("AES-256-GCM", &AES_256_GCM),
        ("AES-128-GCM", &AES_128_GCM),
        ("ChaCha20-Poly1305", &CHACHA20_POLY1305),
    ] {
        let (seal, open) = bare_cipher(algorithm, RECORD_PAYLOAD);
        println!(
            "{name:18} 16 KiB records   seal {} open {}",
            rate(seal),
            rate(open)
        );
    }
    let (seal, open) = bare_cipher(&AES_256_GCM, 1024);
    println!(
        "{:18} 1 KiB records    seal {} open {}",
        "AES-256-GCM",
        rate(seal),
        rate(open)
    );
    let source = vec![7_u8; RECORD_PAYLOAD];
    let mut target = vec![0_u8; RECORD_PAYLOAD];
    let copy = median(|| {
        timed(|| {
            for _ in 0..VOLUME / RECORD_PAYLOAD {
                black_box(&mut target).copy_from_slice(black_box(&source));
            }
        })
    });
    println!("{:18} 16 KiB blocks    {}", "copy", rate(copy));

    for (name, write) in [
        ("1 KiB writes", 1 << 10),
        ("16 KiB writes", 16 << 10),
        ("64 KiB writes", 64 << 10),
    ] {
        println!(
            "carrier            {name:16} send {}",
            rate(median(|| send(write)))
        );
    }
    println!(
        "carrier            64 B coalesced   send {}",
        rate(median(send_coalesced))
    );
    for (name, write) in [("1 KiB records", 1 << 10), ("16 KiB records", 16 << 10)] {
        for feed in [16 << 10, 64 << 10, 256 << 10] {
            let result = rate(median(|| receive(write, feed)));
            println!(
                "carrier            {name:16} receive {result} fed {} KiB at once",
                feed >> 10
            );
        }
    }
    let handshake = median(|| timed(|| drop(black_box(open_pair()))));
    println!("handshake, both sides together: {handshake:?}");
}

fn rate(elapsed: Duration) -> String {
    format!("{:6.2} GB/s", VOLUME as f64 / elapsed.as_secs_f64() / 1e9)
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(mut run: impl FnMut() -> Duration) -> Duration {
    run();
    let mut runs: Vec<_> = (0..RUNS).map(|_| run()).collect();
    runs.sort();
    runs[RUNS / 2]
}

fn bare_cipher(algorithm: &'static Algorithm, record: usize) -> (Duration, Duration) {
    let new_key = || {
        LessSafeKey::new(UnboundKey::new(algorithm, &vec![1; algorithm.key_len()]).expect("length"))
    };
    let key = new_key();
    let nonce = || Nonce::assume_unique_for_key([3; 12]);
    let mut sealed = vec![0; record];
    key.seal_in_place_append_tag(nonce(), Aad::empty(), &mut sealed)
        .expect("seal");
    let seal = median(|| {
        let mut buffer = vec![0; record];
        timed(|| {
            for _ in 0..VOLUME / record {
                let tag =
                    key.seal_in_place_separate_tag(nonce(), Aad::empty(), black_box(&mut buffer));
                let _ = black_box(tag.expect("seal"));
            }
        })
    });
    // Opening overwrites its input, so each record is copied in first; the copy is taken off again.
    let mut buffer = sealed.clone();
    let copying = median(|| {
        timed(|| {
            (0..VOLUME / record)
                .for_each(|_| black_box(&mut buffer).copy_from_slice(black_box(&sealed)))
        })
    });
    let both = median(|| {
        timed(|| {
            for _ in 0..VOLUME / record {
                black_box(&mut buffer).copy_from_slice(black_box(&sealed));
                black_box(key.open_in_place(nonce(), Aad::empty(), &mut buffer)).expect("open");
            }
        })
    });
    (seal, both - copying)
}

fn open_pair() -> (Carrier, Carrier) {
    let (one, two) = (identity(1), identity(2));
    let mut dialer =
        Carrier::dial(one, Expect::Fingerprint(two.fingerprint())).expect("randomness");
    let mut acceptor = Carrier::accept(two).expect("randomness");
    let mut wire = Vec::new();
    while dialer.is_handshaking() || acceptor.is_handshaking() {
        dialer.transmit_into(&mut wire);
        acceptor
            .receive(&std::mem::take(&mut wire))
            .expect("honest");
        acceptor.transmit_into(&mut wire);
        dialer.receive(&std::mem::take(&mut wire)).expect("honest");
    }
    (dialer, acceptor)
}

fn identity(number: usize) -> &'static TlsConfig {
    static IDENTITIES: std::sync::LazyLock<[TlsConfig; 3]> = std::sync::LazyLock::new(|| {
        [0, 1, 2].map(|seed| TlsConfig::from_seed(&[seed; 32]).expect("valid"))
    });
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
        total += timed(|| {
            wire.chunks(feed)
                .for_each(|part| read_all(&mut acceptor, part))
        });
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
