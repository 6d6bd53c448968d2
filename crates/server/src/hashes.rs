//! The running hashes of an upload: always sha256, by which the store keeps it, and sha512 where the client addresses
//! it by that.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use oci::{Digest, Hasher, Sha512Hasher};
use store::Upload;

/// Hashes of the bytes that an upload has so far.
#[derive(Clone, Default)]
pub(crate) struct Hashes {
    sha256: Hasher,
    sha512: Option<Sha512Hasher>,
}

impl Hashes {
    /// Of no bytes; with sha512 where that is asked for.
    pub(crate) fn new(sha512: bool) -> Hashes {
        Hashes { sha256: Hasher::new(), sha512: sha512.then(Sha512Hasher::new) }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(bytes);
        }
    }

    /// The digests of all bytes: by which the store keeps them, and by the algorithm of `addressed`.
    pub(crate) fn finish(self, addressed: &Digest) -> (Digest, Option<Digest>) {
        let blob = self.sha256.finish();
        match (addressed.algorithm(), self.sha512) {
            ("sha512", sha512) => (blob, sha512.map(Sha512Hasher::finish)),
            _ => (blob.clone(), Some(blob)),
        }
    }

    /// Hashes what an upload has from its file. Blocks.
    pub(crate) fn read(upload: &Upload, sha512: bool) -> Result<Hashes, store::Error> {
        let mut hashes = Hashes::new(sha512);
        if upload.is_empty() {
            return Ok(hashes);
        }
        let mut file = upload.read()?;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(hashes),
                Ok(n) => hashes.update(&buffer[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(store::Error::io("cannot read", std::path::Path::new(upload.id()), e)),
            }
        }
    }
}

/// The hashes of the uploads that this process has seen, by ID.
#[derive(Default)]
pub(crate) struct Known(Mutex<HashMap<String, Hashes>>);

impl Known {
    /// Takes the hashes of an upload; what nobody keeps, or what another server has added to since, is hashed again.
    /// Blocks.
    pub(crate) fn take(&self, upload: &Upload, sha512: bool) -> Result<Hashes, store::Error> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(upload.id());
        match known {
            Some(hashes) if hashes.sha256.len() == upload.len() && (!sha512 || hashes.sha512.is_some()) => {
                Ok(hashes)
            }
            // Keeps on with what was asked for when it began.
            Some(hashes) => Hashes::read(upload, sha512 || hashes.sha512.is_some()),
            None => Hashes::read(upload, sha512),
        }
    }

    /// Keeps the hashes of an upload for its next request.
    pub(crate) fn keep(&self, id: &str, hashes: Hashes) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // There are never so many uploads; the entries of those that were swept go this way.
        if known.len() >= 4000 {
            known.clear();
        }
        known.insert(id.to_owned(), hashes);
    }

    /// Forgets an upload.
    pub(crate) fn forget(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}
