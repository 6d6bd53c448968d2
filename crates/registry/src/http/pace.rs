//! A floor under the speed of what a connection receives, at the socket, so that bytes that trickle
//! in one at a time (within headers, bodies, chunk sizes or TLS records) end it like silence does.
//!
//! Only time spent waiting for the other side counts: a reader that is busy elsewhere makes no
//! connection slow. Nor does the wait for the first byte of an answer, which has a limit of its own.

use std::fmt;
use std::time::{Duration, Instant};

use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};
use ureq::{Error, Timeout};

/// Bytes that have to come in each stretch of waiting as long as the stall limit: some 1 KiB/s.
const FLOOR: u64 = 32 << 10;

/// Wraps each connection made before it in the chain.
#[derive(Debug)]
pub(crate) struct PaceConnector {
    pub window: Duration,
}

impl<In: Transport> Connector<In> for PaceConnector {
    type Out = Paced<In>;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<Paced<In>>, Error> {
        Ok(chained.map(|inner| Paced { inner, pace: Pace::new(self.window) }))
    }
}

/// A connection with a floor under its speed.
pub(crate) struct Paced<In> {
    inner: In,
    pace: Pace,
}

impl<In: Transport> fmt::Debug for Paced<In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<In: Transport> Transport for Paced<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.pace.sent();
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let before = self.inner.buffers().input().len();
        let started = Instant::now();
        let more = self.inner.await_input(timeout)?;
        let received = self.inner.buffers().input().len().saturating_sub(before) as u64;
        match self.pace.received(received, started.elapsed()) {
            true => Ok(more),
            false => Err(Error::Timeout(Timeout::PerRead)),
        }
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// The measure itself.
struct Pace {
    window: Duration,
    fresh: bool,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn new(window: Duration) -> Pace {
        Pace { window, fresh: true, waited: Duration::ZERO, bytes: 0 }
    }

    /// A request, or a piece of one, went out: what comes next is an answer.
    fn sent(&mut self) {
        *self = Pace::new(self.window);
    }

    /// `bytes` came after a wait. Whether that is fast enough.
    fn received(&mut self, bytes: u64, wait: Duration) -> bool {
        if !std::mem::replace(&mut self.fresh, false) {
            self.waited += wait;
        }
        self.bytes += bytes;
        if self.waited < self.window {
            return true;
        }
        let enough = self.bytes >= FLOOR;
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_trickle_ends() {
        let mut pace = Pace::new(30 * SECOND);
        let taken = (0..100).take_while(|_| pace.received(1, SECOND)).count();
        assert_eq!(taken, 30);
    }

    #[test]
    fn a_slow_line_goes_on() {
        let mut pace = Pace::new(30 * SECOND);
        assert!((0..1000).all(|_| pace.received(1500, SECOND)));
    }

    #[test]
    fn the_first_byte_may_take_long() {
        let mut pace = Pace::new(30 * SECOND);
        assert!(pace.received(300, 200 * SECOND));
        pace.sent();
        assert!(pace.received(300, 200 * SECOND));
        assert!(!pace.received(300, 200 * SECOND));
    }
}
