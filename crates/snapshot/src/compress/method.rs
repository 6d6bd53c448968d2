//! How a layer is compressed when it leaves, in a few letters that can be written down: `gzip:2`, `zstd:3`,
//! `uncompressed`.
//!
//! A method and the input decide the output, whatever the machine and the number of threads, as long as the
//! compressors are those of one release of this program. Whoever makes a blob again compares its digest.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use zstd::stream::raw::CParameter;

use super::{Compression, GzipWriter};

/// A compression and its level; or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Gzip at a level from 0 (stored) to 9.
    Gzip(u8),
    /// Zstandard at a level from 1 to 19.
    Zstd(u8),
    /// As it is: a plain tar, whose digest is the DiffID.
    Uncompressed,
}

/// Uncompressed bytes that one zstd worker takes at a time. Larger jobs compress no better at the usual levels, and
/// each stream holds some four of them.
const ZSTD_JOB: u32 = 1 << 20;

/// Why there is no such method.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// Not a compression for layers.
    #[error("unknown compression {0:?}: gzip, zstd or uncompressed")]
    Compression(String),
    /// A compression that BuildKit has and this does not.
    #[error("compression {0} is not supported: gzip, zstd or uncompressed")]
    Unsupported(&'static str),
    /// Not a level of that compression.
    #[error("{0} has no level {1}: 0 to 9 for gzip, 1 to 19 for zstd")]
    Level(&'static str, i64),
}

impl Method {
    /// The gzip level that is used where none is asked for: a thirtieth larger than `gzip -6` makes it, at three times
    /// the speed.
    pub const GZIP: Method = Method::Gzip(1);
    /// The zstd level that is used where none is asked for, as by zstd itself.
    pub const ZSTD: Method = Method::Zstd(3);

    /// `gzip` or `zstd` at `level`, or at its usual one; or `uncompressed`, for which a level says nothing.
    ///
    /// # Errors
    /// What it knows no method for.
    pub fn new(compression: &str, level: Option<i64>) -> Result<Method, MethodError> {
        let usual = match compression {
            "gzip" => Method::GZIP,
            "zstd" => Method::ZSTD,
            "uncompressed" => return Ok(Method::Uncompressed),
            "estargz" => return Err(MethodError::Unsupported("estargz")),
            other => return Err(MethodError::Compression(other.to_owned())),
        };
        let Some(level) = level else { return Ok(usual) };
        let name = usual.compression().name();
        let refused = || MethodError::Level(name, level);
        let level = u8::try_from(level).map_err(|_| refused())?;
        match usual {
            Method::Gzip(_) if level <= 9 => Ok(Method::Gzip(level)),
            Method::Zstd(_) if (1..=19).contains(&level) => Ok(Method::Zstd(level)),
            _ => Err(refused()),
        }
    }

    /// The format that it makes.
    pub fn compression(self) -> Compression {
        match self {
            Method::Gzip(_) => Compression::Gzip,
            Method::Zstd(_) => Compression::Zstd,
            Method::Uncompressed => Compression::None,
        }
    }

    /// A writer that compresses to `out` on `threads` threads beside the caller's (at least one).
    ///
    /// # Errors
    /// If zstd has no memory.
    pub fn writer<W: Write>(self, out: W, threads: usize) -> io::Result<Compressor<W>> {
        match self {
            Method::Gzip(level) => Ok(Compressor::Gzip(GzipWriter::new(out, level.into(), threads))),
            Method::Zstd(level) => {
                let mut encoder = zstd::stream::write::Encoder::new(out, level.into())?;
                encoder.include_checksum(true)?;
                // The number of workers does not change the bytes, as long as there is one; their jobs' size does.
                encoder.multithread(u32::try_from(threads.clamp(1, 64)).unwrap_or(1))?;
                encoder.set_parameter(CParameter::JobSize(ZSTD_JOB))?;
                Ok(Compressor::Zstd(Box::new(encoder)))
            }
            Method::Uncompressed => Ok(Compressor::None(out)),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Method::Gzip(level) => write!(f, "gzip:{level}"),
            Method::Zstd(level) => write!(f, "zstd:{level}"),
            Method::Uncompressed => f.write_str("uncompressed"),
        }
    }
}

impl FromStr for Method {
    type Err = MethodError;

    fn from_str(text: &str) -> Result<Method, MethodError> {
        if text == "uncompressed" {
            return Ok(Method::Uncompressed);
        }
        let unknown = || MethodError::Compression(text.to_owned());
        let (compression, level) =
            text.split_once(':').filter(|(name, _)| *name != "uncompressed").ok_or_else(unknown)?;
        Method::new(compression, Some(level.parse().map_err(|_| unknown())?))
    }
}

/// A compressing writer. Without `finish` the stream has no end.
pub enum Compressor<W: Write> {
    /// By [`Method::Gzip`].
    Gzip(GzipWriter<W>),
    /// By [`Method::Zstd`].
    Zstd(Box<zstd::stream::write::Encoder<'static, W>>),
    /// By [`Method::Uncompressed`].
    None(W),
}

impl<W: Write> Compressor<W> {
    /// Ends the stream and gives back what it was written to.
    ///
    /// # Errors
    /// What `W` says.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Compressor::Gzip(writer) => writer.finish(),
            Compressor::Zstd(encoder) => {
                let mut out = encoder.finish()?;
                out.flush()?;
                Ok(out)
            }
            Compressor::None(mut out) => {
                out.flush()?;
                Ok(out)
            }
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Compressor::Gzip(writer) => writer.write(bytes),
            Compressor::Zstd(encoder) => encoder.write(bytes),
            Compressor::None(out) => out.write(bytes),
        }
    }

    /// Flushes what is compressed; blocks and jobs stay whole.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Compressor::Gzip(writer) => writer.flush(),
            Compressor::Zstd(encoder) => encoder.get_mut().flush(),
            Compressor::None(out) => out.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Something between text and noise.
    fn bytes(len: usize, seed: u32) -> Vec<u8> {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let piece = next() as usize % 50;
            match next() % 3 {
                0 if bytes.len() > 40_000 => {
                    let from = bytes.len() - 1 - next() as usize % 40_000;
                    let to = (from + piece).min(bytes.len());
                    bytes.extend_from_within(from..to);
                }
                1 => bytes.extend(std::iter::repeat_n(next() as u8, piece)),
                _ => bytes.extend((0..piece).map(|_| next() as u8)),
            }
        }
        bytes.truncate(len);
        bytes
    }

    fn compress(method: Method, bytes: &[u8], threads: usize, piece: usize) -> Vec<u8> {
        let mut writer = method.writer(Vec::new(), threads).unwrap();
        for piece in bytes.chunks(piece) {
            writer.write_all(piece).unwrap();
        }
        writer.finish().unwrap()
    }

    fn plain(bytes: &[u8]) -> Vec<u8> {
        let (_, mut reader) = super::super::reader(bytes).unwrap();
        let mut out = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut out).unwrap();
        out
    }

    /// One member of RFC 1952, for a reader that knows of no second one.
    fn one_member(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reader = flate2::bufread::GzDecoder::new(bytes);
        std::io::Read::read_to_end(&mut reader, &mut out).unwrap();
        assert!(reader.into_inner().is_empty());
        out
    }

    #[test]
    fn the_same_for_one_to_eight_threads() {
        let bytes = bytes(5 << 20, 3);
        for method in [Method::GZIP, Method::Gzip(6), Method::ZSTD] {
            let one = compress(method, &bytes, 1, 1 << 16);
            assert!(plain(&one) == bytes, "{method}");
            for threads in 2..=8 {
                assert!(one == compress(method, &bytes, threads, 70_001), "{method} on {threads} threads");
            }
        }
    }

    #[test]
    fn in_letters() {
        for text in ["gzip:0", "gzip:9", "zstd:1", "zstd:19", "uncompressed"] {
            assert_eq!(text.parse::<Method>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "gzip",
            "gzip:10",
            "zstd:0",
            "zstd:20",
            "xz:1",
            "gzip:-1",
            "gzip:x",
            "uncompressed:1",
            "estargz:1",
        ] {
            assert!(text.parse::<Method>().is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn any_reader_inflates_it(len in 0usize..3 << 20, seed: u32, level in 0u8..=9, piece in 1usize..2 << 20) {
            let bytes = bytes(len, seed);
            let gzip = compress(Method::Gzip(level), &bytes, 2, piece);
            prop_assert!(one_member(&gzip) == bytes);
            let mut whole = vec![0; bytes.len()];
            let n = libdeflater::Decompressor::new().gzip_decompress(&gzip, &mut whole).unwrap();
            prop_assert!(n == bytes.len() && whole == bytes);
            let zstd = compress(Method::Zstd(1 + level / 3), &bytes, 2, piece);
            prop_assert!(zstd::bulk::decompress(&zstd, bytes.len() + 1).unwrap() == bytes);
        }
    }
}
