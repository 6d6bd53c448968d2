//! Compressed streams: what a layer or an archive may come in, found by its first bytes, never by its name.
//!
//! Readers take several members or frames one after the other, as `cat a.gz b.gz` makes them. The writers are
//! deterministic: the same bytes for the same input on any machine, whatever the number of threads.

mod deflate;
mod gzip;
mod method;

use std::io::{self, BufReader, Read, Write};

pub use gzip::GzipWriter;
pub use method::{Compressor, Method, MethodError};

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all (or not in a way we know).
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// bzip2.
    Bzip2,
    /// The .xz container.
    Xz,
}

impl Compression {
    /// How many bytes [`Compression::detect`] looks at.
    pub const MAGIC_LEN: usize = 6;

    /// From the first bytes of a stream.
    pub fn detect(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, 0x08, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // A skippable frame, with which some zstd streams begin.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [b'B', b'Z', b'h', ..] => Compression::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0x00, ..] => Compression::Xz,
            _ => Compression::None,
        }
    }

    /// The name as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "uncompressed",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Bzip2 => "bzip2",
            Compression::Xz => "xz",
        }
    }
}

/// Memory that an xz stream may ask for: what `xz -9` needs, and some more.
const XZ_MEMORY: u64 = 256 << 20;

/// Buffer in front of a decoder.
const BUFFER: usize = 128 << 10;

/// Uncompresses `source`, whatever it is compressed with. Errors of the format come as `InvalidData` or
/// `UnexpectedEof` from the reader returned.
///
/// # Errors
/// If the first bytes cannot be read.
pub fn reader<'a>(source: impl Read + Send + 'a) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let mut source = source;
    let (start, len) = read_start(&mut source)?;
    let compression = Compression::detect(&start[..len]);
    let source = BufReader::with_capacity(BUFFER, io::Cursor::new(start).take(len as u64).chain(source));
    let reader: Box<dyn Read + Send + 'a> = match compression {
        Compression::None => Box::new(source),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(source)?),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(source)),
        Compression::Xz => {
            let stream = xz2::stream::Stream::new_stream_decoder(XZ_MEMORY, xz2::stream::CONCATENATED)?;
            Box::new(xz2::bufread::XzDecoder::new_stream(source, stream))
        }
    };
    Ok((compression, reader))
}

fn read_start(source: &mut impl Read) -> io::Result<([u8; Compression::MAGIC_LEN], usize)> {
    let mut start = [0; Compression::MAGIC_LEN];
    let mut len = 0;
    while len < start.len() {
        match source.read(&mut start[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok((start, len))
}

/// A zstd writer, one frame with a checksum; call `finish` to end it.
///
/// # Errors
/// If zstd has no memory.
pub fn zstd_writer<W: Write>(inner: W, level: i32) -> io::Result<zstd::stream::write::Encoder<'static, W>> {
    let mut encoder = zstd::stream::write::Encoder::new(inner, level)?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut writer = GzipWriter::new(Vec::new(), 6, 1);
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn plain(bytes: &[u8]) -> io::Result<(Compression, Vec<u8>)> {
        let (compression, mut reader) = reader(bytes)?;
        let mut out = Vec::new();
        reader.read_to_end(&mut out)?;
        Ok((compression, out))
    }

    #[test]
    fn several_members_are_one_stream() {
        let two = [gz(b"one "), gz(b"two")].concat();
        assert_eq!(plain(&two).unwrap(), (Compression::Gzip, b"one two".to_vec()));
        let frames = [zstd::encode_all(&b"one "[..], 3).unwrap(), zstd::encode_all(&b"two"[..], 3).unwrap()];
        assert_eq!(plain(&frames.concat()).unwrap(), (Compression::Zstd, b"one two".to_vec()));
    }

    #[test]
    fn all_kinds_are_found() {
        let mut bz = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
        bz.write_all(b"text").unwrap();
        assert_eq!(plain(&bz.finish().unwrap()).unwrap(), (Compression::Bzip2, b"text".to_vec()));
        let mut xz = xz2::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(b"text").unwrap();
        assert_eq!(plain(&xz.finish().unwrap()).unwrap(), (Compression::Xz, b"text".to_vec()));
        assert_eq!(plain(b"text, plain").unwrap(), (Compression::None, b"text, plain".to_vec()));
        assert_eq!(plain(b"abc").unwrap(), (Compression::None, b"abc".to_vec()));
        assert_eq!(plain(b"").unwrap(), (Compression::None, vec![]));
    }

    #[test]
    fn truncation_is_an_error() {
        let noise: Vec<u8> = (0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for whole in [gz(&noise), zstd::encode_all(&noise[..], 3).unwrap()] {
            assert!(plain(&whole[..whole.len() - 1]).is_err());
            assert!(plain(&whole[..whole.len() / 2]).is_err());
        }
    }
}
