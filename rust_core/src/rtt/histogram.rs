//! Durations in log-linear buckets: bounded memory, quantiles within a stated error, mergeable (RTT-59).

use super::limits::Nanos;

/// Each power of two is cut into 2^5 buckets of equal width.
const CUTS: u32 = 5;
/// Below 2^10 ns everything is one bucket, from 2^36 ns (69 s) on everything is another.
const LOWEST: u32 = 10;
const HIGHEST: u32 = 36;
/// The bucket of everything too long to be told apart.
const LAST: u16 = 1 + (((HIGHEST - LOWEST) as u16) << CUTS);

/// How many durations fell into which bucket. Between 1 us and 69 s a quantile is off by at most 1/64 of its value.
///
/// Only buckets in use take memory, 8 bytes each; there are 834.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: Vec<(u16, u32)>,
    sum: u64,
}

/// One bucket in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The shortest duration in it.
    pub from: Nanos,
    /// The shortest duration beyond it.
    pub to: Nanos,
    /// How many fell into it.
    pub count: u32,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Nanos) {
        self.sum = self.sum.saturating_add(duration);
        self.add(index(duration), 1);
    }

    /// Adds what another one has counted.
    pub fn merge(&mut self, other: &Histogram) {
        self.sum = self.sum.saturating_add(other.sum);
        for &(index, count) in &other.buckets {
            self.add(index, count);
        }
    }

    fn add(&mut self, index: u16, count: u32) {
        match self.buckets.binary_search_by_key(&index, |bucket| bucket.0) {
            Ok(position) => {
                self.buckets[position].1 = self.buckets[position].1.saturating_add(count);
            }
            Err(position) => self.buckets.insert(position, (index, count)),
        }
    }

    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| u64::from(bucket.1)).sum()
    }

    /// All of them together.
    pub fn sum(&self) -> Nanos {
        self.sum
    }

    /// The buckets in use, shortest durations first.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> {
        self.buckets.iter().map(|&(index, count)| Bucket { from: bound(index), to: bound(index + 1), count })
    }

    /// The duration that `share` (0 to 1) of all durations do not exceed: the middle of its bucket. None without any.
    pub fn quantile(&self, share: f64) -> Option<Nanos> {
        let rank = ((share * self.count() as f64).ceil() as u64).max(1);
        let mut seen = 0;
        self.buckets()
            .find(|bucket| {
                seen += u64::from(bucket.count);
                seen >= rank
            })
            .map(|bucket| bucket.from.midpoint(bucket.to))
    }
}

fn index(duration: Nanos) -> u16 {
    let Some(power) = duration.checked_ilog2().filter(|power| *power >= LOWEST) else { return 0 };
    if power >= HIGHEST {
        return LAST;
    }
    let cut = (duration >> (power - CUTS)) as u16 & ((1 << CUTS) - 1);
    1 + (((power - LOWEST) as u16) << CUTS) + cut
}

/// The shortest duration in a bucket.
fn bound(index: u16) -> Nanos {
    match index {
        0 => 0,
        _ if index > LAST => 2 << HIGHEST,
        _ => {
            let (power, cut) = (u32::from((index - 1) >> CUTS), u64::from((index - 1) & ((1 << CUTS) - 1)));
            ((1 << CUTS) + cut) << (LOWEST + power - CUTS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_lie_side_by_side_and_hold_their_bounds() {
        for number in 1..=LAST {
            assert!(bound(number - 1) < bound(number));
            assert_eq!(index(bound(number)), number);
            assert_eq!(index(bound(number) - 1), number - 1);
        }
        assert_eq!((index(0), index(u64::MAX)), (0, LAST));
    }
}
