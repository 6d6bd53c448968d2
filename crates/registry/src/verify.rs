//! The digest of bytes by the algorithm of another digest.

use oci::Digest;
use sha2::{Digest as _, Sha512};

/// The digest of `bytes`, comparable with `like`.
pub(crate) fn digest_as(like: &Digest, bytes: &[u8]) -> Digest {
    if like.algorithm() == "sha256" {
        return Digest::sha256(bytes);
    }
    let hex: String = Sha512::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha512:{hex}").parse().expect("because 64 bytes in lower-case hex are a sha512 digest")
}
