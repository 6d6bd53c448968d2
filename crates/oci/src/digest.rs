//! Content digests: `algorithm:hex`, as in the OCI image specification, "Digests".

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

/// A digest of bytes, `sha256:` or `sha512:` and lower-case hex.
///
/// Held as its canonical text, which is what every format writes; always valid.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid digest {text:?}: {reason}")]
pub struct DigestError {
    /// The text as given, shortened to 200 bytes.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Digest {
    /// The SHA-256 of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Digest {
        Digest::from_sha256(Sha256::digest(bytes).into())
    }

    /// A digest from the 32 raw bytes of a SHA-256.
    pub fn from_sha256(raw: [u8; 32]) -> Digest {
        Digest::from_raw("sha256:", &raw)
    }

    /// The SHA-512 of `bytes`.
    pub fn sha512(bytes: &[u8]) -> Digest {
        let mut hasher = Sha512Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    fn from_raw(prefix: &str, raw: &[u8]) -> Digest {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(prefix.len() + 2 * raw.len());
        text.push_str(prefix);
        for byte in raw {
            text.push(HEX[usize::from(byte >> 4)] as char);
            text.push(HEX[usize::from(byte & 15)] as char);
        }
        Digest(text)
    }

    /// The digest of `bytes` by the algorithm of this one: equal to it where they are the bytes it is of.
    pub fn again(&self, bytes: &[u8]) -> Digest {
        if self.algorithm() == "sha512" { Digest::sha512(bytes) } else { Digest::sha256(bytes) }
    }

    /// The algorithm's name: `sha256` or `sha512`.
    pub fn algorithm(&self) -> &str {
        &self.0[..6]
    }

    /// The lower-case hex digits after the colon.
    pub fn hex(&self) -> &str {
        &self.0[7..]
    }

    /// The first 12 hex digits, as Docker prints IDs.
    pub fn short(&self) -> &str {
        &self.0[7..19]
    }

    /// The whole text, `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let bad = |reason| DigestError { text: text.chars().take(200).collect(), reason };
        let (algorithm, hex) = text.split_once(':').ok_or_else(|| bad("no algorithm before a colon"))?;
        let digits = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return Err(bad("the algorithm is neither sha256 nor sha512")),
        };
        if hex.len() != digits {
            return Err(bad("wrong number of hex digits"));
        }
        if !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(bad("not lower-case hex"));
        }
        Ok(Digest(text.to_owned()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A running SHA-256.
#[derive(Clone, Default)]
pub struct Hasher {
    state: Sha256,
    len: u64,
}

impl Hasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Hasher {
        Hasher::default()
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.len += bytes.len() as u64;
    }

    /// Bytes seen so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no byte was seen.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The digest of all bytes seen.
    pub fn finish(self) -> Digest {
        Digest::from_sha256(self.finish_bytes())
    }

    /// The digest's 32 bytes, for whoever holds many of them.
    pub fn finish_bytes(self) -> [u8; 32] {
        self.state.finalize().into()
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A running SHA-512, for content that is addressed by one; everything of ours is addressed by SHA-256.
#[derive(Clone, Default)]
pub struct Sha512Hasher {
    state: Sha512,
}

impl Sha512Hasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Sha512Hasher {
        Sha512Hasher::default()
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    /// The digest of all bytes seen.
    pub fn finish(self) -> Digest {
        Digest::from_raw("sha512:", &self.state.finalize())
    }
}

/// Writes through to `W` and hashes what went through.
pub struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> HashingWriter<W> {
    /// Wraps `inner`; only bytes written from here on are hashed.
    pub fn new(inner: W) -> HashingWriter<W> {
        HashingWriter { inner, hasher: Hasher::new() }
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.hasher.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.hasher.is_empty()
    }

    /// The writer underneath, the digest and the length of what went through.
    pub fn finish(self) -> (W, Digest, u64) {
        let len = self.hasher.len();
        (self.inner, self.hasher.finish(), len)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn of_bytes() {
        assert_eq!(Digest::sha256(b"").to_string(), EMPTY);
        let mut writer = HashingWriter::new(Vec::new());
        writer.write_all(b"abc").unwrap();
        let (bytes, digest, len) = writer.finish();
        assert_eq!((bytes.as_slice(), len), (&b"abc"[..], 3));
        assert_eq!(digest, Digest::sha256(b"abc"));
        assert_eq!(digest.short(), "ba7816bf8f01");
    }

    #[test]
    fn by_sha512() {
        let digest = Digest::sha512(b"abc");
        assert!(digest.as_str().starts_with("sha512:ddaf35a193617aba"), "{digest}");
        assert_eq!(digest.as_str().parse::<Digest>().unwrap(), digest);
        assert_eq!(digest.again(b"abc"), digest);
        assert_eq!(Digest::sha256(b"").again(b"abc"), Digest::sha256(b"abc"));
    }

    #[test]
    fn parse_refuses() {
        let upper = EMPTY.to_uppercase().replace("SHA256", "sha256");
        for bad in [
            "",
            "sha256",
            "sha256:",
            "md5:00",
            &EMPTY[..70],
            &format!("{EMPTY}0"),
            &upper,
            "sha256:../../../etc",
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?} was taken");
        }
        assert_eq!(EMPTY.parse::<Digest>().unwrap().algorithm(), "sha256");
    }
}
