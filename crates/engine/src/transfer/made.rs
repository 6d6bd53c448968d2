//! A layer's bytes as they leave: its tar, compressed on the way, as a stream.
//!
//! The tar is read from the blob that it came in, or written again from its snapshot. Either is compared with the
//! DiffID before the stream ends, so that nothing damaged passes for whole. It is made in threads of its own, a little
//! ahead of the reader, and goes with the reader.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use oci::{DiffId, HashingWriter};
use snapshot::compress::Method;
use store::Store;

use crate::{Error, Result};

/// Bytes in a piece.
const PIECE: usize = 256 << 10;
/// Pieces that are made before they are asked for.
const AHEAD: usize = 8;

/// Where a layer's tar is to be had.
enum Tar {
    /// In a blob, in any compression.
    Blob(std::fs::File),
    Snapshot(std::path::PathBuf),
}

/// The stream of the layer `diff_id`, compressed by `method` on `threads` threads; plain without.
///
/// # Errors
/// [`crate::Kind::NotFound`] where the layer is neither unpacked nor a blob. What goes wrong later, the reader says.
pub(crate) fn stream(
    store: &Store,
    diff_id: &DiffId,
    method: Option<Method>,
    threads: usize,
) -> Result<impl Read + Send + use<>> {
    let tar = match store.layer_blobs(diff_id)?.into_iter().next() {
        Some(blob) => Tar::Blob(store.open_blob(&blob.digest)?),
        None => {
            let snapshot = store.snapshot_of_layer(diff_id)?.ok_or_else(|| {
                Error::not_found(format!("layer {diff_id} is in the store neither unpacked nor as a blob"))
            })?;
            Tar::Snapshot(store.snapshot_dir(&snapshot))
        }
    };
    let (sender, pieces) = sync_channel(AHEAD);
    let diff_id = diff_id.clone();
    thread::spawn(move || {
        let out = Pieces { piece: Vec::with_capacity(PIECE), sender: sender.clone() };
        if let Err(error) = make(tar, &diff_id, method, threads, out) {
            // Nobody is told if nobody reads any more.
            let _ = sender.send(Err(error));
        } else {
            let _ = sender.send(Ok(Vec::new()));
        }
    });
    Ok(Stream { pieces, piece: Vec::new(), at: 0, ended: false })
}

fn make(
    tar: Tar,
    diff_id: &DiffId,
    method: Option<Method>,
    threads: usize,
    mut out: Pieces,
) -> io::Result<()> {
    let Some(method) = method else {
        write_tar(tar, diff_id, &mut out)?;
        return out.flush();
    };
    let mut compressor = method.writer(out, threads)?;
    write_tar(tar, diff_id, &mut compressor)?;
    compressor.finish()?;
    Ok(())
}

fn write_tar(tar: Tar, diff_id: &DiffId, out: &mut (impl Write + Send)) -> io::Result<()> {
    let found = match tar {
        Tar::Snapshot(layer) => {
            let stat = snapshot::diff(&layer, out, &snapshot::DiffOptions::default());
            stat.map_err(io::Error::other)?.diff_id
        }
        Tar::Blob(file) => {
            let (_, mut tar) = snapshot::compress::reader(file)?;
            let mut out = HashingWriter::new(out);
            let mut buffer = vec![0; PIECE];
            loop {
                match tar.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(n) => out.write_all(&buffer[..n])?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            DiffId(out.finish().1)
        }
    };
    match found == *diff_id {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the layer {diff_id} of the store now reads as {found}"),
        )),
    }
}

/// The maker's end.
struct Pieces {
    piece: Vec<u8>,
    sender: SyncSender<io::Result<Vec<u8>>>,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.sender.send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..n]);
        if self.piece.len() == PIECE {
            self.send()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.piece.is_empty() {
            true => Ok(()),
            false => self.send(),
        }
    }
}

/// The reader's end.
struct Stream {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() && !self.ended {
            match self.pieces.recv() {
                // An empty piece is the end; a maker that died leaves none.
                Ok(Ok(piece)) => (self.ended, self.at, self.piece) = (piece.is_empty(), 0, piece),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(io::Error::other("the thread that reads the layer is gone")),
            }
        }
        let n = buffer.len().min(self.piece.len() - self.at);
        buffer[..n].copy_from_slice(&self.piece[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
