//! Redirects: how far they are followed, and what goes along.
//!
//! Credentials go to the host that they are for and to no other; nothing goes from TLS to plain HTTP.

use ureq::http::Method;

use crate::credentials::Secret;
use crate::hosts::Tls;
use crate::http::agents::Agents;
use crate::http::answer::Answer;
use crate::http::request::Request;
use crate::http::trouble::Trouble;
use crate::http::url::Url;

/// The most redirects followed for one request, as Go's client does.
const LIMIT: usize = 10;

/// Why a request has no answer, and whose fault it is.
pub(crate) struct Lost {
    /// Whom the last request was for.
    pub at: Url,
    pub why: Why,
}

pub(crate) enum Why {
    Trouble(Trouble),
    Redirects(String),
}

/// Sends `request` and follows where its answer leads.
///
/// `tls` is for the host of `url`; at others the same authorities are trusted, and no certificate is shown.
pub(crate) fn send(
    agents: &Agents,
    request: &mut Request<'_>,
    url: &Url,
    tls: &Tls,
    authorization: Option<&Secret>,
) -> Result<Answer, Lost> {
    let elsewhere = Tls { client: None, ..tls.clone() };
    let mut seen = vec![url.clone()];
    loop {
        let at = seen.last().unwrap_or(url).clone();
        let lost = |why| Lost { at: at.clone(), why };
        let same_host = at.host() == url.host();
        let authorization = authorization.filter(|_| at.same_origin(url));
        let agent = agents
            .for_url(&at, if same_host { tls } else { &elsewhere })
            .map_err(|trouble| lost(Why::Trouble(trouble)))?;
        let answer =
            request.send(&agent, &at, authorization).map_err(|trouble| lost(Why::Trouble(trouble)))?;
        let Some(location) = redirect(&answer) else { return Ok(answer) };
        let refuse = |reason: String| Err(lost(Why::Redirects(reason)));
        let next = match at.join(location) {
            Ok(next) => next,
            Err(reason) => return refuse(reason),
        };
        // A registry behind a proxy that ends TLS may not know that it is spoken to by TLS.
        let next = if at.is_tls() && next.authority() == at.authority() { next.over_tls() } else { next };
        if at.is_tls() && !next.is_tls() {
            return refuse(format!("from TLS to plain HTTP at {}", next.authority()));
        }
        match request.method {
            Method::GET | Method::HEAD => {}
            // The same request again, where it may be sent again and stays at home.
            _ if matches!(answer.status, 307 | 308) && request.is_rewindable() && next.same_origin(url) => {}
            _ => return refuse(format!("a {} is not sent on to {}", request.method, next.authority())),
        }
        if seen.contains(&next) {
            return refuse("in a circle".to_owned());
        }
        if seen.len() > LIMIT {
            return refuse(format!("more than {LIMIT} times"));
        }
        answer.drain(agents.stall());
        seen.push(next);
    }
}

fn redirect(answer: &Answer) -> Option<&str> {
    matches!(answer.status, 301 | 302 | 303 | 307 | 308).then(|| answer.header("location"))?
}
