//! Pulling and deleting blobs (distribution specification, "Pulling blobs", "Deleting blobs").

use std::fs::File;
use std::io::Read;

use hyper::{Method, StatusCode};
use oci::Digest;
use store::HostedBlob;

use crate::body::Content;
use crate::fault::{Code, Fault};
use crate::handle::{Asked, no_method};
use crate::range::{self, Part};
use crate::reply::{self, Reply};
use crate::run::Shared;

/// A blob up to this many bytes is read as it is opened.
const SMALL: u64 = 128 * 1024;

/// Everything on `/v2/NAME/blobs/DIGEST`.
pub(crate) async fn blob(asked: &Asked, name: String, digest: Digest) -> Result<Reply, Fault> {
    match asked.method {
        Method::HEAD => {
            let wanted = digest.clone();
            let blob = asked.blocking(move |shared| find(shared, &name, &wanted)).await?;
            let reply = described(reply::empty(StatusCode::OK), &digest);
            Ok(reply::header(reply, "Content-Length", blob.size.to_string()))
        }
        Method::GET => get(asked, name, digest).await,
        Method::DELETE => {
            let gone = asked
                .blocking(move |shared| {
                    if shared.writes.delete_hosted_blob(&name, &digest)? {
                        return Ok(());
                    }
                    Err(unknown(shared, &name)?)
                })
                .await;
            gone.map(|()| reply::empty(StatusCode::ACCEPTED))
        }
        _ => Err(no_method(asked, "GET, HEAD, DELETE")),
    }
}

/// A part of a file, or its bytes.
enum Opened {
    File(File),
    Bytes(Vec<u8>),
}

async fn get(asked: &Asked, name: String, digest: Digest) -> Result<Reply, Fault> {
    let same = |header: &str| asked.header(header).is_some_and(|tags| tags.contains(&etag(&digest)));
    let whole = asked.header("if-range").is_some() && !same("if-range");
    let cached = same("if-none-match");
    let wanted = digest.clone();
    let header = asked.header("range").filter(|_| !whole).map(str::to_owned);
    let (size, part, opened) = asked
        .blocking(move |shared| {
            let blob = find(shared, &name, &wanted)?;
            let part = range::part(header.as_deref(), blob.size);
            if cached {
                return Ok((blob.size, part, Opened::Bytes(Vec::new())));
            }
            let mut file = shared.reads.open_blob(&blob.blob)?;
            if part == Part::Whole && blob.size <= SMALL {
                let mut bytes = Vec::with_capacity(usize::try_from(blob.size).unwrap_or(0));
                file.read_to_end(&mut bytes).map_err(|e| Fault::internal(format!("{}: {e}", blob.blob)))?;
                return Ok((blob.size, part, Opened::Bytes(bytes)));
            }
            Ok((blob.size, part, Opened::File(file)))
        })
        .await?;
    if cached {
        return Ok(described(reply::empty(StatusCode::NOT_MODIFIED), &digest));
    }
    let (status, content, range) = match (part, opened) {
        (Part::Nothing, _) => {
            let fault =
                Fault::new(Code::SizeInvalid, format!("the blob has {size} bytes, and none in that range"))
                    .status(StatusCode::RANGE_NOT_SATISFIABLE)
                    .header("Content-Range", format!("bytes */{size}"));
            return Err(fault);
        }
        (Part::Bytes(part), Opened::File(file)) => {
            let range = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            (StatusCode::PARTIAL_CONTENT, Content::file(file, part), Some(range))
        }
        (_, Opened::File(file)) => (StatusCode::OK, Content::file(file, 0..size), None),
        (_, Opened::Bytes(bytes)) => (StatusCode::OK, Content::bytes(bytes), None),
    };
    let mut reply = described(reply::with(status, content), &digest);
    if let Some(range) = range {
        reply = reply::header(reply, "Content-Range", range);
    }
    Ok(reply)
}

/// The headers of every answer about a blob that is there. Its bytes never change, so whoever has them may keep them.
fn described(reply: Reply, digest: &Digest) -> Reply {
    let reply = reply::header(reply, "Content-Type", "application/octet-stream");
    let reply = reply::header(reply, "Docker-Content-Digest", digest.as_str());
    let reply = reply::header(reply, "ETag", etag(digest));
    let reply = reply::header(reply, "Cache-Control", "max-age=31536000");
    reply::header(reply, "Accept-Ranges", "bytes")
}

/// The entity tag of what a digest is of.
pub(crate) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// The blob, if it is here and whole.
fn find(shared: &Shared, name: &str, digest: &Digest) -> Result<HostedBlob, Fault> {
    // A mark that it is wanted may have to be written.
    if let Some(blob) = shared.reads.hosted_blob(name, digest)?
        && shared.reads.blob_size(&blob.blob)?.is_some()
    {
        return Ok(blob);
    }
    Err(unknown(shared, name)?)
}

/// What to say of a blob that is not there.
fn unknown(shared: &Shared, name: &str) -> Result<Fault, Fault> {
    Ok(match shared.reads.has_repository(name)? {
        true => Fault::new(Code::BlobUnknown, "the repository has no such blob"),
        false => Fault::new(Code::NameUnknown, "there is no such repository"),
    })
}
