//! What a run is like: sizes, times, and how often what happens. Every seed is another kind of run.

use web4_core::rtt::{MILLISECOND, Nanos, Options, TableLimits, Window};

use super::random::Random;

const SECOND: Nanos = 1_000 * MILLISECOND;

#[derive(Clone, Debug)]
pub struct Profile {
    /// Nodes that talk; one more only steals.
    pub nodes: usize,
    pub conversations: usize,
    /// In 4096 steps: faults, and commands of applications.
    pub faults: u64,
    pub commands: u64,
    pub delay: Nanos,
    /// Bytes that a carrier takes before it makes its writer wait.
    pub capacity: usize,
    /// In 64 commands: how many read.
    pub appetite: u64,
    /// The largest piece in which plaintext arrives.
    pub piece: usize,
    /// In 64: how often an end writes as soon as it may.
    pub eager: u64,
    pub largest: usize,
    pub restarts: bool,
    pub clock_jumps: bool,
    pub quits: bool,
}

impl Profile {
    pub fn draw(random: &mut Random) -> Profile {
        Profile {
            nodes: 2 + random.index(2),
            conversations: 1 + random.index(3),
            faults: random.pick(&[0, 8, 40, 160, 400]),
            commands: random.pick(&[600, 1600, 2600]),
            delay: random.pick(&[0, 50_000, MILLISECOND, 20 * MILLISECOND, 150 * MILLISECOND]),
            capacity: random.pick(&[1, 2_000, 40_000, 1_000_000]),
            appetite: random.pick(&[2, 16, 32]),
            piece: random.pick(&[1, 7, 300, usize::MAX, usize::MAX, usize::MAX]),
            eager: random.pick(&[4, 32, 64]),
            largest: random.pick(&[20, 200, 1_000, 12_000, 40_000]),
            restarts: random.chance(1, 3),
            clock_jumps: random.chance(1, 4),
            quits: random.chance(1, 3),
        }
    }

    /// What one node chose; the smaller of two ends holds.
    pub fn options(&self, random: &mut Random) -> Options {
        let mut options = Options::default();
        options.limits.frame_payload = random.pick(&[4 * 1024, 5_000, 16 * 1024]);
        options.limits.channels = random.pick(&[2, 5, 8]);
        for limits in &mut options.limits.kinds {
            limits.max_message = self.largest as u32;
            let messages = random.pick(&[1, 2, 5, 40]);
            let bytes = self.largest as u32 * random.pick(&[1, 2, 10]);
            limits.window = Window { messages, bytes };
        }
        options.heartbeat = random.pick(&[400 * MILLISECOND, SECOND, 5 * SECOND]);
        options.drain_timeout = random.pick(&[200 * MILLISECOND, 5 * SECOND]);
        options.ack_delay = random.pick(&[MILLISECOND, 25 * MILLISECOND]);
        options.resend_reserve = 16 * 1024;
        options.resend_bytes = random.pick(&[32 * 1024, 40 * 1024, 100_000, 1_000_000]);
        options.resume_window_ms =
            if random.chance(1, 24) { 0 } else { random.pick(&[2_000, 30_000, 600_000, 600_000]) };
        options.rekey_frames = random.pick(&[8, 100, 1 << 20]);
        options.rekey_after = random.pick(&[SECOND, 600 * SECOND]);
        options.carrier_lifetime = random.pick(&[100 * MILLISECOND, SECOND, 3_600 * SECOND, 3_600 * SECOND]);
        options
    }

    pub fn table(&self, random: &mut Random) -> TableLimits {
        TableLimits {
            sessions_per_peer: random.pick(&[1, 2, 4, 4]),
            sessions: random.pick(&[2, 100]),
            suspended: random.pick(&[1, 2, 100, 100]),
        }
    }
}
