//! One request to one host of a registry: by TLS or without, with what it takes to be let in, its
//! failures sorted into those that may pass and those that will not.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::auth::{Authorization, Challenge, Identity, Scopes, TokenServer};
use crate::client::Shared;
use crate::error::Error;
use crate::hosts::{Endpoint, Scheme};
use crate::http::answer::{Answer, Unread};
use crate::http::redirect::{self, Lost, Why};
use crate::http::request::Request;
use crate::http::trouble::Trouble;
use crate::http::url::Url;

/// How often a request is sent with another authorization before it counts as refused.
const ROUNDS: usize = 3;

/// What a client has found out about a host.
#[derive(Default)]
pub(crate) struct Site {
    /// Whether it speaks TLS, once it answered.
    tls: Mutex<Option<bool>>,
    /// Whether it answered ever: if not, it is not waited for.
    reached: AtomicBool,
    /// A mirror that is not there is asked no more.
    dead: AtomicBool,
    identity: Identity,
}

impl Site {
    /// A host of which nothing is known, to which we are somebody.
    pub fn of(identity: Identity) -> Site {
        Site { identity, ..Site::default() }
    }

    /// Who we are there.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// What a client has found out about hosts, by account and host.
#[derive(Default)]
pub(crate) struct Sites {
    known: Mutex<HashMap<(String, String), Arc<Site>>>,
}

impl Sites {
    fn get(&self, account: &str, host: &str) -> Arc<Site> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry((account.to_owned(), host.to_owned())).or_default().clone()
    }
}

/// One host that serves a registry or a repository, to be asked.
pub(crate) struct Place<'a> {
    pub shared: &'a Shared,
    /// As references name it.
    pub registry: &'a str,
    /// As references name it; empty for a registry.
    pub repository: &'a str,
    pub endpoint: &'a Endpoint,
    pub site: Arc<Site>,
}

/// What a request is for.
pub(crate) enum Target<'a> {
    /// A path with its query, beginning with `/`.
    Path(&'a str),
    /// Where the host itself said.
    Url(&'a Url),
}

/// A failed try.
#[derive(Debug)]
pub(crate) struct Failure {
    pub error: Error,
    pub again: Again,
}

/// Whether another try may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    Never,
    /// After a while of our own choosing.
    Later,
    /// After at least this.
    After(Duration),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { error, again: Again::Never }
    }
}

impl<'a> Place<'a> {
    pub fn new(
        shared: &'a Shared,
        registry: &'a str,
        repository: &'a str,
        endpoint: &'a Endpoint,
    ) -> Place<'a> {
        // Mirrors, and locations elsewhere, have accounts of their own.
        let site = shared.sites.get(&endpoint.registry, &endpoint.host);
        Place { shared, registry, repository, endpoint, site }
    }

    /// Permission for `actions` on the repository, as it is called here.
    pub fn scopes(&self, actions: &[&str]) -> Scopes {
        Scopes::repository(&self.endpoint.repository, actions)
    }

    /// How long an answer may take that needs work: a registry that checks a large blob says nothing meanwhile.
    pub fn patience(&self) -> Duration {
        self.shared.options.stall.saturating_mul(10)
    }

    /// Sends a request and takes any answer but those that ask to come again (408, 429, 5xx) or refuse (401,
    /// 403), which are failures.
    pub fn send(
        &self,
        request: &mut Request<'_>,
        target: Target<'_>,
        scopes: &Scopes,
        what: &str,
    ) -> Result<Answer, Failure> {
        let path = match target {
            Target::Url(url) => return self.send_to(request, url, scopes, what),
            Target::Path(path) => path,
        };
        let known = *self.site.tls.lock().unwrap_or_else(PoisonError::into_inner);
        let ways: &[bool] = match (known, self.endpoint.scheme) {
            (Some(true), _) | (None, Scheme::Https) => &[true],
            (Some(false), _) | (None, Scheme::Http) => &[false],
            (None, Scheme::HttpsOrHttp) => &[true, false],
        };
        let mut failed = None;
        for &tls in ways {
            let url =
                Url::at(tls, &self.endpoint.host, path).map_err(|reason| self.malformed(what, reason))?;
            match self.send_to(request, &url, scopes, what) {
                // Whatever it is that is not TLS: the other way shows.
                Err(failure) if tls && ways.len() > 1 && failure.is_of_connection() => failed = Some(failure),
                other => return other,
            }
        }
        Err(failed.unwrap_or_else(|| self.malformed(what, "it has no endpoint".to_owned()).into()))
    }

    fn send_to(
        &self,
        request: &mut Request<'_>,
        url: &Url,
        scopes: &Scopes,
        what: &str,
    ) -> Result<Answer, Failure> {
        let options = &self.shared.options;
        let own = self.is_own(url);
        let mut scopes = scopes.clone();
        for round in 1..=ROUNDS {
            let authorization = match own {
                true => self.authorization(url, &scopes)?,
                false => Authorization { header: None, fresh: true },
            };
            let header = authorization.header.as_ref();
            let sent = redirect::send(&self.shared.agents, request, url, &self.endpoint.tls, header);
            let answer = sent.map_err(|lost| {
                let reached = self.site.reached.load(Ordering::Relaxed);
                let shown = self.shown(&lost.at);
                Failure::lost(lost, &shown, what, options.stall, reached)
            })?;
            let here = answer.url.same_origin(url);
            if own && here {
                self.site.reached.store(true, Ordering::Relaxed);
                *self.site.tls.lock().unwrap_or_else(PoisonError::into_inner) = Some(url.is_tls());
            }
            if answer.status == 401 && own && here {
                let challenge = Challenge::best(answer.headers("www-authenticate"));
                let wider = self.site.identity.challenged(challenge, header, &scopes);
                let last = round == ROUNDS || authorization.fresh;
                if let Some(wider) = wider.filter(|_| !last) {
                    scopes = wider;
                    // A body that is gone has to be had anew: the next try begins with the right words.
                    if !request.is_rewindable() {
                        return Err(Failure { error: self.denied(answer), again: Again::Later });
                    }
                    answer.drain(options.stall);
                    continue;
                }
            }
            if matches!(answer.status, 401 | 403) {
                if here {
                    return Err(self.denied(answer).into());
                }
                // The storage behind a redirect: its signature may have aged, and the registry gives a new one.
                return Err(Failure { error: self.unexpected(answer, what), again: Again::Later });
            }
            let shown = self.shown(&answer.url);
            let answer = Failure::unless_answered(answer, &shown, what, options.stall)?;
            if let Some(encoding) = answer.encoding() {
                let reason = format!("it is encoded ({encoding:.20}), which was not asked for");
                return Err(self.malformed(what, reason).into());
            }
            return Ok(answer);
        }
        Err(self.malformed(what, "it asks who we are again and again".to_owned()).into())
    }

    fn authorization(&self, url: &Url, scopes: &Scopes) -> Result<Authorization, Failure> {
        let server = TokenServer {
            agents: &self.shared.agents,
            registry: self.registry,
            url,
            tls: &self.endpoint.tls,
        };
        let account = &self.endpoint.registry;
        self.site.identity.authorization(account, scopes, &*self.shared.options.credentials, &server)
    }

    /// Whether `url` is this host's, so that credentials may go there.
    fn is_own(&self, url: &Url) -> bool {
        let allowed = match self.endpoint.scheme {
            Scheme::Https => url.is_tls(),
            Scheme::HttpsOrHttp | Scheme::Http => true,
        };
        allowed && Url::at(url.is_tls(), &self.endpoint.host, "/").is_ok_and(|own| own.same_origin(url))
    }

    /// What to call who answered: the registry, or the host that it is not.
    pub fn shown(&self, url: &Url) -> String {
        match self.is_own(url) && self.endpoint.mirror.is_none() {
            true => self.registry.to_owned(),
            false => url.authority().to_owned(),
        }
    }

    /// Where an answer's `Location` leads.
    pub fn location(&self, answer: &Answer, what: &str) -> Result<Url, Error> {
        let Some(location) = answer.header("location") else {
            return Err(self.malformed(what, "there is no Location in it".to_owned()));
        };
        let url = answer.url.join(location).map_err(|reason| self.malformed(what, reason))?;
        // A registry behind a proxy that ends TLS may not know that it is spoken to by TLS.
        let url = match answer.url.is_tls() && url.authority() == answer.url.authority() {
            true => url.over_tls(),
            false => url,
        };
        if answer.url.is_tls() && !url.is_tls() {
            let reason = format!("from TLS to plain HTTP at {}", url.authority());
            return Err(Error::Redirects {
                registry: self.registry.to_owned(),
                what: what.to_owned(),
                reason,
            });
        }
        Ok(url)
    }

    /// The body of an answer, whole, as a small document.
    pub fn document(&self, answer: Answer, limit: u64, what: &str) -> Result<Vec<u8>, Failure> {
        let shown = self.shown(&answer.url);
        let stall = self.shared.options.stall;
        answer
            .document(limit, stall.saturating_mul(2))
            .map_err(|unread| Failure::unread(unread, &shown, what, stall))
    }

    /// The error for a status that is none of those expected.
    pub fn unexpected(&self, answer: Answer, what: &str) -> Error {
        let (registry, status) = (self.shown(&answer.url), answer.status);
        let message = answer.refusal(self.shared.options.stall).message;
        Error::Status { registry, status, what: what.to_owned(), message }
    }

    pub fn malformed(&self, what: &str, reason: String) -> Error {
        let registry = match &self.endpoint.mirror {
            None => self.registry.to_owned(),
            Some(_) => self.endpoint.host.clone(),
        };
        Error::Malformed { registry, what: what.to_owned(), reason }
    }

    fn denied(&self, answer: Answer) -> Error {
        Error::Denied {
            registry: self.registry.to_owned(),
            repository: self.repository.to_owned(),
            message: answer.refusal(self.shared.options.stall).message,
            logged_in: self.site.identity.is_known(),
        }
    }

    /// Whether it is a mirror that was not there.
    pub fn is_dead(&self) -> bool {
        self.site.dead.load(Ordering::Relaxed)
    }

    /// Remembers of a mirror that it is not there.
    pub fn failed(&self, failure: &Failure) {
        if self.endpoint.mirror.is_some() && failure.is_of_connection() {
            self.site.dead.store(true, Ordering::Relaxed);
        }
    }
}

impl Failure {
    /// A failure that may pass.
    pub fn passing(error: Error) -> Failure {
        Failure { error, again: Again::Later }
    }

    /// From a request without an answer. `reached`: whether that host answered before.
    pub fn lost(lost: Lost, shown: &str, what: &str, stall: Duration, reached: bool) -> Failure {
        let trouble = match lost.why {
            Why::Trouble(trouble) => trouble,
            Why::Redirects(reason) => {
                let registry = shown.to_owned();
                return Error::Redirects { registry, what: what.to_owned(), reason }.into();
            }
        };
        let mut failure = Failure::trouble(trouble, shown, what, stall);
        // A wrong name is told at once; a registry that was there a moment ago may be back in another.
        if matches!(failure.error, Error::Unreachable { .. }) && !reached {
            failure.again = Again::Never;
        }
        failure
    }

    /// From trouble on the way.
    pub fn trouble(trouble: Trouble, shown: &str, what: &str, stall: Duration) -> Failure {
        let (registry, what) = (shown.to_owned(), what.to_owned());
        match trouble {
            Trouble::Unreachable(reason) => Failure::passing(Error::Unreachable { registry, reason }),
            Trouble::Refused => {
                Failure::passing(Error::Unreachable { registry, reason: "connection refused".to_owned() })
            }
            Trouble::Cut(reason) => Failure::passing(Error::Cut { registry, what, reason }),
            Trouble::Stalled => Failure::passing(Error::Stalled { registry, what, after: stall }),
            Trouble::Tls(reason) => Error::Tls { registry, reason }.into(),
            Trouble::Malformed(reason) => Error::Malformed { registry, what, reason }.into(),
            Trouble::Local { doing, source } => Error::Local { doing, source }.into(),
        }
    }

    /// From a document that could not be read.
    pub fn unread(unread: Unread, shown: &str, what: &str, stall: Duration) -> Failure {
        match unread {
            Unread::Trouble(trouble) => Failure::trouble(trouble, shown, what, stall),
            Unread::TooLarge(limit) => Error::Malformed {
                registry: shown.to_owned(),
                what: what.to_owned(),
                reason: format!("it is larger than {limit} bytes"),
            }
            .into(),
        }
    }

    /// The answer, unless it says to come again.
    pub fn unless_answered(
        answer: Answer,
        shown: &str,
        what: &str,
        stall: Duration,
    ) -> Result<Answer, Failure> {
        if !matches!(answer.status, 408 | 429 | 500 | 502 | 503 | 504) {
            return Ok(answer);
        }
        let (status, wait) = (answer.status, answer.retry_after());
        let again = wait.map_or(Again::Later, Again::After);
        let (registry, what) = (shown.to_owned(), what.to_owned());
        let message = answer.refusal(stall).message;
        let error = match status {
            429 => Error::TooManyRequests { registry, what, wait, message },
            _ => Error::Status { registry, status, what, message },
        };
        Err(Failure { error, again })
    }

    /// Whether there was no answer at all.
    fn is_of_connection(&self) -> bool {
        matches!(
            self.error,
            Error::Unreachable { .. }
                | Error::Tls { .. }
                | Error::Cut { .. }
                | Error::Stalled { .. }
                | Error::Malformed { .. }
        )
    }
}
