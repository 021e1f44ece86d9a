//! Two sessions back to back, without TLS and without a wire: what the session layer itself costs.
//!
//! ```text
//! cargo bench --bench session [-- SIZE]
//! ```
//!
//! Each round hands a batch to one session, moves plaintext to the other until nothing is left, and takes every
//! message out there; acknowledgements and credit travel back the same way. One JSON line per size.
//!
//! At 64 KiB most of the time goes to the allocator, which gives the memory of each batch back to the operating system
//! and faults it in again; `MALLOC_TRIM_THRESHOLD_=67108864` in the environment (glibc) shows the session alone.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use web4_core::rtt::{
    Agreement, Budget, BudgetLimits, ChannelId, Kind, Offered, Options, Policy, RECORD_BYTES, Session,
};

/// Message sizes and how many go in one batch; a batch fits the default window of a knowledge channel.
const CASES: [(usize, usize); 3] = [(64, 256), (1024, 256), (64 * 1024, 8)];
const RUNS: usize = 11;
const RUN: Duration = Duration::from_millis(300);

struct Pair {
    sender: Session,
    receiver: Session,
    channel: ChannelId,
    record: Vec<u8>,
}

impl Pair {
    fn new() -> Pair {
        let options = Options::default();
        let side = |initiator| {
            let agreement = Agreement { initiator, limits: options.limits, resume_window_ms: 0 };
            let mut session = Session::new([7; 16], agreement, &options, 0);
            // As in production: what it holds is counted.
            let budget = Budget::new(BudgetLimits { per_peer: 16 << 20, endpoint: 1 << 30 });
            session.share_memory(budget.share([9; 32], [7; 16]));
            session
        };
        let mut sender = side(true);
        let channel = sender.open_channel(Kind::Knowledge, "bench", Policy::Error).expect("room");
        Pair { sender, receiver: side(false), channel, record: Vec::with_capacity(RECORD_BYTES) }
    }

    /// Moves what `from` has to say, in records, as a carrier would.
    fn carry(from: &mut Session, to: &mut Session, record: &mut Vec<u8>) {
        loop {
            record.clear();
            if !from.transmit(record) {
                return;
            }
            to.receive_plaintext(record, 1).expect("a sound peer");
        }
    }

    fn round(&mut self, batch: &[Bytes]) -> usize {
        let offered = self.sender.send(self.channel, batch.to_vec(), false, 0);
        assert_eq!(offered, Ok(Offered::AllAccepted));
        Self::carry(&mut self.sender, &mut self.receiver, &mut self.record);
        let mut received = 0;
        while let Ok(message) = self.receiver.receive(self.channel) {
            black_box(&message);
            received += 1;
        }
        Self::carry(&mut self.receiver, &mut self.sender, &mut self.record);
        while black_box(self.receiver.poll_event()).is_some() {}
        while black_box(self.sender.poll_event()).is_some() {}
        received
    }
}

/// Messages per second over one run.
fn run(pair: &mut Pair, batch: &[Bytes]) -> f64 {
    let (start, mut received) = (Instant::now(), 0);
    loop {
        for _ in 0..16 {
            received += pair.round(batch);
        }
        let elapsed = start.elapsed();
        if elapsed >= RUN {
            return received as f64 / elapsed.as_secs_f64();
        }
    }
}

fn main() {
    let only: Option<usize> = std::env::args().find_map(|argument| argument.parse().ok());
    for (size, count) in CASES.into_iter().filter(|(size, _)| only.is_none_or(|only| only == *size)) {
        let batch = vec![Bytes::from(vec![7; size]); count];
        let mut pair = Pair::new();
        run(&mut pair, &batch);
        let mut rates: Vec<f64> = (0..RUNS).map(|_| run(&mut pair, &batch)).collect();
        rates.sort_by(f64::total_cmp);
        let (least, median, most) = (rates[0], rates[RUNS / 2], rates[RUNS - 1]);
        let mebibytes = median * size as f64 / (1024.0 * 1024.0);
        println!(
            "{{\"size\": {size}, \"batch\": {count}, \"runs\": {RUNS}, \"messages_per_s\": {median:.0}, \
             \"min\": {least:.0}, \"max\": {most:.0}, \"mib_per_s\": {mebibytes:.0}, \"ns_per_message\": {:.1}}}",
            1e9 / median
        );
    }
}
