//! Blobs as they stream by: a reader that survives the connection.

use std::fmt;
use std::io::{self, Read};
use std::thread;

use oci::{Descriptor, Digest};
use ureq::http::Method;

use crate::error::Error;
use crate::exchange::{Again, Failure, Place, Target};
use crate::http::answer::Answer;
use crate::http::request::Request;
use crate::http::trouble::Trouble;
use crate::repository::{By, Repository};
use crate::verify;

/// Bytes that have to have come over a connection for its end to count as no failure.
const PROGRESS: u64 = 64 << 10;

/// The bytes of a blob, as they come. See [`Repository::blob`].
pub struct BlobReader {
    repository: Repository,
    digest: Digest,
    size: u64,
    /// Where the next byte stands in the blob.
    offset: u64,
    /// Where the connection at hand began, or the last attempt at one.
    begun: u64,
    body: Option<Box<dyn Read + Send>>,
    /// Who sends.
    from: String,
    /// Failures in a row without progress.
    failures: u32,
    /// Mirrors not to be asked again.
    skipped: usize,
    ended: bool,
}

impl Repository {
    /// The blob's bytes from `offset` on. It reconnects by itself where the connection is cut or stalls, as
    /// long as there is progress, and ends exactly at the descriptor's size, or fails: its `io::Error` holds an
    /// [`Error`]. The caller hashes what it reads.
    ///
    /// # Errors
    /// Those of the first connection, which is made here.
    pub fn blob(&self, descriptor: &Descriptor, offset: u64) -> Result<BlobReader, Error> {
        let mut reader = BlobReader {
            repository: self.clone(),
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            offset,
            begun: offset,
            body: None,
            from: self.registry().to_owned(),
            failures: 0,
            skipped: 0,
            // Nothing is asked for nothing.
            ended: offset == descriptor.size,
        };
        if offset > descriptor.size {
            return Err(reader.size_error(Some(offset)));
        }
        if !reader.ended {
            reader.reconnect()?;
        }
        Ok(reader)
    }

    /// A blob whole and verified.
    ///
    /// # Errors
    /// [`Error::Malformed`] where the descriptor says more than `limit` bytes, before anything is sent.
    pub fn small_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, Error> {
        let what = self.what_blob(&descriptor.digest);
        if descriptor.size > limit {
            let reason = format!("it has {} bytes, more than the {limit} allowed", descriptor.size);
            return Err(Error::Malformed { registry: self.registry().to_owned(), what, reason });
        }
        let mut reader = self.blob(descriptor, 0)?;
        let mut bytes = Vec::with_capacity(descriptor.size as usize);
        reader.read_to_end(&mut bytes).map_err(|error| inner(error, &what))?;
        let found = verify::digest_as(&descriptor.digest, &bytes);
        match found == descriptor.digest {
            true => Ok(bytes),
            false => {
                let (registry, expected) = (reader.from, descriptor.digest.clone());
                Err(Error::Digest { registry, what, expected, found })
            }
        }
    }
}

/// The registry's error in an `io::Error` of a reader.
fn inner(error: io::Error, doing: &str) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(source) => Error::Local { doing: doing.to_owned(), source },
    }
}

impl BlobReader {
    /// Host and port of who sends the bytes: the registry, a mirror, or the storage that either led to.
    pub fn host(&self) -> &str {
        &self.from
    }

    fn what(&self) -> String {
        self.repository.what_blob(&self.digest)
    }

    fn size_error(&self, found: Option<u64>) -> Error {
        Error::Size { registry: self.from.clone(), what: self.what(), expected: self.size, found }
    }

    /// Makes a connection that stands at the offset, as often as it takes.
    fn reconnect(&mut self) -> Result<(), Error> {
        loop {
            self.begun = self.offset;
            match self.connect() {
                Ok(()) => return Ok(()),
                Err(failure) => self.after(failure)?,
            }
        }
    }

    /// Waits, unless there was progress, or gives up.
    fn after(&mut self, failure: Failure) -> Result<(), Error> {
        self.body = None;
        let retry = &self.repository.client.shared.options.retry;
        if self.offset - self.begun >= PROGRESS && failure.again != Again::Never {
            self.failures = 0;
            return Ok(());
        }
        self.failures += 1;
        // A mirror that sends nothing of use is asked no more.
        self.skipped += 1;
        match retry.wait(self.failures, failure.again) {
            Some(wait) => {
                thread::sleep(wait);
                Ok(())
            }
            None => Err(failure.error),
        }
    }

    fn connect(&mut self) -> Result<(), Failure> {
        let repository = self.repository.clone();
        let places = repository.readable(By::Digest)?;
        let first = self.skipped.min(places.len().saturating_sub(1));
        let Some((origin, mirrors)) = places.get(first..).and_then(<[Place<'_>]>::split_last) else {
            return self.connect_to(&repository.place(repository.endpoints()?.origin()));
        };
        for mirror in mirrors {
            match self.connect_to(mirror) {
                Ok(()) => return Ok(()),
                Err(failure) => mirror.failed(&failure),
            }
            self.skipped += 1;
        }
        self.connect_to(origin)
    }

    fn connect_to(&mut self, place: &Place<'_>) -> Result<(), Failure> {
        let what = self.what();
        let mut request = Request::new(Method::GET);
        if self.offset > 0 {
            request = request.header("Range", format!("bytes={}-", self.offset));
        }
        let path = format!("/v2/{}/blobs/{}", place.endpoint.repository, self.digest);
        let answer = place.send(&mut request, Target::Path(&path), &place.scopes(&["pull"]), &what)?;
        self.from = place.shown(&answer.url);
        let skip = match answer.status {
            // Range may be ignored: then what is known comes again.
            200 => self.offset,
            206 => {
                self.check_range(place, &answer, &what)?;
                0
            }
            404 => return Err(self.repository.no_blob(place, answer, &self.digest)),
            416 => return Err(self.size_error(Some(self.offset)).into()),
            _ => return Err(place.unexpected(answer, &what).into()),
        };
        let rest = self.size - self.offset + skip;
        if let Some(length) = answer.length().filter(|length| *length != rest) {
            return Err(self.size_error(Some(self.offset - skip + length)).into());
        }
        let mut body: Box<dyn Read + Send> = Box::new(answer.into_body());
        if skip > 0 {
            let skipped = io::copy(&mut (&mut body).take(skip), &mut io::sink());
            match skipped {
                Ok(n) if n == skip => {}
                Ok(n) => return Err(Failure::passing(self.size_error(Some(n)))),
                Err(error) => return Err(self.trouble(&error)),
            }
        }
        self.body = Some(body);
        Ok(())
    }

    /// A part has to be the one asked for (RFC 9110, section 14.4).
    fn check_range(&self, place: &Place<'_>, answer: &Answer, what: &str) -> Result<(), Failure> {
        let said = answer.header("content-range").unwrap_or_default();
        let bad = || {
            place.malformed(what, format!("it is the part {said:.60?} where {}- was asked for", self.offset))
        };
        let (first, last, total) = content_range(said).ok_or_else(bad)?;
        if first != self.offset || last.checked_add(1) != Some(self.size) {
            return Err(bad().into());
        }
        match total.filter(|total| *total != self.size) {
            Some(total) => Err(self.size_error(Some(total)).into()),
            None => Ok(()),
        }
    }

    fn trouble(&self, error: &io::Error) -> Failure {
        let stall = self.repository.client.shared.options.stall;
        Failure::trouble(Trouble::of_io(error), &self.from, &self.what(), stall)
    }

    fn step(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, Failure> {
        let left = self.size - self.offset;
        let Some(body) = &mut self.body else {
            self.reconnect()?;
            return Ok(None);
        };
        if left == 0 {
            // One read more shows a body that is too long, and lets the connection be used again.
            let after = body.read(&mut [0]);
            self.body = None;
            return match after {
                Ok(1..) => Err(self.size_error(None).into()),
                _ => {
                    self.ended = true;
                    Ok(Some(0))
                }
            };
        }
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match body.read(&mut buffer[..most]) {
            Ok(0) => Err(Failure::passing(self.size_error(Some(self.offset)))),
            Ok(read) => {
                self.offset += read as u64;
                // The end is looked for at once: whoever stops at the size has seen it.
                if self.offset == self.size {
                    self.step(&mut [0])?;
                }
                Ok(Some(read))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(self.trouble(&error)),
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while !self.ended {
            match self.step(buffer) {
                Ok(Some(read)) => return Ok(read),
                Ok(None) => {}
                Err(failure) => self.after(failure).map_err(io::Error::other)?,
            }
        }
        Ok(0)
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobReader({} at {} of {} from {})", self.digest, self.offset, self.size, self.from)
    }
}

impl Repository {
    pub(super) fn no_blob(&self, place: &Place<'_>, answer: Answer, digest: &Digest) -> Failure {
        self.not_found(place, answer, |message| Error::NoBlob {
            registry: self.registry().to_owned(),
            repository: self.name().to_owned(),
            digest: digest.clone(),
            message,
        })
    }
}

/// `bytes FIRST-LAST/TOTAL`, where the total may be `*`.
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = match total {
        "*" => None,
        digits => Some(digits.parse().ok()?),
    };
    Some((first.parse().ok()?, last.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        for (text, expected) in [
            ("bytes 5-9/10", Some((5, 9, Some(10)))),
            ("bytes 0-0/*", Some((0, 0, None))),
            ("bytes */10", None),
            ("bytes 5-/10", None),
            ("items 5-9/10", None),
            ("", None),
            ("bytes 5-9/99999999999999999999", None),
        ] {
            assert_eq!(content_range(text), expected, "{text}");
        }
    }
}
