//! What there is: the version check, repositories, tags, referrers (distribution specification, "Content discovery").

use std::collections::BTreeMap;

use hyper::{Method, StatusCode};
use oci::{Digest, media_type};
use serde_json::{Value, json};
use store::HostedManifest;

use crate::MANIFEST_LIMIT;
use crate::fault::{Code, Fault};
use crate::handle::{Asked, no_method};
use crate::manifest::Annotated;
use crate::query::encode;
use crate::reply::{self, Reply};
use crate::run::Shared;

const JSON: &str = "application/json";
/// Entries in one answer; the rest is behind its `Link`.
const PAGE: usize = 10_000;
/// Repositories in one answer where the client says no number.
const CATALOG_PAGE: usize = 1000;
/// Referrers in one answer, each of which is read.
const REFERRERS_PAGE: usize = 500;

/// `/v2/`.
pub(crate) fn base(asked: &Asked) -> Result<Reply, Fault> {
    only_get(asked)?;
    Ok(reply::json(JSON, &json!({})))
}

/// `/v2/_catalog`.
pub(crate) async fn catalog(asked: &Asked) -> Result<Reply, Fault> {
    only_get(asked)?;
    let (limit, last) = page(asked, CATALOG_PAGE)?;
    let found = asked.blocking(move |shared| Ok(shared.reads.repositories(&last, limit + 1)?)).await?;
    let (found, next) = cut(found, limit);
    let reply = reply::json(JSON, &json!({ "repositories": found }));
    Ok(linked(reply, next.map(|last| format!("/v2/_catalog?n={limit}&last={}", encode(&last)))))
}

/// `/v2/NAME/tags/list`.
pub(crate) async fn tags(asked: &Asked, name: String) -> Result<Reply, Fault> {
    only_get(asked)?;
    let (limit, last) = page(asked, PAGE)?;
    let of = name.clone();
    let found = asked.blocking(move |shared| Ok(shared.reads.hosted_tags(&of, &last, limit + 1)?)).await?;
    let found = found.ok_or_else(|| Fault::new(Code::NameUnknown, "there is no such repository"))?;
    let (found, next) = cut(found, limit);
    let reply = reply::json(JSON, &json!({ "name": name, "tags": found }));
    Ok(linked(reply, next.map(|last| format!("/v2/{name}/tags/list?n={limit}&last={}", encode(&last)))))
}

/// `/v2/NAME/referrers/DIGEST`: always an index, if an empty one. Pages go by `last`, which is ours: the specification
/// only says that there is a link.
pub(crate) async fn referrers(asked: &Asked, name: String, subject: Digest) -> Result<Reply, Fault> {
    only_get(asked)?;
    let artifact_type = asked.query.get("artifactType").filter(|t| !t.is_empty()).map(str::to_owned);
    let last = asked.query.get("last").unwrap_or_default().to_owned();
    let (of, to, kind) = (name.clone(), subject.clone(), artifact_type.clone());
    let (entries, more) = asked
        .blocking(move |shared| {
            let found = shared.reads.referrers(&of, &to, kind.as_deref(), &last, REFERRERS_PAGE + 1)?;
            entries(shared, found)
        })
        .await?;
    let index = json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries });
    let mut reply = reply::json(media_type::OCI_INDEX, &index);
    if artifact_type.is_some() {
        reply = reply::header(reply, "OCI-Filters-Applied", "artifactType");
    }
    let next = more.map(|last| {
        let filter = artifact_type.map(|t| format!("artifactType={}&", encode(&t))).unwrap_or_default();
        format!("/v2/{name}/referrers/{subject}?{filter}last={}", encode(&last))
    });
    Ok(linked(reply, next))
}

/// The descriptors of referrers, as many as make an answer no larger than a manifest; and where to go on, if that is
/// not all.
fn entries(shared: &Shared, found: Vec<HostedManifest>) -> Result<(Vec<Value>, Option<String>), Fault> {
    let mut entries: Vec<Value> = Vec::new();
    let mut bytes = 0;
    let mut last = None;
    for (n, manifest) in found.into_iter().enumerate() {
        let annotations = annotations(shared, &manifest)?;
        let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
        bytes += size + 512;
        if n >= REFERRERS_PAGE || (n > 0 && bytes > MANIFEST_LIMIT) {
            return Ok((entries, last));
        }
        last = Some(manifest.digest.to_string());
        let mut entry = json!({
            "mediaType": manifest.media_type,
            "digest": manifest.digest,
            "size": manifest.size,
        });
        if let Some(artifact_type) = manifest.artifact_type {
            entry["artifactType"] = json!(artifact_type);
        }
        if !annotations.is_empty() {
            entry["annotations"] = json!(annotations);
        }
        entries.push(entry);
    }
    Ok((entries, None))
}

fn annotations(shared: &Shared, manifest: &HostedManifest) -> Result<BTreeMap<String, String>, Fault> {
    let bytes = shared.reads.read_blob(&manifest.blob, MANIFEST_LIMIT as u64)?;
    // One whose annotations are no texts was taken as well: it has none.
    let annotated: Annotated = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(annotated.annotations.unwrap_or_default())
}

fn only_get(asked: &Asked) -> Result<(), Fault> {
    match asked.method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(no_method(asked, "GET, HEAD")),
    }
}

/// `n` and `last`.
fn page(asked: &Asked, usual: usize) -> Result<(usize, String), Fault> {
    let limit = match asked.query.get("n") {
        None | Some("") => usual,
        Some(n) => n.parse::<u64>().map_or_else(
            |_| {
                let message = format!("n={n} is not a number of entries");
                Err(Fault::new(Code::PaginationNumberInvalid, message).status(StatusCode::BAD_REQUEST))
            },
            |n| Ok(usize::try_from(n).unwrap_or(PAGE).min(PAGE)),
        )?,
    };
    Ok((limit, asked.query.get("last").unwrap_or_default().to_owned()))
}

/// The first entries, and the last of them where there are more.
fn cut(mut found: Vec<String>, limit: usize) -> (Vec<String>, Option<String>) {
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more).cloned();
    (found, last)
}

fn linked(reply: Reply, next: Option<String>) -> Reply {
    match next {
        Some(next) => reply::header(reply, "Link", format!("<{next}>; rel=\"next\"")),
        None => reply,
    }
}
