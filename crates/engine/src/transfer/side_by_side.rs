//! The same work on many things, several at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::Result;

/// Does `work` on each of `items`, `jobs` of them at once (at least one), and gives what came of each in their order.
/// After a failure none is begun; the first one is returned.
pub(crate) fn side_by_side<T: Sync, R: Send>(
    jobs: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<R>>> = Mutex::new(items.iter().map(|_| None).collect());
    let failed = Mutex::new(None);
    let lock = |failed| Mutex::lock(failed).unwrap_or_else(PoisonError::into_inner);
    let run = || {
        while lock(&failed).is_none() {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return };
            match work(item) {
                Ok(result) => done.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(result),
                Err(error) => drop(lock(&failed).get_or_insert(error)),
            }
        }
    };
    match jobs.min(items.len()) {
        0 | 1 => run(),
        threads => thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(run);
            }
            run();
        }),
    }
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn results_are_in_order_and_a_failure_ends_it() {
        let items: Vec<u32> = (0..50).collect();
        for jobs in [0, 1, 3, 100] {
            assert_eq!(
                side_by_side(jobs, &items, |n| Ok(n * 2)).unwrap(),
                items.iter().map(|n| n * 2).collect::<Vec<_>>()
            );
            let begun = AtomicUsize::new(0);
            let failed = side_by_side(jobs, &items, |n| {
                begun.fetch_add(1, Ordering::Relaxed);
                if *n == 1 { Err(Error::internal("one")) } else { Ok(()) }
            });
            assert_eq!(failed.unwrap_err().message, "one");
            assert!(jobs > 3 || begun.load(Ordering::Relaxed) < 50);
        }
        assert!(side_by_side(4, &[] as &[u32], |_| Ok(())).unwrap().is_empty());
    }
}
