//! A cache mount's directory made of chunks.
//!
//! Packs and chunks are compared with their digests, and the tar is taken apart as every archive that is not trusted:
//! nothing in it leads out of the directory.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use oci::{Digest, HashingWriter};
use snapshot::{Limits, Mtime, Owner, UnpackOptions};
use store::Store;

use super::INDEX_LIMIT;
use super::index::{Chunk, Index, Pack};
use crate::build::cache::config::CarriedMount;
use crate::build::cache::place::read_small;
use crate::transfer::{self, Source, side_by_side};
use crate::{Error, Kind, Result};

/// Packs fetched at once.
const JOBS: usize = 4;

/// Fills `directory`, which is empty, with what `source` has for the mount. Given up once `stop` is set.
pub(crate) fn restore(
    store: &Store,
    source: &dyn Source,
    mount: &CarriedMount,
    directory: &Path,
    stop: &AtomicBool,
) -> Result<()> {
    let index = Index::parse(&read_small(source, &mount.descriptor(), INDEX_LIMIT)?)?;
    let pending = store.begin_snapshot()?;
    let path = |number: usize| pending.dir().join(format!("pack-{number}"));
    let packs: Vec<usize> = (0..index.packs.len()).collect();
    let files = side_by_side(JOBS, &packs, |number| {
        let path = path(*number);
        if stop.load(Ordering::Relaxed) {
            return Err(Error::new(Kind::Unavailable, "it was interrupted"));
        }
        fetch(source, &index.packs[*number], &path)?;
        File::open(&path).map_err(|e| Error::io(format!("open {}", path.display()), &e))
    })?;
    unpack(&index, &files, pending.fs(), stop)?;
    let failed = |e: io::Error| Error::io(format!("fill {}", directory.display()), &e);
    // Where one id is mapped it is everybody's.
    let _ = chown(pending.fs(), Some(index.uid), Some(index.gid));
    fs::set_permissions(pending.fs(), fs::Permissions::from_mode(index.mode & 0o7777)).map_err(failed)?;
    fs::rename(pending.fs(), directory).map_err(failed)
}

/// Fetches a pack into a file.
fn fetch(source: &dyn Source, pack: &Pack, path: &Path) -> Result<()> {
    let digest = &pack.digest;
    let failed = |e: io::Error| transfer::made_error(digest, e);
    let descriptor = pack.descriptor();
    let open = source.blob(&descriptor)?;
    let mut open = open.ok_or_else(|| Error::not_found(format!("pack {digest} is not there")))?;
    let mut out = HashingWriter::new(File::create(path).map_err(failed)?);
    io::copy(&mut open(0).map_err(failed)?.take(pack.size + 1), &mut out).map_err(failed)?;
    let (_, found, size) = out.finish();
    match found == *digest && size == pack.size {
        true => Ok(()),
        false => Err(Error::invalid(format!("what came as pack {digest} is {found}"))),
    }
}

/// Puts the tar together and takes it apart into `directory`.
fn unpack(index: &Index, packs: &[File], directory: &Path, stop: &AtomicBool) -> Result<()> {
    let options = UnpackOptions {
        lowers: Vec::new(),
        limits: Limits::default(),
        ids: runtime::mode().unwrap_or(runtime::Mode::Root),
        chown: None,
        made: (Owner::ROOT, 0o755, Mtime::default()),
    };
    let (reader, mut writer) =
        io::pipe().map_err(|e| Error::io(format!("fill {}", directory.display()), &e))?;
    thread::scope(|scope| {
        let tar = scope.spawn(move || {
            // Cut off, it is no archive, and what is made of it is dropped.
            let mut wanted = index.chunks.iter().take_while(|_| !stop.load(Ordering::Relaxed));
            wanted.try_for_each(|chunk| writer.write_all(&read(chunk, &packs[chunk.0 as usize])?))
        });
        let unpacked = snapshot::unpack_into(reader, directory, b"/", &options);
        match tar.join() {
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Err(Error::invalid(error.to_string()))
            }
            // A pipe that nobody reads any more says nothing; of all else, half an archive could look like a whole one.
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::io(format!("fill {}", directory.display()), &error))
            }
            Ok(_) if stop.load(Ordering::Relaxed) => Err(Error::new(Kind::Unavailable, "it was interrupted")),
            Ok(_) => Ok(unpacked.map(drop)?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn read(chunk: &Chunk, pack: &File) -> io::Result<Vec<u8>> {
    let Chunk(_, at, stored, length, digest) = chunk;
    let mut bytes = vec![0; *stored as usize];
    pack.read_exact_at(&mut bytes, *at)?;
    if stored != length {
        bytes = zstd::bulk::decompress(&bytes, *length as usize)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("chunk {digest}: {e}")))?;
    }
    match Digest::sha256(&bytes) == *digest {
        true => Ok(bytes),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("chunk {digest} is not what it should be"),
        )),
    }
}
