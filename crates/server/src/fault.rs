//! What is wrong with a request, as the protocol says it: a status and a code (distribution specification, "Error
//! codes").

use hyper::StatusCode;
use serde_json::{Value, json};

/// The codes that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    TagInvalid,
    Unauthorized,
    Unsupported,
    TooManyRequests,
    /// As Docker's registry says it; the specification has no code for a bad `n`.
    PaginationNumberInvalid,
    /// Ours to mend, or the disk's; not in the specification, which lets clients take it so.
    Unknown,
}

impl Code {
    fn as_str(self) -> &'static str {
        match self {
            Code::BlobUnknown => "BLOB_UNKNOWN",
            Code::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Code::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Code::DigestInvalid => "DIGEST_INVALID",
            Code::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Code::ManifestInvalid => "MANIFEST_INVALID",
            Code::ManifestUnknown => "MANIFEST_UNKNOWN",
            Code::NameInvalid => "NAME_INVALID",
            Code::NameUnknown => "NAME_UNKNOWN",
            Code::SizeInvalid => "SIZE_INVALID",
            Code::TagInvalid => "TAG_INVALID",
            Code::Unauthorized => "UNAUTHORIZED",
            Code::Unsupported => "UNSUPPORTED",
            Code::TooManyRequests => "TOOMANYREQUESTS",
            Code::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
            Code::Unknown => "UNKNOWN",
        }
    }

    /// The status that goes with it where nothing else is said.
    fn status(self) -> StatusCode {
        match self {
            Code::BlobUnknown
            | Code::BlobUploadUnknown
            | Code::ManifestBlobUnknown
            | Code::ManifestUnknown
            | Code::NameUnknown => StatusCode::NOT_FOUND,
            Code::Unauthorized => StatusCode::UNAUTHORIZED,
            Code::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            Code::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Code::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// One answer that says no.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    /// Headers beside it: how to authenticate, where an upload stands.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Of a failure that is ours: what to tell whoever runs the server.
    pub(crate) told: Option<String>,
    errors: Vec<Value>,
}

impl Fault {
    /// An answer with the status that goes with the code.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Fault {
        Fault::of(code, [(message.into(), Value::Null)])
    }

    /// Several errors of one code, each with what it is about.
    pub(crate) fn of(code: Code, errors: impl IntoIterator<Item = (String, Value)>) -> Fault {
        let errors = errors.into_iter().map(|(message, detail)| match detail {
            Value::Null => json!({ "code": code.as_str(), "message": message }),
            detail => json!({ "code": code.as_str(), "message": message, "detail": detail }),
        });
        Fault { status: code.status(), headers: Vec::new(), told: None, errors: errors.collect() }
    }

    /// The same with another status.
    pub(crate) fn status(mut self, status: StatusCode) -> Fault {
        self.status = status;
        self
    }

    /// The same with a header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Fault {
        self.headers.push((name, value.into()));
        self
    }

    /// The body of the answer.
    pub(crate) fn body(&self) -> Vec<u8> {
        json!({ "errors": self.errors }).to_string().into_bytes()
    }

    /// A failure of ours: the client learns no paths of this machine.
    pub(crate) fn internal(told: impl std::fmt::Display) -> Fault {
        Fault {
            told: Some(told.to_string()),
            ..Fault::new(Code::Unknown, "the registry failed; its own output says how")
        }
    }
}

impl From<store::Error> for Fault {
    fn from(error: store::Error) -> Fault {
        match error {
            store::Error::NoSpace { .. } => Fault {
                told: Some(error.to_string()),
                ..Fault::new(Code::Unknown, "no space left on the registry's disk")
                    .status(StatusCode::INSUFFICIENT_STORAGE)
            },
            store::Error::UploadBusy(_) => {
                Fault::new(Code::BlobUploadInvalid, error.to_string()).status(StatusCode::CONFLICT)
            }
            store::Error::TooManyUploads(_) => {
                Fault::new(Code::TooManyRequests, error.to_string()).header("Retry-After", "60")
            }
            store::Error::Busy { .. } => Fault {
                told: Some(error.to_string()),
                ..Fault::new(Code::Unknown, "the registry's store is busy")
                    .status(StatusCode::SERVICE_UNAVAILABLE)
                    .header("Retry-After", "5")
            },
            error => Fault::internal(error),
        }
    }
}
