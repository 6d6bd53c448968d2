//! Uploads of blobs that are at hand: one request, gone on with where it was cut.

use std::io::{self, Read};
use std::thread;

use oci::Descriptor;

use crate::error::Error;
use crate::exchange::{Again, Failure, Place};
use crate::http::request::Payload;
use crate::repository::Repository;
use crate::repository::session::Session;

/// Bytes that have to have arrived for the end of a connection to count as no failure.
const PROGRESS: u64 = 64 << 10;

impl Repository {
    /// Uploads a blob whose digest and size are known. `open(offset)` gives its bytes from there on, and is
    /// called again to retry or resume. `progress` is told how many of its bytes were sent, from the beginning of
    /// the blob; after a failure that can be less than before.
    ///
    /// # Errors
    /// [`Error::Local`] for a failure of `open`, or of what it gave; it is not tried again.
    pub fn push_blob(
        &self,
        descriptor: &Descriptor,
        open: &mut dyn FnMut(u64) -> io::Result<Box<dyn Read + Send>>,
        progress: &dyn Fn(u64),
    ) -> Result<(), Error> {
        let what = self.what_blob(&descriptor.digest);
        let place = self.destination()?;
        let retry = &self.client.shared.options.retry;
        let mut push = Push { descriptor, session: None, held: 0 };
        let mut failures = 0;
        loop {
            let before = push.held;
            let failure = match self.push_on(&place, &mut push, open, progress, &what) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            if push.held.saturating_sub(before) >= PROGRESS && failure.again != Again::Never {
                failures = 0;
                continue;
            }
            failures += 1;
            match retry.wait(failures, failure.again) {
                Some(wait) => thread::sleep(wait),
                None => {
                    if let Some(session) = &push.session {
                        session.cancel(&place, &what);
                    }
                    return Err(failure.error);
                }
            }
        }
    }

    fn push_on(
        &self,
        place: &Place<'_>,
        push: &mut Push<'_>,
        open: &mut dyn FnMut(u64) -> io::Result<Box<dyn Read + Send>>,
        progress: &dyn Fn(u64),
        what: &str,
    ) -> Result<(), Failure> {
        let size = push.descriptor.size;
        let known = match &mut push.session {
            None => None,
            // After a failure, how much arrived is for the registry to say.
            Some(session) => match session.status(place, what)? {
                Some(held) if held <= size => Some(held),
                // Its end may have come, and only the answer was lost.
                _ if self.has_blob(&push.descriptor.digest)? == Some(size) => return Ok(()),
                _ => None,
            },
        };
        match known {
            Some(held) => push.held = held,
            None => {
                push.session = Some(Session::begin(place, what)?);
                push.held = 0;
            }
        }
        let Some(session) = &push.session else { return Ok(()) };
        let source = open(push.held)
            .map_err(|source| Error::Local { doing: format!("read {what}, which is to be sent"), source })?;
        progress(push.held);
        let mut counted = Counted { source, sent: push.held, progress };
        let payload = Payload::Stream { source: &mut counted, length: size - push.held };
        session.finish(place, payload, push.held, &push.descriptor.digest, what)
    }
}

/// How far a push is.
struct Push<'a> {
    descriptor: &'a Descriptor,
    session: Option<Session>,
    /// Bytes that the registry said it has.
    held: u64,
}

/// Tells what goes through it.
struct Counted<'a> {
    source: Box<dyn Read + Send>,
    sent: u64,
    progress: &'a dyn Fn(u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.sent += read as u64;
        (self.progress)(self.sent);
        Ok(read)
    }
}
