//! Taking bodies in: piece by piece onto the disk, hashed on the way, or whole where they are small; never more than
//! two pieces in memory, and never from a client that hardly sends.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::{Body, Bytes, Incoming};
use store::Upload;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::fault::{Code, Fault};
use crate::hashes::Hashes;

/// Bytes written at once.
const PIECE: usize = 256 * 1024;
/// In each span so long, a client has to send at least so many bytes.
const SPAN: Duration = Duration::from_secs(30);
const LEAST: usize = 16 * 1024;
/// What is left of a body that was not wanted is read up to this and in this time, since a client that still sends does
/// not read the answer.
const DRAIN: usize = 16 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Watches how fast a body comes.
struct Pace {
    until: Instant,
    seen: usize,
}

impl Pace {
    fn new() -> Pace {
        Pace { until: Instant::now() + SPAN, seen: 0 }
    }

    /// The next bytes of the body; `None` at its end.
    async fn next(&mut self, body: &mut Incoming) -> Result<Option<Bytes>, Fault> {
        let Ok(data) = timeout_at(self.until, data(body)).await else {
            return Err(Fault::new(Code::BlobUploadInvalid, "the body comes too slowly")
                .status(StatusCode::REQUEST_TIMEOUT)
                .header("Connection", "close"));
        };
        if let Ok(Some(bytes)) = &data {
            self.seen += bytes.len();
            if self.seen >= LEAST {
                *self = Pace::new();
            }
        }
        data.map_err(|_| Fault::new(Code::SizeInvalid, "the body ended before its end"))
    }
}

/// The next bytes of a body that are not none.
async fn data(body: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
    loop {
        let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await.transpose()? else {
            return Ok(None);
        };
        if let Ok(bytes) = frame.into_data()
            && !bytes.is_empty()
        {
            return Ok(Some(bytes));
        }
    }
}

/// The whole body, where it has no more than `limit` bytes.
pub(crate) async fn whole(body: &mut Incoming, limit: usize) -> Result<Vec<u8>, Fault> {
    let too_large = || {
        Fault::new(Code::SizeInvalid, format!("more than the {limit} bytes that are taken"))
            .status(StatusCode::PAYLOAD_TOO_LARGE)
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut pace = Pace::new();
    let mut whole = Vec::new();
    while let Some(bytes) = pace.next(body).await? {
        if whole.len() + bytes.len() > limit {
            return Err(too_large());
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(whole)
}

/// Reads what is left of a body, where that is little.
pub(crate) async fn drain(body: &mut Incoming) {
    if body.is_end_stream() || body.size_hint().lower() > DRAIN as u64 {
        return;
    }
    let mut left = DRAIN;
    let until = Instant::now() + DRAIN_TIME;
    while let Ok(Ok(Some(bytes))) = timeout_at(until, data(body)).await {
        left = left.saturating_sub(bytes.len());
        if left == 0 {
            return;
        }
    }
}

/// An upload and the hashes of what it has.
pub(crate) struct Receiving {
    pub(crate) upload: Upload,
    pub(crate) hashes: Hashes,
}

/// Adds a body to an upload: exactly `expected` bytes where that is said. What came is there and counted even where
/// the body broke off, which the fault beside it says, so that the client can go on from it; bytes beyond what was
/// expected are not taken.
pub(crate) async fn append(
    receiving: Receiving,
    body: &mut Incoming,
    expected: Option<u64>,
) -> Result<(Receiving, Option<Fault>), Fault> {
    let mut left = expected;
    let mut pace = Pace::new();
    let mut ended = None;
    let mut more = true;
    // One piece is written while the next one comes in.
    let mut idle = Some(receiving);
    let mut writing: Option<JoinHandle<(Receiving, Result<(), store::Error>)>> = None;
    loop {
        let (mut piece, mut len) = (Vec::new(), 0);
        while more && len < PIECE {
            match pace.next(body).await {
                Ok(Some(mut bytes)) => {
                    if let Some(left) = &mut left {
                        if bytes.len() as u64 > *left {
                            bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                            more = false;
                            ended = Some(Fault::new(Code::SizeInvalid, "more bytes than the range says"));
                        }
                        *left -= bytes.len() as u64;
                    }
                    len += bytes.len();
                    piece.push(bytes);
                }
                Ok(None) => more = false,
                Err(fault) => {
                    more = false;
                    ended = Some(fault);
                }
            }
        }
        if let Some(written) = writing.take() {
            let (receiving, written) = written.await.map_err(Fault::internal)?;
            if let Err(error) = written {
                return Ok((receiving, Some(error.into())));
            }
            idle = Some(receiving);
        }
        let Some(mut receiving) = idle.take() else { break };
        if len == 0 {
            if ended.is_none() && left.is_some_and(|left| left > 0) {
                ended = Some(Fault::new(Code::SizeInvalid, "fewer bytes than the range says"));
            }
            return Ok((receiving, ended));
        }
        writing = Some(tokio::task::spawn_blocking(move || {
            let written = piece.iter().try_for_each(|bytes| {
                receiving.upload.append(bytes)?;
                receiving.hashes.update(bytes);
                Ok(())
            });
            (receiving, written)
        }));
    }
    Err(Fault::internal("an upload was lost on the way"))
}
