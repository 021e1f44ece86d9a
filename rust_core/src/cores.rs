//! Work spread over the cores of the machine.

use std::num::NonZeroUsize;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;

/// How many items a thread takes at once: for fewer, starting one costs more than it saves.
const SHARE: usize = 4;
/// How many cores this process may use. Asking reads control files, which takes longer than a signature.
static CORES: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, NonZeroUsize::get));

/// Does `work` with each of `items`, about as long as a signature takes, on all cores; the results are in order.
pub fn spread<I: Send, O: Send>(items: Vec<I>, work: impl Fn(I) -> O + Sync) -> Vec<O> {
    let threads = CORES.min(items.len().div_ceil(SHARE));
    if threads < 2 {
        return items.into_iter().map(work).collect();
    }
    let mut items: Vec<Option<I>> = items.into_iter().map(Some).collect();
    let mut results: Vec<Option<O>> = items.iter().map(|_| None).collect();
    let shares = Mutex::new(items.chunks_mut(SHARE).zip(results.chunks_mut(SHARE)));
    let take = || {
        loop {
            let share = shares.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((items, results)) = share else {
                return;
            };
            for (item, result) in items.iter_mut().zip(results) {
                *result = item.take().map(&work);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // Where no thread can be had, this one does the work of all.
            let _ = thread::Builder::new().spawn_scoped(scope, take);
        }
        take();
    });
    results.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn every_item_has_its_result_in_its_place() {
        for count in [0, 1, 3, 4, 5, 63, 64, 1_000] {
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(spread(items.clone(), |item| item), items);
        }
    }
}
