//! A count of the work done, for the tests that hold the front half to linear time. Outside of
//! tests it is nothing.

#[cfg(test)]
thread_local! {
    static SPENT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Says that `bytes` bytes or steps are looked at.
#[inline]
pub(crate) fn spend(bytes: usize) {
    #[cfg(test)]
    SPENT.set(SPENT.get() + bytes as u64);
    #[cfg(not(test))]
    let _ = bytes;
}

/// The work that `run` does on this thread.
#[cfg(test)]
pub(crate) fn measure(run: impl FnOnce()) -> u64 {
    let before = SPENT.get();
    run();
    SPENT.get() - before
}
