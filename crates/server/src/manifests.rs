//! Manifests: pulled by tag or digest, pushed, deleted (distribution specification, "Pulling manifests", "Pushing
//! manifests", "Deleting tags", "Deleting manifests").

use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use oci::Digest;
use serde_json::json;
use store::{HostedManifest, NewManifest, PutManifest};

use crate::MANIFEST_LIMIT;
use crate::blobs::etag;
use crate::body::Content;
use crate::fault::{Code, Fault};
use crate::handle::{Asked, no_method, parsed};
use crate::reply::{self, Reply};
use crate::route::is_tag;
use crate::run::Shared;
use crate::{manifest, receive};

/// Tags beside one digest; the specification asks for ten at least.
const TAGS: usize = 100;
/// Errors named in one answer.
const NAMED: usize = 100;

/// What a manifest is asked for by.
enum Name {
    Digest(Digest),
    Tag(String),
}

/// Everything on `/v2/NAME/manifests/REFERENCE`.
pub(crate) async fn manifest(
    asked: &Asked,
    name: String,
    reference: String,
    body: &mut Incoming,
) -> Result<Reply, Fault> {
    let by = match reference.contains(':') {
        true => Name::Digest(parsed(&reference)?),
        false => Name::Tag(reference),
    };
    match asked.method {
        Method::GET => get(asked, name, by, true).await,
        Method::HEAD => get(asked, name, by, false).await,
        Method::PUT => put(asked, name, by, body).await,
        Method::DELETE => {
            let gone = asked.blocking(move |shared| {
                let gone = match &by {
                    Name::Digest(digest) => shared.writes.delete_hosted_manifest(&name, digest)?,
                    Name::Tag(tag) => shared.writes.delete_hosted_tag(&name, tag)?,
                };
                if gone { Ok(()) } else { Err(unknown(shared, &name)?) }
            });
            gone.await.map(|()| reply::empty(StatusCode::ACCEPTED))
        }
        _ => Err(no_method(asked, "GET, HEAD, PUT, DELETE")),
    }
}

async fn get(asked: &Asked, name: String, by: Name, whole: bool) -> Result<Reply, Fault> {
    let known = asked.header("if-none-match").map(str::to_owned);
    let (found, bytes) = asked
        .blocking(move |shared| {
            let found = find(shared, &name, &by)?;
            let cached = known.is_some_and(|tags| tags.contains(&etag(&found.digest)));
            let bytes = match whole && !cached {
                true => Some(shared.reads.read_blob(&found.blob, MANIFEST_LIMIT as u64)?),
                false => None,
            };
            Ok((found, (!cached).then_some(bytes)))
        })
        .await?;
    let reply = match bytes {
        None => reply::empty(StatusCode::NOT_MODIFIED),
        Some(Some(bytes)) => reply::with(StatusCode::OK, Content::bytes(bytes)),
        Some(None) => {
            let reply = reply::empty(StatusCode::OK);
            reply::header(reply, "Content-Length", found.size.to_string())
        }
    };
    let reply = reply::header(reply, "Content-Type", &found.media_type);
    let reply = reply::header(reply, "Docker-Content-Digest", found.digest.as_str());
    Ok(reply::header(reply, "ETag", etag(&found.digest)))
}

fn find(shared: &Shared, name: &str, by: &Name) -> Result<HostedManifest, Fault> {
    let found = match by {
        Name::Digest(digest) => shared.reads.hosted_manifest(name, digest)?,
        Name::Tag(tag) => shared.reads.hosted_tag(name, tag)?,
    };
    if let Some(found) = found
        && shared.reads.blob_size(&found.blob)?.is_some()
    {
        return Ok(found);
    }
    Err(unknown(shared, name)?)
}

/// What to say of a manifest that is not there.
fn unknown(shared: &Shared, name: &str) -> Result<Fault, Fault> {
    Ok(match shared.reads.has_repository(name)? {
        true => Fault::new(Code::ManifestUnknown, "the repository has no such manifest"),
        false => Fault::new(Code::NameUnknown, "there is no such repository"),
    })
}

async fn put(asked: &Asked, name: String, by: Name, body: &mut Incoming) -> Result<Reply, Fault> {
    let tags = tags(asked, &by)?;
    let bytes = receive::whole(body, MANIFEST_LIMIT).await?;
    let digest = match by {
        Name::Tag(_) => Digest::sha256(&bytes),
        Name::Digest(digest) => {
            let found = digest.again(&bytes);
            if found != digest {
                let message = format!("the {} bytes that came have the digest {found}", bytes.len());
                return Err(Fault::of(Code::DigestInvalid, [(message, json!({ "digest": digest }))]));
            }
            digest
        }
    };
    let said = manifest::read(asked.header("content-type"), &bytes)
        .map_err(|reason| Fault::new(Code::ManifestInvalid, reason))?;
    let subject = said.subject.clone();
    let (to, named, asked_tags) = (name.clone(), digest.clone(), tags.clone());
    asked
        .blocking(move |shared| {
            let done = shared.writes.put_hosted_manifest(
                &to,
                &NewManifest {
                    digest: &named,
                    bytes: &bytes,
                    media_type: &said.media_type,
                    subject: said.subject.as_ref(),
                    artifact_type: said.artifact_type.as_deref(),
                    blobs: &said.blobs,
                    manifests: &said.manifests,
                    complete: !shared.sparse,
                    tags: &asked_tags,
                },
            )?;
            match done {
                PutManifest::Done => Ok(()),
                PutManifest::Missing(missing) => {
                    let errors = missing.into_iter().take(NAMED).map(|digest| {
                        let message = "it needs a blob or manifest that the repository does not have";
                        (message.to_owned(), json!({ "digest": digest }))
                    });
                    Err(Fault::of(Code::ManifestBlobUnknown, errors))
                }
            }
        })
        .await?;
    asked.shared.pushed.notify_one();
    let reply = reply::empty(StatusCode::CREATED);
    let reply = reply::header(reply, "Location", format!("/v2/{name}/manifests/{digest}"));
    let mut reply = reply::header(reply, "Docker-Content-Digest", digest.as_str());
    if let Some(subject) = subject {
        reply = reply::header(reply, "OCI-Subject", subject.as_str());
    }
    for tag in &tags {
        reply = reply::header(reply, "OCI-Tag", tag);
    }
    Ok(reply)
}

/// The tags that a manifest gets: the one in the path, or those beside a digest.
fn tags(asked: &Asked, by: &Name) -> Result<Vec<String>, Fault> {
    let tags: Vec<String> = match by {
        Name::Tag(tag) => vec![tag.clone()],
        Name::Digest(_) => asked.query.all("tag").map(str::to_owned).collect(),
    };
    if tags.len() > TAGS {
        let message = format!("more than {TAGS} tags at once");
        return Err(Fault::new(Code::TagInvalid, message).status(StatusCode::URI_TOO_LONG));
    }
    match tags.iter().find(|tag| !is_tag(tag)) {
        Some(_) => Err(Fault::new(Code::TagInvalid, "invalid tag: 128 of A-Z, a-z, 0-9, _, . and - at most")),
        None => Ok(tags),
    }
}
