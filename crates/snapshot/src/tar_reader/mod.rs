//! Reads tars of every make: v7, ustar, PAX, GNU, star, with sparse files in all four forms.
//!
//! It gives entries as they are, with what extension headers say put where it belongs: on the next entry, and on no
//! other. Where formats leave room, it reads as Go's archive/tar does, so that what Docker sees is what we see: PAX
//! global headers are passed over, an empty PAX value leaves the header's, GNU long names overrule PAX, links and
//! directories have no content whatever their size says, a missing end of archive is no error.
//!
//! It deliberately does not judge paths or ids (`apply` does), and trusts nothing: extension headers and sparse maps
//! are bounded, every number is checked, and an entry cut short is an error that names it.

mod header;
mod pax;
mod sparse;

use std::collections::BTreeMap;

use crate::Mtime;
use crate::error::{Error, Name};
use crate::stream::{Source, StreamError};
use crate::tar_writer::padding;
use header::{BLOCK, Bad, Header};
use pax::Pax;
pub use sparse::Segment;

/// What an entry is, by its type flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Regular file.
    File,
    /// Hard link to `RawEntry::link`.
    HardLink,
    /// Symbolic link to `RawEntry::link`.
    Symlink,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Directory.
    Directory,
    /// Named pipe.
    Fifo,
}

/// An entry as the archive has it.
#[derive(Debug, PartialEq, Eq)]
pub struct RawEntry {
    /// The path as written, with leading, trailing and double slashes, `.` and `..`; no NUL.
    pub path: Vec<u8>,
    /// Its type.
    pub kind: Type,
    /// Target of a link, as written.
    pub link: Vec<u8>,
    /// `0o7777` bits.
    pub mode: u32,
    /// User id; may be out of any range.
    pub uid: i64,
    /// Group id; may be out of any range.
    pub gid: i64,
    /// Time of last modification.
    pub mtime: Mtime,
    /// Major and minor of a device, else 0.
    pub device: (u32, u32),
    /// Length of a file in bytes, holes included; 0 for all else.
    pub size: u64,
    /// Of a sparse file: where the stored bytes go. `None`: all of them, from 0.
    pub sparse: Option<Vec<Segment>>,
    /// Extended attributes as written.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A streaming reader: `next`, then `content` as often as wanted, and so on.
pub struct TarReader<S> {
    source: S,
    /// Most bytes of an extension header.
    most_header: u64,
    /// Stored bytes of the current entry that were not read yet, and the padding after them.
    remaining: u64,
    padding: u64,
    /// The entry last seen, for messages.
    name: Name,
    ended: bool,
}

impl<S: Source> TarReader<S> {
    /// Reads from the start of `source`; extension headers may have `most_header` bytes each.
    pub fn new(source: S, most_header: u64) -> TarReader<S> {
        let name = Name(b"(start of the archive)".to_vec());
        TarReader { source, most_header, remaining: 0, padding: 0, name, ended: false }
    }

    /// The next entry, past what is left of the one before; `None` at the end of the archive.
    ///
    /// # Errors
    /// [`Error::Archive`] for what is malformed or cut short, [`Error::Limit`], [`Error::Io`].
    #[expect(clippy::should_implement_trait, reason = "an iterator could not give content between its items")]
    pub fn next(&mut self) -> Result<Option<RawEntry>, Error> {
        self.skip_content()?;
        let mut extra = Extra::default();
        while !self.ended {
            let Some(block) = self.header()? else { break };
            let header = Header(&block);
            let flag = header.type_flag();
            match flag {
                b'x' => {
                    let bytes = self.extension(&header)?;
                    if extra.pax.is_some() {
                        return Err(self.bad("two PAX headers for one entry".into()));
                    }
                    extra.pax = Some(pax::parse(&bytes).map_err(|reason| self.bad(reason))?);
                }
                b'L' => extra.path = Some(self.long_name(&header)?),
                b'K' => extra.link = Some(self.long_name(&header)?),
                // Global headers, and GNU's volume label, name list and multi-volume remains: nothing of a file tree.
                b'g' | b'V' | b'X' | b'N' => {
                    let size = header.size().map_err(|reason| self.bad(reason))?;
                    self.begin_content(size);
                    self.skip_content()?;
                }
                _ => return self.entry(&header, extra).map(Some),
            }
        }
        self.ended = true;
        if extra.pax.is_some() || extra.path.is_some() || extra.link.is_some() {
            return Err(self.bad("the archive ends between an extension header and its entry".into()));
        }
        Ok(None)
    }

    /// The next piece of the current entry's stored content; empty when there is no more. Take from it by `consume`.
    ///
    /// # Errors
    /// As `next`.
    pub fn content(&mut self) -> Result<&[u8], Error> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let most = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        // Looked at twice, as a borrow cannot both be returned and given up.
        let len = at(&self.name, self.source.fill())?.len().min(most);
        if len == 0 {
            let missing = self.remaining;
            return Err(self.bad(format!("the archive ends {missing} bytes before the end of its content")));
        }
        Ok(&at(&self.name, self.source.fill())?[..len])
    }

    /// Takes `n` bytes of what `content` showed.
    pub fn consume(&mut self, n: usize) {
        self.remaining -= n as u64;
        self.source.consume(n);
    }

    /// Reads what follows the end of the archive, to the end of the stream.
    ///
    /// # Errors
    /// As `next`.
    pub fn drain(&mut self) -> Result<(), Error> {
        loop {
            let n = at(&self.name, self.source.fill())?.len();
            if n == 0 {
                return Ok(());
            }
            self.source.consume(n);
        }
    }

    /// An error at the current entry.
    pub(crate) fn bad(&self, reason: Bad) -> Error {
        Error::Archive { entry: self.name.clone(), reason }
    }

    fn begin_content(&mut self, size: u64) {
        self.remaining = size;
        self.padding = padding(size) as u64;
    }

    fn skip_content(&mut self) -> Result<(), Error> {
        while self.remaining > 0 {
            let n = self.content()?.len();
            self.consume(n);
        }
        self.remaining = std::mem::take(&mut self.padding);
        while self.remaining > 0 {
            let n = self.content()?.len();
            self.consume(n);
        }
        Ok(())
    }

    /// A header block with a right checksum; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        if !self.block(&mut block)? {
            return Ok(None);
        }
        if block == [0; BLOCK] {
            if self.block(&mut block)? && block != [0; BLOCK] {
                return Err(
                    self.bad("after it, a block of zeros and then more: the archive is damaged".into())
                );
            }
            return Ok(None);
        }
        let header = Header(&block);
        if !header.is_sealed() {
            let reason = "what follows it is no tar header (its checksum is wrong)";
            return Err(self.bad(reason.into()));
        }
        if !matches!(header.type_flag(), b'x' | b'g' | b'L' | b'K') {
            self.name = Name(header.path());
        }
        Ok(Some(block))
    }

    /// Fills `block`; false at the end of the stream.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, Error> {
        let mut have = 0;
        while have < BLOCK {
            let bytes = at(&self.name, self.source.fill())?;
            let n = bytes.len().min(BLOCK - have);
            if n == 0 {
                if have == 0 {
                    return Ok(false);
                }
                return Err(self.bad("the archive ends inside the header after it".into()));
            }
            block[have..have + n].copy_from_slice(&bytes[..n]);
            self.source.consume(n);
            have += n;
        }
        Ok(true)
    }

    /// The whole content of an extension header.
    fn extension(&mut self, header: &Header<'_>) -> Result<Vec<u8>, Error> {
        let size = header.size().map_err(|reason| self.bad(reason))?;
        if size > self.most_header {
            let (entry, limit) = (self.name.clone(), self.most_header);
            return Err(Error::Limit { entry, what: "bytes in the header after it", limit });
        }
        self.begin_content(size);
        let mut bytes = Vec::new();
        while self.remaining > 0 {
            let piece = self.content()?;
            bytes.extend_from_slice(piece);
            let n = piece.len();
            self.consume(n);
        }
        self.skip_content()?;
        Ok(bytes)
    }

    fn long_name(&mut self, header: &Header<'_>) -> Result<Vec<u8>, Error> {
        let mut bytes = self.extension(header)?;
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        bytes.truncate(end);
        Ok(bytes)
    }

    fn entry(&mut self, header: &Header<'_>, extra: Extra) -> Result<RawEntry, Error> {
        let Extra { pax, path, link } = extra;
        let pax = pax.unwrap_or_default();
        let path = path.or(pax.path.clone()).unwrap_or_else(|| header.path());
        // A PAX sparse file goes by a made-up name in its header.
        let path = pax.sparse.name.clone().filter(|_| pax.sparse.is_present()).unwrap_or(path);
        self.name = Name(path.clone());
        let kind = match header.type_flag() {
            b'0' | b'7' | b'S' => Type::File,
            // Before there were types, a slash told.
            0 if path.ends_with(b"/") => Type::Directory,
            0 => Type::File,
            b'1' => Type::HardLink,
            b'2' => Type::Symlink,
            b'3' => Type::CharDevice,
            b'4' => Type::BlockDevice,
            b'5' => Type::Directory,
            b'6' => Type::Fifo,
            other => return Err(self.bad(format!("unknown tar entry type {:?}", char::from(other)))),
        };
        let raw = self.fields(header, &pax, kind).map_err(|reason| self.bad(reason))?;
        let (stored, mut raw) = (raw.size, raw);
        raw.path = path;
        raw.link = link.or(pax.link).unwrap_or_else(|| header.link().to_vec());
        raw.xattrs = pax.xattrs;
        self.begin_content(stored);
        if kind == Type::File {
            if header.type_flag() == b'S' {
                self.old_gnu_sparse(header, &mut raw)?;
            } else if pax.sparse.is_present() {
                self.pax_sparse(&pax.sparse, &mut raw)?;
            }
        }
        Ok(raw)
    }

    /// The numbers of an entry, and nothing else; `size` is what is stored.
    fn fields(&self, header: &Header<'_>, pax: &Pax, kind: Type) -> Result<RawEntry, Bad> {
        let is_device = matches!(kind, Type::CharDevice | Type::BlockDevice);
        let size = if kind == Type::File { pax.size.map_or_else(|| header.size(), Ok)? } else { 0 };
        if size > i64::MAX as u64 {
            return Err("a size beyond all files".into());
        }
        Ok(RawEntry {
            path: Vec::new(),
            kind,
            link: Vec::new(),
            mode: header.mode()?,
            uid: pax.uid.map_or_else(|| header.uid(), Ok)?,
            gid: pax.gid.map_or_else(|| header.gid(), Ok)?,
            mtime: pax.mtime.map_or_else(|| header.mtime(), Ok)?,
            device: if is_device { header.device()? } else { (0, 0) },
            size,
            sparse: None,
            xattrs: BTreeMap::new(),
        })
    }

    /// The map is in the header and in blocks after it, which are no part of the size.
    fn old_gnu_sparse(&mut self, header: &Header<'_>, raw: &mut RawEntry) -> Result<(), Error> {
        let (first, mut more, real_size) = header.gnu_sparse().map_err(|reason| self.bad(reason))?;
        let mut map = sparse::Map::default();
        map.push_gnu(first).map_err(|reason| self.bad(reason))?;
        while more {
            let mut block = [0; BLOCK];
            if !self.block(&mut block)? {
                return Err(self.bad("the archive ends inside its sparse map".into()));
            }
            map.push_gnu(&block[..504]).map_err(|reason| self.bad(reason))?;
            more = block[504] != 0;
        }
        self.set_sparse(map, real_size, raw)
    }

    /// 0.0 and 0.1 have the map in the records, 1.0 at the start of the content, in decimal lines.
    fn pax_sparse(&mut self, gnu: &pax::GnuSparse, raw: &mut RawEntry) -> Result<(), Error> {
        let Some(real_size) = gnu.real_size else {
            return Err(self.bad("a sparse file without its size".into()));
        };
        let mut map = sparse::Map::default();
        match (gnu.major, gnu.minor) {
            (Some(1), Some(0)) => {
                let before = self.remaining;
                let count = self.sparse_line()?;
                for _ in 0..count {
                    let (offset, len) = (self.sparse_line()?, self.sparse_line()?);
                    map.push(offset, len).map_err(|reason| self.bad(reason))?;
                }
                // The map fills whole blocks.
                let mut rest = padding(before - self.remaining);
                while rest > 0 {
                    let n = self.content()?.len().min(rest);
                    if n == 0 {
                        return Err(self.bad("its sparse map is cut short".into()));
                    }
                    self.consume(n);
                    rest -= n;
                }
            }
            (None | Some(0), None | Some(0 | 1)) => {
                let blocks = gnu.blocks.unwrap_or(gnu.map.len() as u64 / 2);
                if blocks != gnu.map.len() as u64 / 2 {
                    return Err(self.bad("a sparse map of another length than it says".into()));
                }
                map.push_pairs(&gnu.map).map_err(|reason| self.bad(reason))?;
            }
            _ => return Err(self.bad("an unknown version of sparse file".into())),
        }
        self.set_sparse(map, real_size, raw)
    }

    fn sparse_line(&mut self) -> Result<u64, Error> {
        let mut digits = Vec::new();
        loop {
            let byte = self.content()?.first().copied();
            match byte {
                Some(b'\n') => break self.consume(1),
                Some(byte) if digits.len() < 20 => {
                    digits.push(byte);
                    self.consume(1);
                }
                _ => return Err(self.bad("its sparse map is malformed".into())),
            }
        }
        pax::decimal(&digits).ok_or_else(|| self.bad("its sparse map is malformed".into()))
    }

    fn set_sparse(&self, map: sparse::Map, real_size: u64, raw: &mut RawEntry) -> Result<(), Error> {
        if real_size > i64::MAX as u64 {
            return Err(self.bad("a size beyond all files".into()));
        }
        raw.sparse = Some(map.finish(self.remaining, real_size).map_err(|reason| self.bad(reason))?);
        raw.size = real_size;
        Ok(())
    }
}

/// What extension headers said of the entry to come.
#[derive(Default)]
struct Extra {
    pax: Option<Pax>,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

/// Adds the entry to an error of the stream.
fn at<T>(name: &Name, result: Result<T, StreamError>) -> Result<T, Error> {
    result.map_err(|error| match error {
        StreamError::Limit { what, limit } => Error::Limit { entry: name.clone(), what, limit },
        StreamError::Io(error) => match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Error::archive(
                name.0.as_slice(),
                format!("the archive is cut short here or just after: {error}"),
            ),
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput => Error::archive(
                name.0.as_slice(),
                format!("the archive is damaged here or just after: {error}"),
            ),
            _ => Error::io(format!("reading the archive at {name}"), error),
        },
    })
}
