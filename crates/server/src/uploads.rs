//! Pushing blobs: mounted from another repository, in one request, or begun and gone on with in as many as it takes
//! (distribution specification, "Pushing blobs").

use hyper::body::{Body, Incoming};
use hyper::{Method, StatusCode};
use oci::Digest;

use crate::fault::{Code, Fault};
use crate::handle::{Asked, no_method, parsed};
use crate::hashes::Hashes;
use crate::receive::{self, Receiving};
use crate::reply::{self, Reply};
use crate::route::is_name;
use crate::{query, range};

/// `POST /v2/NAME/blobs/uploads/`.
pub(crate) async fn begin(asked: &Asked, name: String, body: &mut Incoming) -> Result<Reply, Fault> {
    if asked.method != Method::POST {
        return Err(no_method(asked, "POST"));
    }
    if let Some(mount) = asked.query.get("mount")
        && let Some(reply) = mount_blob(asked, &name, mount).await?
    {
        return Ok(reply);
    }
    let sha512 = match asked.query.get("digest-algorithm") {
        None | Some("sha256") => false,
        Some("sha512") => true,
        Some(other) => {
            let message = format!("digest-algorithm {other:?} is neither sha256 nor sha512");
            return Err(Fault::new(Code::DigestInvalid, message));
        }
    };
    let whole = match asked.query.get("digest") {
        Some(digest) if asked.query.get("mount").is_none() => Some(parsed(digest)?),
        _ => None,
    };
    let upload = {
        let name = name.clone();
        asked.blocking(move |shared| Ok(shared.writes.begin_upload(&name)?)).await?
    };
    let Some(digest) = whole else {
        asked.shared.hashes.keep(upload.id(), Hashes::new(sha512));
        return Ok(state(StatusCode::ACCEPTED, &name, upload.id(), 0));
    };
    let hashes = Hashes::new(digest.algorithm() == "sha512");
    let (receiving, broken) = receive::append(Receiving { upload, hashes }, body, None).await?;
    if let Some(fault) = broken {
        asked.blocking(move |_| Ok(receiving.upload.cancel()?)).await?;
        return Err(fault);
    }
    finish(asked, name, receiving, digest).await
}

/// Mounts a blob; `None` where there is nothing to mount, and an upload is to begin instead.
async fn mount_blob(asked: &Asked, name: &str, digest: &str) -> Result<Option<Reply>, Fault> {
    let Ok(digest) = digest.parse::<Digest>() else { return Ok(None) };
    let from = asked.query.get("from").filter(|from| !from.is_empty()).map(str::to_owned);
    if from.as_deref().is_some_and(|from| !is_name(from)) {
        return Ok(None);
    }
    let (to, wanted) = (name.to_owned(), digest.clone());
    let mounted =
        asked.blocking(move |shared| Ok(shared.writes.mount_blob(&to, &wanted, from.as_deref())?)).await?;
    Ok(mounted.then(|| created(name, &digest)))
}

/// Everything on `/v2/NAME/blobs/uploads/ID`.
pub(crate) async fn go_on(
    asked: &Asked,
    name: String,
    id: String,
    body: &mut Incoming,
) -> Result<Reply, Fault> {
    match asked.method {
        Method::GET | Method::HEAD => {
            let (at, of) = (name.clone(), id.clone());
            let len = asked.blocking(move |shared| Ok(shared.reads.upload_len(&at, &of)?)).await?;
            let len = len.ok_or_else(unknown)?;
            Ok(state(StatusCode::NO_CONTENT, &name, &id, len))
        }
        Method::PATCH => {
            let receiving = open(asked, &name, &id, false).await?;
            let (receiving, broken) = add(asked, &name, receiving, body).await?;
            let len = receiving.upload.len();
            asked.shared.hashes.keep(&id, receiving.hashes);
            match broken {
                Some(fault) => Err(placed(fault, &name, &id, len)),
                None => Ok(state(StatusCode::ACCEPTED, &name, &id, len)),
            }
        }
        Method::PUT => {
            let digest = asked.query.get("digest").ok_or_else(|| {
                Fault::new(Code::DigestInvalid, "an upload is finished with the parameter digest")
            })?;
            let digest = parsed(digest)?;
            let receiving = open(asked, &name, &id, digest.algorithm() == "sha512").await?;
            let (receiving, broken) = add(asked, &name, receiving, body).await?;
            if let Some(fault) = broken {
                let len = receiving.upload.len();
                asked.shared.hashes.keep(&id, receiving.hashes);
                return Err(placed(fault, &name, &id, len));
            }
            finish(asked, name, receiving, digest).await
        }
        Method::DELETE => {
            let receiving = open(asked, &name, &id, false).await?;
            asked.shared.hashes.forget(&id);
            asked.blocking(move |_| Ok(receiving.upload.cancel()?)).await?;
            Ok(reply::empty(StatusCode::NO_CONTENT))
        }
        _ => Err(no_method(asked, "GET, HEAD, PATCH, PUT, DELETE")),
    }
}

fn unknown() -> Fault {
    Fault::new(Code::BlobUploadUnknown, "there is no such upload: it was finished, cancelled, or is too old")
}

/// The upload, for this request alone, with the hashes of what it has.
async fn open(asked: &Asked, name: &str, id: &str, sha512: bool) -> Result<Receiving, Fault> {
    let (name, id) = (name.to_owned(), id.to_owned());
    asked
        .blocking(move |shared| {
            let upload = shared.writes.open_upload(&name, &id)?.ok_or_else(unknown)?;
            let hashes = shared.hashes.take(&upload, sha512)?;
            Ok(Receiving { upload, hashes })
        })
        .await
}

/// Adds the request's body, which has to begin where the upload ends if it says where it begins. What it brought is
/// there even where it broke off, as the fault beside it says.
async fn add(
    asked: &Asked,
    name: &str,
    receiving: Receiving,
    body: &mut Incoming,
) -> Result<(Receiving, Option<Fault>), Fault> {
    let len = receiving.upload.len();
    let mut expected = None;
    if let Some(header) = asked.header("content-range") {
        let out_of_order = |message: String| {
            let fault = Fault::new(Code::BlobUploadInvalid, message);
            placed(fault.status(StatusCode::RANGE_NOT_SATISFIABLE), name, receiving.upload.id(), len)
        };
        let fault = match range::chunk(header) {
            None => Some(out_of_order(format!("the range {header:?} is not FIRST-LAST"))),
            Some(chunk) if chunk.start != len => {
                Some(out_of_order(format!("the next byte is {len}, and the range begins at {}", chunk.start)))
            }
            Some(chunk) => {
                let bytes = chunk.end - chunk.start;
                expected = Some(bytes);
                let other = body.size_hint().exact().is_some_and(|exact| exact != bytes);
                other.then(|| Fault::new(Code::SizeInvalid, "the body's length is not the range's"))
            }
        };
        if let Some(fault) = fault {
            return Ok((receiving, Some(fault)));
        }
    }
    receive::append(receiving, body, expected).await
}

/// Makes the upload a blob of the repository if it has that digest; drops it if not.
async fn finish(asked: &Asked, name: String, receiving: Receiving, digest: Digest) -> Result<Reply, Fault> {
    let wanted = digest.clone();
    asked
        .blocking(move |shared| {
            let Receiving { upload, hashes } = receiving;
            shared.hashes.forget(upload.id());
            let (blob, found) = match hashes.finish(&wanted) {
                (blob, Some(found)) => (blob, found),
                // It was not said when it began that it would be addressed so.
                (blob, None) => {
                    let again = Hashes::read(&upload, true)?.finish(&wanted).1;
                    (blob, again.ok_or_else(|| Fault::internal("there is no sha512 to compare with"))?)
                }
            };
            if found != wanted {
                let message = format!("the {} bytes that came have the digest {found}", upload.len());
                upload.cancel()?;
                let detail = serde_json::json!({ "digest": wanted });
                return Err(Fault::of(Code::DigestInvalid, [(message, detail)]));
            }
            Ok(upload.finish(&wanted, &blob)?)
        })
        .await?;
    asked.shared.pushed.notify_one();
    Ok(created(&name, &digest))
}

fn created(name: &str, digest: &Digest) -> Reply {
    let reply = reply::empty(StatusCode::CREATED);
    let reply = reply::header(reply, "Location", format!("/v2/{name}/blobs/{digest}"));
    reply::header(reply, "Docker-Content-Digest", digest.as_str())
}

/// Where an upload stands.
fn state(status: StatusCode, name: &str, id: &str, len: u64) -> Reply {
    let mut reply = reply::empty(status);
    for (header, value) in place(name, id, len) {
        reply = reply::header(reply, header, value);
    }
    reply
}

/// The same beside a fault.
fn placed(mut fault: Fault, name: &str, id: &str, len: u64) -> Fault {
    fault.headers.extend(place(name, id, len));
    fault
}

/// `Range` is inclusive and so cannot say that nothing is there: one byte and none look alike, as everywhere.
fn place(name: &str, id: &str, len: u64) -> [(&'static str, String); 3] {
    [
        ("Location", format!("/v2/{name}/blobs/uploads/{}", query::encode(id))),
        ("Range", format!("0-{}", len.saturating_sub(1))),
        ("Docker-Upload-UUID", id.to_owned()),
    ]
}
