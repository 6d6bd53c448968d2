//! Uploads of blobs that are made while they are sent: chunks, each held until the registry has it.

use std::fmt;
use std::io::{self, Write};

use oci::Digest;
use ureq::http::Method;

use crate::error::Error;
use crate::exchange::{Failure, Place, Target};
use crate::http::request::{Payload, Request};
use crate::repository::Repository;
use crate::repository::session::Session;

/// Bytes of a chunk: a round trip each, held in memory until it is known to be there.
const CHUNK: u64 = 8 << 20;
/// The largest least chunk that a registry may ask for.
const CHUNK_LIMIT: u64 = 16 << 20;

/// What became of a mount.
#[derive(Debug)]
pub enum Mount {
    /// The blob is in the repository now.
    Mounted,
    /// The registry would rather have it uploaded: an upload that has begun.
    Upload(Upload),
}

/// A blob on its way to the registry, in chunks that are held until the registry has them. Dropped
/// unfinished, it is cancelled.
///
/// Its `io::Error`s hold an [`Error`]. After one, nothing more is taken.
pub struct Upload {
    repository: Repository,
    session: Session,
    /// Written, and not yet known to be at the registry.
    buffer: Vec<u8>,
    /// Bytes before the buffer.
    offset: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Failed,
    Finished,
}

impl Repository {
    /// Takes the blob over from the repository `from` of the same registry, where the registry will.
    pub fn mount(&self, digest: &Digest, from: &str) -> Result<Mount, Error> {
        let what = format!("a mount of {} from {from}", self.what_blob(digest));
        let hosts = &self.client.shared.options.hosts;
        let at =
            hosts.endpoints(&self.registry, from)?.pop().map_or_else(|| from.to_owned(), |e| e.repository);
        let place = self.destination()?;
        let scopes = place.scopes(&["pull", "push"]).union(&crate::auth::Scopes::repository(&at, &["pull"]));
        let path = format!("/v2/{}/blobs/uploads/?mount={digest}&from={at}", place.endpoint.repository);
        let begun = self.at_destination(|place| {
            let asked = place.send(&mut Request::new(Method::POST), Target::Path(&path), &scopes, &what);
            let answer = match asked {
                Ok(answer) => answer,
                // The other repository may be closed to us, and this one open.
                Err(Failure { error: Error::Denied { .. }, .. }) => return Ok(Err(())),
                Err(failure) => return Err(failure),
            };
            match answer.status {
                201 => {
                    answer.drain(place.shared.options.stall);
                    Ok(Ok(None))
                }
                202 => Ok(Ok(Some(Session::begun(place, answer, &what)?))),
                _ => {
                    answer.drain(place.shared.options.stall);
                    Ok(Err(()))
                }
            }
        })?;
        match begun {
            Ok(None) => Ok(Mount::Mounted),
            Ok(Some(session)) => Ok(Mount::Upload(self.upload_in(session)?)),
            Err(()) => Ok(Mount::Upload(self.upload()?)),
        }
    }

    /// Begins an upload of a blob whose digest will be known at its end.
    pub fn upload(&self) -> Result<Upload, Error> {
        let what = self.what_upload();
        let session = self.at_destination(|place| Session::begin(place, &what))?;
        self.upload_in(session)
    }

    fn upload_in(&self, session: Session) -> Result<Upload, Error> {
        if session.least > CHUNK_LIMIT {
            let reason = format!("it asks for chunks of {} bytes at least", session.least);
            let (registry, what) = (self.registry.to_string(), self.what_upload());
            return Err(Error::Malformed { registry, what, reason });
        }
        let repository = self.clone();
        Ok(Upload { repository, session, buffer: Vec::new(), offset: 0, state: State::Open })
    }

    fn what_upload(&self) -> String {
        format!("an upload to {}", self.name)
    }
}

impl Upload {
    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the upload: the registry checks `digest` over all that was written.
    pub fn finish(mut self, digest: &Digest) -> Result<(), Error> {
        if self.state != State::Open {
            let doing = self.repository.what_upload();
            return Err(Error::Local { doing, source: io::Error::other("it failed before") });
        }
        // What fits into one request is one; else the last chunk and the end are two, as some registries
        // take no bytes with the end.
        if self.offset > 0 && !self.buffer.is_empty() {
            self.settle(None)?;
        }
        self.settle(Some(digest))?;
        self.state = State::Finished;
        Ok(())
    }

    fn chunk(&self) -> usize {
        CHUNK.max(self.session.least) as usize
    }

    /// Sends what is held until the registry has it, and with a digest ends the upload.
    fn settle(&mut self, digest: Option<&Digest>) -> Result<(), Error> {
        let repository = self.repository.clone();
        let place = repository.destination()?;
        let what = repository.what_upload();
        let mut first = true;
        let settled = repository.client.shared.options.retry.patiently(|| {
            // After a failure, how much of it arrived is for the registry to say.
            if !std::mem::replace(&mut first, false) && self.resume(&place, digest, &what)? {
                return Ok(());
            }
            let Some(digest) = digest else {
                let held = self.session.append(&place, &self.buffer, self.offset, &what)?;
                return match self.advance(held, &place, &what)? {
                    true => Ok(()),
                    false => Err(Failure::passing(self.lost(&place, held, &what))),
                };
            };
            self.session.finish(&place, Payload::Bytes(&self.buffer), self.offset, digest, &what)
        });
        if settled.is_err() {
            self.state = State::Failed;
        }
        settled
    }

    /// Asks for the state of the upload and drops what the registry has. Whether nothing is left to be done.
    fn resume(&mut self, place: &Place<'_>, digest: Option<&Digest>, what: &str) -> Result<bool, Failure> {
        match self.session.status(place, what)? {
            Some(held) => Ok(self.advance(held, place, what)? && digest.is_none()),
            // It may have ended, and only the answer was lost.
            None => match digest.map(|digest| self.repository.has_blob(digest)).transpose()?.flatten() {
                Some(size) if size == self.len() => Ok(true),
                _ => Err(place.malformed(what, "the upload is not known any more".to_owned()).into()),
            },
        }
    }

    /// Drops the first bytes of the buffer, up to `held`. Whether it is empty then.
    fn advance(&mut self, held: u64, place: &Place<'_>, what: &str) -> Result<bool, Failure> {
        let arrived = held.checked_sub(self.offset).filter(|n| *n <= self.buffer.len() as u64);
        let Some(arrived) = arrived else { return Err(self.lost(place, held, what).into()) };
        self.buffer.drain(..arrived as usize);
        self.offset = held;
        Ok(self.buffer.is_empty())
    }

    fn lost(&self, place: &Place<'_>, held: u64, what: &str) -> Error {
        let (from, to) = (self.offset, self.len());
        place.malformed(what, format!("it has {held} bytes, where {from} to {to} were sent"))
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.state != State::Open {
            return Err(io::Error::other("the upload failed before"));
        }
        let room = self.chunk() - self.buffer.len();
        let taken = bytes.len().min(room);
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == self.chunk() {
            self.settle(None).map_err(io::Error::other)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.state != State::Finished
            && let Ok(place) = self.repository.destination()
        {
            self.session.cancel(&place, "the end of an upload");
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({} bytes to {}, {:?})", self.len(), self.repository.name, self.state)
    }
}
