//! What the crates below fail with, as this crate's error: which kind each is, and Docker's words where Docker
//! has words for the case.

use crate::error::{Error, Kind};

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Error {
        let message = error.to_string();
        match error {
            store::Error::Io { doing, path, source } => {
                Error::io(format_args!("{doing} {}", path.display()), &source)
            }
            store::Error::NoSpace { .. } | store::Error::Busy { .. } => {
                Error::new(Kind::Unavailable, message)
            }
            store::Error::NewerFormat { .. } => Error::new(Kind::Unsupported, message),
            store::Error::NotAStore { .. }
            | store::Error::Algorithm(_)
            | store::Error::InvalidConfig { .. }
            | store::Error::InvalidReference { .. }
            | store::Error::InvalidContainer { .. }
            | store::Error::BlobTooLarge { .. } => Error::new(Kind::Invalid, message),
            store::Error::MissingImage(id) => Error::not_found(format!("No such image: {id}")),
            store::Error::MissingContainer(id) => Error::not_found(format!("No such container: {id}")),
            store::Error::NameInUse { .. } | store::Error::ContainerBusy(_) => {
                Error::new(Kind::Conflict, message)
            }
            store::Error::MissingBlob(_)
            | store::Error::MissingSnapshot(_)
            | store::Error::MissingLayer(_) => Error::new(Kind::Internal, message)
                .hint("strake system check says what is missing; with --repair it drops what cannot work"),
            store::Error::DigestMismatch { stored: false, .. } => Error::new(Kind::Invalid, message),
            _ => Error::new(Kind::Internal, message),
        }
    }
}

impl From<store::ResolveError> for Error {
    fn from(error: store::ResolveError) -> Error {
        match error {
            store::ResolveError::NotFound { text } => Error::not_found(format!("No such image: {text}")),
            store::ResolveError::Ambiguous { text, candidates } => Error::new(
                Kind::Invalid,
                format!("{text:?} is ambiguous: {} images have an ID that begins with it", candidates.len()),
            )
            .hint(format!("one of: {}", listed(candidates.iter().map(ToString::to_string)))),
            store::ResolveError::Invalid(error) => error.into(),
            store::ResolveError::Store(error) => error.into(),
        }
    }
}

impl From<store::ContainerError> for Error {
    fn from(error: store::ContainerError) -> Error {
        match error {
            store::ContainerError::NotFound(text) => Error::not_found(format!("No such container: {text}")),
            store::ContainerError::Ambiguous { text, candidates } => Error::new(
                Kind::Invalid,
                format!(
                    "{text:?} is ambiguous: {} containers have an ID that begins with it",
                    candidates.len()
                ),
            )
            .hint(format!("one of: {}", listed(candidates.into_iter()))),
            store::ContainerError::Store(error) => error.into(),
        }
    }
}

impl From<oci::ReferenceError> for Error {
    fn from(error: oci::ReferenceError) -> Error {
        Error::invalid(error.to_string())
    }
}

impl From<runtime::Error> for Error {
    fn from(error: runtime::Error) -> Error {
        let kind = match &error {
            runtime::Error::Unsupported { .. } | runtime::Error::IdMap(_) => Kind::Unsupported,
            runtime::Error::Spec(_) => Kind::Invalid,
            runtime::Error::Io { source, .. } => {
                return Error { message: error.to_string(), ..Error::io("", source) };
            }
            _ => Kind::Internal,
        };
        Error::new(kind, error.to_string())
    }
}

/// The first few of many, joined.
fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 10;
    let more = items.len().saturating_sub(SHOWN);
    let mut text = items.take(SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

impl From<snapshot::Error> for Error {
    fn from(error: snapshot::Error) -> Error {
        let message = error.to_string();
        match error {
            snapshot::Error::Io { doing, source } => Error::io(doing, &source),
            snapshot::Error::Runtime(error) => error.into(),
            snapshot::Error::UnmappedOwner { .. } => Error::new(Kind::Unsupported, message),
            _ => Error::new(Kind::Invalid, message),
        }
    }
}

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Error {
        use registry::Error as E;
        let kind = match &error {
            E::NoRepository { .. } | E::NoManifest { .. } | E::NoBlob { .. } => Kind::NotFound,
            E::Denied { .. } | E::Blocked { .. } => Kind::Denied,
            _ => Kind::Unavailable,
        };
        let hint = match &error {
            E::Denied { registry, logged_in: false, .. } => Some(format!("run `strake login {registry}`")),
            E::Denied { registry, logged_in: true, .. } => Some(format!(
                "the account that is logged in may not do this: `strake login {registry}` takes another"
            )),
            E::TooManyRequests { registry, .. } => {
                Some(format!("wait, or run `strake login {registry}`: accounts have limits of their own"))
            }
            E::Unreachable { registry, .. } if registry == crate::login::DEFAULT_REGISTRY => Some(
                "a name without a host is Docker Hub's; another registry's begins with its host: HOST/NAME"
                    .to_owned(),
            ),
            E::Unreachable { registry, .. } => {
                Some(format!("is {registry} right, and does the way there need HTTPS_PROXY?"))
            }
            E::NoManifest { registry, repository, .. } => {
                Some(format!("`strake tags {registry}/{repository}` lists what is there"))
            }
            E::Tls { registry, reason } if reason.contains("unknown authority") => Some(format!(
                "put its authority's certificate into /etc/docker/certs.d/{registry}/ca.crt, or set SSL_CERT_FILE"
            )),
            E::Tls { reason, .. } if reason.contains("HTTP response") => {
                Some("a registry without TLS has to be named insecure in registries.conf".to_owned())
            }
            _ => None,
        };
        let converted = Error::new(kind, error.to_string());
        match hint {
            Some(hint) => converted.hint(hint),
            None => converted,
        }
    }
}

impl From<solver::Failure> for Error {
    fn from(failure: solver::Failure) -> Error {
        let message = failure.to_string();
        match failure {
            solver::Failure::Store(error) => error.into(),
            solver::Failure::Fetch(error) => match error.downcast::<Error>() {
                Ok(error) => *error,
                Err(_) => Error::new(Kind::BuildFailed, message),
            },
            solver::Failure::Snapshot(error) => error.into(),
            solver::Failure::Runtime(error) => error.into(),
            solver::Failure::Io { doing, path, source } => {
                Error::io(format_args!("{doing} {}", path.display()), &source)
            }
            solver::Failure::Unsupported(_) => Error::new(Kind::Unsupported, message),
            solver::Failure::SecretInLayer { .. } => Error::new(Kind::BuildFailed, message)
                .hint("use it where it is mounted, and write it nowhere; if it is meant to be in the image: --allow secret-in-layer"),
            solver::Failure::User(_) | solver::Failure::WrongLayer { .. } => {
                Error::new(Kind::Invalid, message)
            }
            _ => Error::new(Kind::BuildFailed, message),
        }
    }
}
