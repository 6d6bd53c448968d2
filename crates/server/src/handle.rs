//! From a request to its answer: who asks, for what, and which file here knows about it.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use oci::Digest;

use crate::fault::{Code, Fault};
use crate::query::Query;
use crate::reply::{self, Reply};
use crate::route::{Route, is_name};
use crate::run::Shared;
use crate::{blobs, listings, manifests, receive, uploads};

/// A request without its body.
pub(crate) struct Asked {
    pub(crate) shared: Arc<Shared>,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) query: Query,
}

impl Asked {
    /// The value of a header, where it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Runs what reads and writes files and the database.
    pub(crate) async fn blocking<T, F>(&self, work: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce(&Shared) -> Result<T, Fault> + Send + 'static,
    {
        let shared = self.shared.clone();
        let done = tokio::task::spawn_blocking(move || work(&shared)).await;
        done.unwrap_or_else(|panic| Err(Fault::internal(panic)))
    }
}

/// The answer to any request. It runs to its end even where the connection goes meanwhile: what an upload has got is
/// counted.
pub(crate) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Reply, Infallible> {
    let answered = tokio::spawn(respond(shared.clone(), request)).await;
    let reply = answered.unwrap_or_else(|panic| {
        shared.tell(panic.to_string());
        reply::fault(&Fault::internal(panic))
    });
    let reply = reply::header(reply, "Docker-Distribution-API-Version", "registry/2.0");
    Ok(reply::header(reply, "X-Content-Type-Options", "nosniff"))
}

async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> Reply {
    let (parts, mut body) = request.into_parts();
    let line = format!("{} {}", parts.method, parts.uri.path());
    let reply = match serve(shared.clone(), parts, &mut body).await {
        Ok(reply) => reply,
        Err(fault) => {
            if let Some(told) = &fault.told {
                shared.tell(format!("{line}: {told}"));
            }
            reply::fault(&fault)
        }
    };
    // A little that was not wanted is read, so that the connection can go on.
    receive::drain(&mut body).await;
    reply
}

async fn serve(shared: Arc<Shared>, parts: Parts, body: &mut Incoming) -> Result<Reply, Fault> {
    if let Some(accounts) = &shared.accounts {
        let authorization = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if !accounts.allow(authorization).await {
            return Err(Fault::new(Code::Unauthorized, "authentication required")
                .header("WWW-Authenticate", "Basic realm=\"strake\""));
        }
    }
    let not_found =
        || Fault::new(Code::Unsupported, "there is nothing at this path").status(StatusCode::NOT_FOUND);
    let route = Route::parse(parts.uri.path()).ok_or_else(not_found)?;
    let asked = Asked {
        shared,
        method: parts.method,
        headers: parts.headers,
        query: Query::parse(parts.uri.query()),
    };
    match route {
        Route::Base => listings::base(&asked),
        Route::Catalog => listings::catalog(&asked).await,
        Route::Tags { name } => listings::tags(&asked, checked(name)?).await,
        Route::Referrers { name, digest } => {
            listings::referrers(&asked, checked(name)?, parsed(&digest)?).await
        }
        Route::Blob { name, digest } => blobs::blob(&asked, checked(name)?, parsed(&digest)?).await,
        Route::Uploads { name } => uploads::begin(&asked, checked(name)?, body).await,
        Route::Upload { name, id } => uploads::go_on(&asked, checked(name)?, id, body).await,
        Route::Manifest { name, reference } => {
            manifests::manifest(&asked, checked(name)?, reference, body).await
        }
    }
}

fn checked(name: String) -> Result<String, Fault> {
    if is_name(&name) {
        return Ok(name);
    }
    Err(Fault::new(Code::NameInvalid, "invalid repository name"))
}

/// A digest in a path or a parameter.
pub(crate) fn parsed(digest: &str) -> Result<Digest, Fault> {
    digest.parse().map_err(|error: oci::DigestError| Fault::new(Code::DigestInvalid, error.to_string()))
}

/// The answer to a method that the thing does not have.
pub(crate) fn no_method(asked: &Asked, allowed: &'static str) -> Fault {
    Fault::new(Code::Unsupported, format!("{} is not for this path", asked.method)).header("Allow", allowed)
}
