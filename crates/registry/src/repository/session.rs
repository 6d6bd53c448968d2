//! An upload under way at the registry: where it goes on, and how far it is (distribution
//! specification, "Pushing blobs").

use oci::Digest;
use ureq::http::Method;

use crate::auth::Scopes;
use crate::error::Error;
use crate::exchange::{Failure, Place, Target};
use crate::http::answer::Answer;
use crate::http::request::{Payload, Request};
use crate::http::url::Url;

/// An upload that the registry has begun.
#[derive(Debug, Clone)]
pub(super) struct Session {
    /// Where the next request goes; changes with every answer.
    pub location: Url,
    /// Bytes that the least chunk but the last has to have.
    pub least: u64,
}

impl Session {
    /// Begins an upload.
    pub fn begin(place: &Place<'_>, what: &str) -> Result<Session, Failure> {
        let path = format!("/v2/{}/blobs/uploads/", place.endpoint.repository);
        let mut request = Request::new(Method::POST);
        let answer = place.send(&mut request, Target::Path(&path), &scopes(place), what)?;
        match answer.status {
            202 => Session::begun(place, answer, what),
            404 => Err(no_repository(place, answer)),
            _ => Err(place.unexpected(answer, what).into()),
        }
    }

    /// The upload that an answer tells of.
    pub fn begun(place: &Place<'_>, answer: Answer, what: &str) -> Result<Session, Failure> {
        let location = place.location(&answer, what)?;
        let least = answer.header("oci-chunk-min-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        answer.drain(place.shared.options.stall);
        Ok(Session { location, least })
    }

    /// Asks how many bytes the registry has. `None`: it knows nothing of this upload (any more).
    pub fn status(&mut self, place: &Place<'_>, what: &str) -> Result<Option<u64>, Failure> {
        let mut request = Request::new(Method::GET);
        let answer = place.send(&mut request, Target::Url(&self.location), &scopes(place), what)?;
        if !(200..=204).contains(&answer.status) {
            answer.drain(place.shared.options.stall);
            return Ok(None);
        }
        let held = answer.header("range").and_then(held);
        self.follow(place, answer, what)?;
        Ok(held)
    }

    /// Sends the bytes from `offset` on, more of which will follow. The bytes that the registry has then.
    pub fn append(
        &mut self,
        place: &Place<'_>,
        bytes: &[u8],
        offset: u64,
        what: &str,
    ) -> Result<u64, Failure> {
        let end = offset + bytes.len() as u64;
        let mut request = Request::new(Method::PATCH)
            .header("Content-Type", "application/octet-stream")
            .header("Content-Range", range(offset, end))
            .payload(Payload::Bytes(bytes));
        request.patience = Some(place.patience());
        let answer = place.send(&mut request, Target::Url(&self.location), &scopes(place), what)?;
        match answer.status {
            200..=204 => {}
            416 => return Err(Failure::passing(place.unexpected(answer, what))),
            _ => return Err(place.unexpected(answer, what).into()),
        }
        let held = answer.header("range").and_then(held).unwrap_or(end);
        self.follow(place, answer, what)?;
        Ok(held)
    }

    /// Sends the last bytes, which begin at `offset`, and ends the upload: the registry checks the digest.
    pub fn finish(
        &self,
        place: &Place<'_>,
        payload: Payload<'_>,
        offset: u64,
        digest: &Digest,
        what: &str,
    ) -> Result<(), Failure> {
        let length = match &payload {
            Payload::None => 0,
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::Stream { length, .. } => *length,
        };
        let mut request =
            Request::new(Method::PUT).header("Content-Type", "application/octet-stream").payload(payload);
        if offset > 0 && length > 0 {
            request = request.header("Content-Range", range(offset, offset + length));
        }
        request.patience = Some(place.patience());
        let url = self.location.clone().with_query("digest", digest.as_str());
        let answer = place.send(&mut request, Target::Url(&url), &scopes(place), what)?;
        match answer.status {
            200..=204 => {
                answer.drain(place.shared.options.stall);
                Ok(())
            }
            // An upload that was lost, or is elsewhere than thought.
            404 | 416 => Err(Failure::passing(place.unexpected(answer, what))),
            _ => Err(place.unexpected(answer, what).into()),
        }
    }

    /// Tells the registry that nothing more will come.
    pub fn cancel(&self, place: &Place<'_>, what: &str) {
        let mut request = Request::new(Method::DELETE);
        if let Ok(answer) = place.send(&mut request, Target::Url(&self.location), &scopes(place), what) {
            answer.drain(place.shared.options.stall);
        }
    }

    fn follow(&mut self, place: &Place<'_>, answer: Answer, what: &str) -> Result<(), Failure> {
        if answer.header("location").is_some() {
            self.location = place.location(&answer, what)?;
        }
        answer.drain(place.shared.options.stall);
        Ok(())
    }
}

fn scopes(place: &Place<'_>) -> Scopes {
    place.scopes(&["pull", "push"])
}

fn no_repository(place: &Place<'_>, answer: Answer) -> Failure {
    let message = answer.refusal(place.shared.options.stall).message;
    let (registry, repository) = (place.registry.to_owned(), place.repository.to_owned());
    Error::NoRepository { registry, repository, message }.into()
}

/// `Content-Range` of an upload: without a unit, the last byte included.
fn range(from: u64, end: u64) -> String {
    format!("{from}-{}", end.saturating_sub(1))
}

/// The bytes held, of a `Range` of `0-LAST`. `0-0` is what registries say of nothing.
fn held(text: &str) -> Option<u64> {
    let last = text.trim_start_matches("bytes=").strip_prefix("0-")?;
    match last.parse::<u64>().ok()? {
        0 => Some(0),
        last => last.checked_add(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!((range(0, 10), range(10, 11), range(5, 5)), ("0-9".into(), "10-10".into(), "5-4".into()));
        for (text, expected) in [
            ("0-9", Some(10)),
            ("bytes=0-9", Some(10)),
            ("0-0", Some(0)),
            ("0--1", None),
            ("1-9", None),
            ("", None),
            ("0-18446744073709551615", None),
        ] {
            assert_eq!(held(text), expected, "{text}");
        }
    }
}
