//! The simulator: endpoints, carriers that break in every way TLS lets them, and a model that knows what must be true.
//!
//! A failure prints its seed and the command that repeats it. `make sim SEEDS=... STEPS=...` runs as much as you want.

mod carrier;
mod check;
mod commands;
mod driver;
mod faults;
mod message;
mod model;
mod opening;
mod planted;
mod profile;
mod random;
mod run;
mod world;

use planted::Bug;
use run::{Done, run};

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// Says how to repeat a seed, also when the core itself panics.
struct Repeat {
    seed: u64,
    steps: u64,
}

impl Drop for Repeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Repeat { seed, steps } = self;
            eprintln!(
                "repeat: WEB4_SIM_SEED={seed} WEB4_SIM_STEPS={steps} WEB4_SIM_TRACE=1 cargo test --test sim rtt_sim -- --nocapture"
            );
        }
    }
}

fn must_run(seed: u64, steps: u64) -> Done {
    let _repeat = Repeat { seed, steps };
    run(seed, steps, Bug::None, std::env::var_os("WEB4_SIM_TRACE").is_some()).unwrap_or_else(
        |(wrong, words)| {
            words.iter().for_each(|line| eprintln!("{line}"));
            panic!("seed {seed}: {wrong}")
        },
    )
}

/// RTT-23, RTT-42 and everything else that `check` looks at, under random faults.
#[test]
fn rtt_sim() {
    let steps = variable("WEB4_SIM_STEPS").unwrap_or(600);
    let seeds = match variable("WEB4_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("WEB4_SIM_SEEDS").unwrap_or(1_000),
    };
    let (begun, count) = (std::time::Instant::now(), seeds.end - seeds.start);
    let mut all = Done::default();
    for seed in seeds {
        let done = must_run(seed, steps);
        all.steps += done.steps;
        all.sessions += done.sessions;
        all.resumes += done.resumes;
        all.resent += done.resent;
        all.replayed += done.replayed;
        all.rekeys += done.rekeys;
        all.delivered += done.delivered;
        all.lost += done.lost;
        all.foreign += done.foreign;
        all.digest ^= done.digest;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{count} seeds, {seconds:.1} s, {:.0} steps/s: {all:?}", all.steps as f64 / seconds);
}

/// RTT-2: the same seed gives the same trace.
#[test]
fn rtt_sim_deterministic() {
    for seed in 0..60 {
        let first = must_run(seed, 400);
        assert_eq!(first, must_run(seed, 400), "seed {seed}");
        assert_ne!(first.digest, must_run(seed + 1_000_000, 400).digest);
    }
}

/// The simulator is worth nothing unless it finds bugs: each of these within this many seeds.
#[test]
fn the_simulator_finds_planted_bugs() {
    for bug in Bug::ALL {
        let found =
            (0..400).find_map(|seed| run(seed, 600, bug, false).err().map(|(wrong, _)| (seed, wrong)));
        let (seed, wrong) = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
        println!("{bug:?}: seed {seed}, {wrong}");
    }
}
