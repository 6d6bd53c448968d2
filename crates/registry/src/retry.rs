//! When a failed request is sent again: back-off that doubles, with jitter, so that many clients that
//! failed together do not come back together.

use std::thread;
use std::time::Duration;

use crate::error::Error;
use crate::exchange::{Again, Failure};

/// When a failed request is sent again. Only failures that may pass count: 408, 429, 5xx, connections
/// that were reset, cut or stalled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// How often in a row at the same place, the first time included. A transfer that went on counts anew.
    pub attempts: u32,
    /// The wait before the second attempt; it doubles from there. The real wait is between half and all of it.
    pub base: Duration,
    /// The longest wait between attempts.
    pub cap: Duration,
    /// The longest `Retry-After` that is obeyed; where more is asked for the request fails at once.
    pub patience: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            attempts: 6,
            base: Duration::from_millis(300),
            cap: Duration::from_secs(10),
            patience: Duration::from_secs(120),
        }
    }
}

impl Retry {
    /// The wait before the next try, after `failures` in a row; `None`: there is to be none.
    pub(crate) fn wait(&self, failures: u32, again: Again) -> Option<Duration> {
        if failures >= self.attempts {
            return None;
        }
        let doubled = self.base.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let wait = doubled.min(self.cap).mul_f64(0.5 + fastrand::f64() / 2.0);
        match again {
            Again::Never => None,
            Again::Later => Some(wait),
            Again::After(asked) => (asked <= self.patience).then(|| asked.max(wait)),
        }
    }

    /// Calls `attempt` until it succeeds or there is no point.
    pub(crate) fn patiently<T>(&self, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, Error> {
        let mut failures = 0;
        loop {
            let failure = match attempt() {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            failures += 1;
            match self.wait(failures, failure.again) {
                Some(wait) => thread::sleep(wait),
                None => return Err(failure.error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_a_cap() {
        let retry = Retry { attempts: 8, base: SECOND, cap: 8 * SECOND, patience: 60 * SECOND };
        for (failures, most) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (7, 8)] {
            let wait = retry.wait(failures, Again::Later).unwrap();
            assert!(wait >= most * SECOND / 2 && wait <= most * SECOND, "{failures}: {wait:?}");
        }
        assert_eq!(retry.wait(8, Again::Later), None);
        assert_eq!(retry.wait(1, Again::Never), None);
    }

    #[test]
    fn what_is_asked_is_waited() {
        let retry = Retry { attempts: 3, base: SECOND, cap: SECOND, patience: 60 * SECOND };
        assert_eq!(retry.wait(1, Again::After(60 * SECOND)), Some(60 * SECOND));
        assert_eq!(retry.wait(1, Again::After(61 * SECOND)), None);
        // No wait at all is not obeyed.
        assert!(retry.wait(1, Again::After(Duration::ZERO)).unwrap() >= SECOND / 2);
        assert_eq!(retry.wait(3, Again::After(SECOND)), None);
    }
}
