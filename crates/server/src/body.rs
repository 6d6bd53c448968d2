//! What an answer's body is: nothing, bytes, or a part of a file that is read as the client takes it.

use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::task::JoinHandle;

/// Bytes read at once; twice as many are held for each answer, one piece on its way and one read ahead.
const PIECE: u64 = 256 * 1024;

/// A body.
pub(crate) enum Content {
    /// Bytes that are at hand; none after they were given.
    Bytes(Option<Bytes>),
    /// A part of a file.
    File(FilePart),
}

/// A part of a file, read piece by piece.
pub(crate) struct FilePart {
    file: Arc<File>,
    /// What has not been given yet.
    left: Range<u64>,
    /// The piece at the beginning of `left`, being read.
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Content {
    /// Those bytes.
    pub(crate) fn bytes(bytes: impl Into<Bytes>) -> Content {
        Content::Bytes(Some(bytes.into()).filter(|b: &Bytes| !b.is_empty()))
    }

    /// That part of the file.
    pub(crate) fn file(file: File, part: Range<u64>) -> Content {
        Content::File(FilePart { file: Arc::new(file), left: part, reading: None })
    }
}

impl FilePart {
    /// Begins to read the piece at `at`.
    fn read(&self, at: u64) -> JoinHandle<io::Result<Bytes>> {
        let file = self.file.clone();
        let len = usize::try_from(PIECE.min(self.left.end - at)).unwrap_or(usize::MAX);
        tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; len];
            file.read_exact_at(&mut buffer, at)?;
            Ok(Bytes::from(buffer))
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => self.read(self.left.start),
        };
        let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
            self.reading = Some(reading);
            return Poll::Pending;
        };
        let bytes = match read.map_err(io::Error::other).and_then(|read| read) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.left = self.left.end..self.left.end;
                return Poll::Ready(Some(Err(error)));
            }
        };
        self.left.start += bytes.len() as u64;
        if !self.left.is_empty() {
            self.reading = Some(self.read(self.left.start));
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Content::Bytes(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::File(part) => Poll::Ready(ready!(part.poll(cx))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Content::Bytes(bytes) => bytes.is_none(),
            Content::File(part) => part.left.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Content::Bytes(bytes) => bytes.as_ref().map_or(0, |b| b.len() as u64),
            Content::File(part) => part.left.end - part.left.start,
        })
    }
}
