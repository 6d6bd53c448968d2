//! One blob from where it is into the store: hashed as it comes, kept where it breaks off, handed to whoever reads it
//! meanwhile.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use oci::Descriptor;
use store::{PartialBlob, Store};

use super::Blobs;
use super::feed::Feed;
use super::progress::Bar;
use crate::{Error, Kind, Result};

const BUFFER: usize = 256 << 10;
/// How long a part that another process fetches may stand still before we fetch the blob on our own.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often is looked whether another process is done.
const LOOK: Duration = Duration::from_millis(30);

/// What one download needs to know.
pub(super) struct Download<'a> {
    pub store: &'a Store,
    pub blobs: &'a dyn Blobs,
    pub blob: &'a Descriptor,
    pub feed: &'a Feed,
    pub bar: &'a Bar<'a>,
    /// Whether what came of it is kept where it breaks off.
    pub keeps_parts: bool,
    /// Whether nobody wants it any more.
    pub stopped: &'a (dyn Fn() -> bool + Sync),
}

impl Download<'_> {
    /// Fetches the blob, or what is missing of it, and puts it into the store. The feed has ended then, whatever
    /// happened.
    pub fn run(&self) -> Result<()> {
        let done = self.fetch();
        if done.is_err() {
            self.feed.fail();
        }
        done
    }

    fn fetch(&self) -> Result<()> {
        let Some(mut part) = self.take()? else { return Ok(()) };
        // Another process may have finished it since.
        if self.store.blob_size(&self.blob.digest)? == Some(self.blob.size) {
            part.discard();
            return self.held();
        }
        if part.len() > self.blob.size {
            part.restart()?;
        }
        // What an earlier process left is not known to be right until all of it is there.
        let mut unsure = !part.is_empty();
        loop {
            self.feed.begin(part.file()?);
            if let Err(error) = self.fill(&mut part) {
                if matches!(error, Broken::Wrong(_)) || !self.keeps_parts {
                    part.discard();
                }
                return Err(error.into());
            }
            self.bar.say("Verifying Checksum", self.blob.size);
            match part.commit() {
                Ok(_) => {
                    self.bar.say("Download complete", self.blob.size);
                    self.feed.whole();
                    return Ok(());
                }
                Err(store::Error::DigestMismatch { .. }) if unsure => {
                    unsure = false;
                    part.restart()?;
                }
                Err(store::Error::DigestMismatch { found, .. }) => {
                    part.discard();
                    return Err(self.wrong(&format!("sent with digest {found}")));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The part to go on with; `None` where the blob came to the store by itself.
    fn take(&self) -> Result<Option<PartialBlob>> {
        let digest = &self.blob.digest;
        let (mut seen, mut since) = (None, Instant::now());
        loop {
            if let Some(part) = self.store.partial_blob(digest)? {
                return Ok(Some(part));
            }
            if self.store.blob_size(digest)? == Some(self.blob.size) {
                self.held()?;
                return Ok(None);
            }
            if (self.stopped)() {
                return Err(stopped());
            }
            let now = self.store.partial_len(digest);
            if now != seen {
                (seen, since) = (now, Instant::now());
                self.bar.say("Downloading", now.unwrap_or(0));
            } else if since.elapsed() > PATIENCE {
                return Ok(Some(self.store.own_partial_blob(digest)?));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// The blob is in the store.
    fn held(&self) -> Result<()> {
        self.feed.begin(self.store.open_blob(&self.blob.digest)?);
        self.feed.advance(self.blob.size);
        self.feed.whole();
        self.bar.say("Download complete", self.blob.size);
        Ok(())
    }

    /// Adds to the part until it is as long as the blob.
    fn fill(&self, part: &mut PartialBlob) -> Result<(), Broken> {
        let mut buffer = vec![0u8; BUFFER];
        let keep = |e: &io::Error| Broken::Other(Error::io(format!("keep blob {}", self.blob.digest), e));
        while part.rehash(&mut buffer).map_err(|e| keep(&e))? > 0 {
            self.check_stopped()?;
            self.feed.advance(part.hashed());
        }
        if part.len() == self.blob.size {
            return Ok(());
        }
        self.bar.say("Downloading", part.len());
        let mut body = self.blobs.open(self.blob, part.len()).map_err(|e| self.cut(e))?;
        loop {
            self.check_stopped()?;
            let read = match body.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.cut(error)),
            };
            if part.len() + read as u64 > self.blob.size {
                return Err(Broken::Wrong(self.wrong("longer than that")));
            }
            if read == 0 {
                break;
            }
            part.append(&buffer[..read]).map_err(|e| keep(&e))?;
            self.feed.advance(part.len());
            self.bar.moved("Downloading", part.len());
        }
        match part.len() == self.blob.size {
            true => Ok(()),
            false => Err(Broken::Wrong(self.wrong(&format!("{} bytes long", part.len())))),
        }
    }

    fn check_stopped(&self) -> Result<(), Broken> {
        if (self.stopped)() { Err(Broken::Other(stopped())) } else { Ok(()) }
    }

    /// What ended the reading.
    fn cut(&self, error: io::Error) -> Broken {
        let reason = error.to_string();
        let unnamed = |reason: String| {
            let place = self.blobs.place().0;
            let message = format!("blob {} from {place}: {reason}", self.blob.digest);
            Broken::Other(Error::new(Kind::Unavailable, message))
        };
        match error.into_inner().map(<dyn std::error::Error + Send + Sync>::downcast::<registry::Error>) {
            Some(Ok(error)) => {
                let wrong = matches!(*error, registry::Error::Digest { .. } | registry::Error::Size { .. });
                let error = Error::from(*error);
                if wrong { Broken::Wrong(error) } else { Broken::Other(error) }
            }
            Some(Err(other)) => match other.downcast::<Error>() {
                Ok(error) => Broken::Other(*error),
                Err(_) => unnamed(reason),
            },
            None => unnamed(reason),
        }
    }

    fn wrong(&self, how: &str) -> Error {
        let Descriptor { digest, size, .. } = self.blob;
        let (place, meaning) = self.blobs.place();
        Error::invalid(format!("blob {digest} of {size} bytes came {how} from {place}: {meaning}"))
    }
}

/// Why a blob is not whole.
enum Broken {
    /// What came is not the blob.
    Wrong(Error),
    /// No more came, or it could not be kept: what is here is as good as before.
    Other(Error),
}

impl From<Broken> for Error {
    fn from(broken: Broken) -> Error {
        match broken {
            Broken::Wrong(error) | Broken::Other(error) => error,
        }
    }
}

fn stopped() -> Error {
    Error::new(Kind::Unavailable, "it was interrupted")
}
