//! Writes canonical layer tars: the bytes are a pure function of the entries and their content.
//!
//! POSIX ustar headers without user and group names; a PAX header only before an entry that ustar cannot say:
//! paths and link targets that are too long or not ASCII (their raw bytes, as Go's archive/tar writes and reads
//! them), ids over 2,097,151, sizes over 8 GiB, times before 1970 or with nanoseconds, xattrs as `SCHILY.xattr.NAME`.
//!
//! It deliberately does not sort, check or normalise what it is given: `diff` and `copy` hand over entries in the
//! order and shape that they answer for.

use std::io::{self, Write};

use oci::{DiffId, HashingWriter};

use crate::{Entry, Kind, LayerStat, Mtime, Owner};

const BLOCK: usize = 512;
static ZEROS: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Largest number that ustar's seven octal digits hold (ids, device numbers).
const MAX_ID: u64 = 0o777_7777;
/// Largest number that ustar's eleven octal digits hold (sizes, seconds).
const MAX_LONG: u64 = 0o777_7777_7777;

/// A streaming tar writer: `entry`, then exactly `entry.size()` bytes through [`Write`], and so on, then `finish`.
///
/// Writes go to `W` in pieces as small as a header: give it something buffered.
pub struct TarWriter<W> {
    inner: W,
    /// Content of the current entry that is still to come.
    remaining: u64,
    /// Zeros due after that content.
    padding: usize,
    usage: u64,
    inodes: u64,
    scratch: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    /// Starts an archive.
    pub fn new(inner: W) -> TarWriter<W> {
        TarWriter {
            inner,
            remaining: 0,
            padding: 0,
            usage: 0,
            inodes: 0,
            scratch: Vec::with_capacity(4 * BLOCK),
        }
    }

    /// Writes the headers of `entry`. Its content, if any, is then written to `self`; padding follows by itself.
    ///
    /// # Errors
    /// `InvalidInput` if the content of the entry before is not complete, or if a tar cannot say this entry (a NUL in
    /// a path, `=` in an xattr's name); else what `W` says.
    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.end_content()?;
        self.scratch.clear();
        encode(entry, &mut self.scratch)?;
        self.inner.write_all(&self.scratch)?;
        self.count(entry);
        let size = entry.size();
        self.remaining = size;
        self.padding = padding(size);
        Ok(())
    }

    /// Writes what another thread prepared: the headers of `entry` by [`encode`], then its content and padding, in
    /// pieces. `entry` is counted and not encoded again.
    ///
    /// # Errors
    /// As [`TarWriter::entry`]; whether the pieces are what `entry` says is the caller's business.
    pub fn encoded<'a>(
        &mut self,
        entry: &Entry,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        self.end_content()?;
        for piece in pieces {
            self.inner.write_all(piece)?;
        }
        self.count(entry);
        Ok(())
    }

    /// Writes the end of the archive and gives back `W`, flushed.
    ///
    /// # Errors
    /// As [`TarWriter::entry`].
    pub fn finish(mut self) -> io::Result<W> {
        self.end_content()?;
        self.inner.write_all(&ZEROS)?;
        self.inner.flush()?;
        Ok(self.inner)
    }

    /// Bytes of regular files and number of inodes so far.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.usage, self.inodes)
    }

    fn end_content(&mut self) -> io::Result<()> {
        if self.remaining != 0 {
            return Err(invalid(format!("{} bytes short of the size in its tar header", self.remaining)));
        }
        let padding = std::mem::take(&mut self.padding);
        self.inner.write_all(&ZEROS[..padding])
    }

    fn count(&mut self, entry: &Entry) {
        self.usage += entry.size();
        let named_only = matches!(entry.kind, Kind::HardLink(_)) || is_whiteout(&entry.path);
        self.inodes += u64::from(!named_only);
    }
}

impl<W: Write> TarWriter<HashingWriter<W>> {
    /// Starts a layer: an archive whose DiffID is wanted.
    pub fn layer(inner: W) -> TarWriter<HashingWriter<W>> {
        TarWriter::new(HashingWriter::new(inner))
    }

    /// Writes the end of the archive; the writer underneath, flushed, and what the layer amounts to.
    ///
    /// # Errors
    /// As [`TarWriter::entry`].
    pub fn finish_layer(self) -> io::Result<(W, LayerStat)> {
        let (usage, inodes) = (self.usage, self.inodes);
        let (inner, digest, tar_size) = self.finish()?.finish();
        Ok((inner, LayerStat { diff_id: DiffId(digest), tar_size, usage, inodes }))
    }
}

impl<W: Write> Write for TarWriter<W> {
    /// Writes content of the current entry.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.remaining {
            return Err(invalid("more content than the size in its tar header".into()));
        }
        let n = self.inner.write(bytes)?;
        self.remaining -= n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Zeros after `size` bytes of content, up to the next multiple of 512.
pub fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// Appends the header blocks of `entry` to `out`: a PAX header if it needs one, then its own.
///
/// # Errors
/// `InvalidInput` if a tar cannot say this entry.
pub fn encode(entry: &Entry, out: &mut Vec<u8>) -> io::Result<()> {
    let mut path = entry.path.clone();
    match entry.kind {
        // The root has no name of its own.
        Kind::Directory if path.is_empty() => path.extend_from_slice(b"./"),
        Kind::Directory => path.push(b'/'),
        _ => {}
    }
    let link: &[u8] = match &entry.kind {
        Kind::Symlink(target) | Kind::HardLink(target) => target,
        _ => b"",
    };
    if path.contains(&0) || link.contains(&0) {
        return Err(invalid("a NUL byte in a name".into()));
    }

    let mut header = [0; BLOCK];
    let mut pax = Pax::default();

    if let Some((prefix, name)) = split_ustar(&path) {
        header[..name.len()].copy_from_slice(name);
        header[345..345 + prefix.len()].copy_from_slice(prefix);
    } else {
        pax.add(b"path", &path);
        put_ascii(&mut header[..100], &path);
    }
    if link.len() > 100 || !link.is_ascii() {
        pax.add(b"linkpath", link);
    }
    put_ascii(&mut header[157..257], link);

    let Owner { uid, gid } = entry.owner;
    put_octal(&mut header[100..108], u64::from(entry.mode & 0o7777));
    put_number(&mut header[108..116], u64::from(uid), MAX_ID, b"uid", &mut pax);
    put_number(&mut header[116..124], u64::from(gid), MAX_ID, b"gid", &mut pax);
    put_number(&mut header[124..136], entry.size(), MAX_LONG, b"size", &mut pax);

    let Mtime { sec, nsec } = entry.mtime;
    let plain = u64::try_from(sec).ok().filter(|s| *s <= MAX_LONG);
    put_octal(&mut header[136..148], plain.unwrap_or(0));
    if plain.is_none() || nsec != 0 {
        pax.add(b"mtime", pax_time(entry.mtime).as_bytes());
    }

    header[156] = type_flag(&entry.kind);
    header[257..265].copy_from_slice(b"ustar\x0000");
    let (major, minor) = match entry.kind {
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => (major, minor),
        _ => (0, 0),
    };
    if u64::from(major.max(minor)) > MAX_ID {
        return Err(invalid(format!("device number {major}:{minor} does not fit a tar header")));
    }
    put_octal(&mut header[329..337], u64::from(major));
    put_octal(&mut header[337..345], u64::from(minor));

    for (name, value) in &entry.xattrs {
        if name.is_empty() || name.contains(&b'=') || name.contains(&0) {
            let name = name.escape_ascii();
            return Err(invalid(format!("xattr {name}: a tar cannot hold a name with `=`")));
        }
        pax.add(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }

    pax.write(&path, out);
    seal(&mut header);
    out.extend_from_slice(&header);
    Ok(())
}

fn type_flag(kind: &Kind) -> u8 {
    match kind {
        Kind::File { .. } => b'0',
        Kind::HardLink(_) => b'1',
        Kind::Symlink(_) => b'2',
        Kind::CharDevice { .. } => b'3',
        Kind::BlockDevice { .. } => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

/// Prefix and name of an ASCII path that ustar's two fields hold.
fn split_ustar(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= 100 {
        return Some((b"", path));
    }
    // The last slash that leaves a name, where a directory's own closing slash does not count.
    let end = path.len().min(156).min(path.len() - usize::from(path.ends_with(b"/")));
    let slash = path[..end].iter().rposition(|b| *b == b'/')?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (!prefix.is_empty() && !name.is_empty() && name.len() <= 100).then_some((prefix, name))
}

/// What an old reader gets to see of a name that is in a PAX record: its ASCII bytes, cut to the field.
fn put_ascii(field: &mut [u8], text: &[u8]) {
    for (to, from) in field.iter_mut().zip(text.iter().filter(|b| b.is_ascii())) {
        *to = *from;
    }
}

/// Zero-padded octal and a NUL.
fn put_octal(field: &mut [u8], mut n: u64) {
    let (end, digits) = field.split_last_mut().expect("because header fields are not empty");
    *end = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (n & 7) as u8;
        n >>= 3;
    }
}

fn put_number(field: &mut [u8], n: u64, max: u64, key: &[u8], pax: &mut Pax) {
    if n <= max {
        return put_octal(field, n);
    }
    put_octal(field, 0);
    pax.add(key, n.to_string().as_bytes());
}

/// Decimal seconds, with as many digits of the fraction as it has.
fn pax_time(Mtime { sec, nsec }: Mtime) -> String {
    if nsec == 0 {
        return sec.to_string();
    }
    // -1.25 is two seconds before 1970 and 0.75 after that.
    let text = if sec < 0 {
        format!("-{}.{:09}", (sec + 1).unsigned_abs(), 1_000_000_000 - nsec)
    } else {
        format!("{sec}.{nsec:09}")
    };
    text.trim_end_matches('0').to_owned()
}

fn seal(header: &mut [u8; BLOCK]) {
    header[148..156].fill(b' ');
    let sum: u64 = header.iter().map(|b| u64::from(*b)).sum();
    put_octal(&mut header[148..155], sum);
}

/// PAX records of one entry, sorted by key when written.
#[derive(Default)]
struct Pax(Vec<(Vec<u8>, Vec<u8>)>);

impl Pax {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.0.push((key.to_vec(), value.to_vec()));
    }

    fn write(mut self, path: &[u8], out: &mut Vec<u8>) {
        if self.0.is_empty() {
            return;
        }
        self.0.sort();
        let mut body = Vec::new();
        for (key, value) in &self.0 {
            // The length of a record counts its own digits.
            let rest = key.len() + value.len() + 3;
            let mut len = rest + decimal_digits(rest);
            if rest + decimal_digits(len) != len {
                len = rest + decimal_digits(len);
            }
            body.extend_from_slice(len.to_string().as_bytes());
            body.push(b' ');
            body.extend_from_slice(key);
            body.push(b'=');
            body.extend_from_slice(value);
            body.push(b'\n');
        }

        let mut header = [0; BLOCK];
        let trimmed = path.strip_suffix(b"/").unwrap_or(path);
        let (dir, base) = match trimmed.iter().rposition(|b| *b == b'/') {
            Some(slash) => trimmed.split_at(slash + 1),
            None => (&b""[..], trimmed),
        };
        put_ascii(&mut header[..100], &[dir, b"PaxHeaders.0/", base].concat());
        for field in [100..108, 108..116, 116..124, 136..148, 329..337, 337..345] {
            put_octal(&mut header[field], 0);
        }
        put_octal(&mut header[124..136], body.len() as u64);
        header[156] = b'x';
        header[257..265].copy_from_slice(b"ustar\x0000");
        seal(&mut header);
        out.extend_from_slice(&header);
        out.extend_from_slice(&body);
        out.resize(out.len() + padding(body.len() as u64), 0);
    }
}

fn decimal_digits(n: usize) -> usize {
    n.checked_ilog10().unwrap_or(0) as usize + 1
}

fn is_whiteout(path: &[u8]) -> bool {
    path.rsplit(|b| *b == b'/').next().is_some_and(|name| name.starts_with(b".wh."))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_of(entry: &Entry) -> Vec<u8> {
        let mut out = Vec::new();
        encode(entry, &mut out).unwrap();
        out
    }

    #[test]
    fn plain_entries_are_one_block() {
        let mut entry = Entry::new("usr/bin/env", Kind::File { size: 5 }, 0o100755);
        entry.owner = Owner { uid: 2_097_151, gid: 0 };
        let header = header_of(&entry);
        assert_eq!(header.len(), 512);
        assert_eq!(&header[100..108], b"0000755\0");
        assert_eq!(&header[108..116], b"7777777\0");
        assert_eq!(&header[124..136], b"00000000005\0");
        assert_eq!(&header[257..265], b"ustar\x0000");
    }

    #[test]
    fn long_ascii_paths_are_split_or_go_to_pax() {
        let split = Entry::new([b"d".repeat(100), b"n".repeat(100)].join(&b'/'), Kind::Fifo, 0o644);
        assert_eq!(header_of(&split).len(), 512);
        let dir = Entry::new([b"d".repeat(155), b"n".repeat(99)].join(&b'/'), Kind::Directory, 0o755);
        assert_eq!(header_of(&dir).len(), 512);
        for unsplit in [b"n".repeat(101), [b"d".repeat(156), b"n".repeat(9)].join(&b'/'), b"caf\xe9".to_vec()]
        {
            let header = header_of(&Entry::new(unsplit.clone(), Kind::Fifo, 0o644));
            assert_eq!(header.len(), 3 * 512, "{}", unsplit.escape_ascii());
            assert!(header.windows(unsplit.len()).any(|w| w == unsplit));
        }
    }

    #[test]
    fn pax_record_lengths_count_themselves() {
        // Around the lengths at which the decimal length itself gains a digit.
        for n in (80..110).chain(980..1010).chain(9980..10_010) {
            let path = vec![b'p'; n.max(101)];
            let header = header_of(&Entry::new(path, Kind::Fifo, 0));
            let record = &header[512..];
            let space = record.iter().position(|b| *b == b' ').unwrap();
            let len: usize = std::str::from_utf8(&record[..space]).unwrap().parse().unwrap();
            assert_eq!(record[len - 1], b'\n');
            assert_eq!(len, space + 1 + "path=".len() + n.max(101) + 1);
        }
    }

    #[test]
    fn times() {
        let text = |sec, nsec| pax_time(Mtime { sec, nsec });
        assert_eq!(text(1, 500_000_000), "1.5");
        assert_eq!(text(1, 1), "1.000000001");
        assert_eq!(text(-2, 750_000_000), "-1.25");
        assert_eq!(text(-1, 750_000_000), "-0.25");
        assert_eq!(text(-10, 0), "-10");
    }

    #[test]
    fn content_must_be_what_the_header_says() {
        let entry = Entry::new("a", Kind::File { size: 3 }, 0o644);
        let mut tar = TarWriter::layer(Vec::new());
        tar.entry(&entry).unwrap();
        assert!(tar.write_all(b"four").is_err());
        tar.write_all(b"ab").unwrap();
        assert!(tar.entry(&entry).is_err());
        tar.write_all(b"c").unwrap();
        let (bytes, stat) = tar.finish_layer().unwrap();
        assert_eq!(bytes.len(), 512 * 4);
        assert_eq!(stat.diff_id.0, oci::Digest::sha256(&bytes));
        assert_eq!((stat.tar_size, stat.usage, stat.inodes), (2048, 3, 1));
    }

    #[test]
    fn what_a_tar_cannot_say_is_refused() {
        assert!(encode(&Entry::new("a\0b", Kind::Fifo, 0), &mut Vec::new()).is_err());
        let mut entry = Entry::new("a", Kind::Fifo, 0);
        entry.xattrs.insert(b"user.a=b".to_vec(), vec![]);
        assert!(encode(&entry, &mut Vec::new()).is_err());
    }
}
