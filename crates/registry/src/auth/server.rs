//! Token servers: a credential, or none, for a bearer token (distribution's "Token Authentication
//! Specification" and "OAuth2 Token Authentication").

use std::time::Instant;

use ureq::http::Method;

use crate::auth::basic;
use crate::auth::scope::Scopes;
use crate::auth::token::{Token, TokenAnswer};
use crate::credentials::Credential;
use crate::error::Error;
use crate::exchange::Failure;
use crate::hosts::{Tls, is_loopback};
use crate::http::agents::Agents;
use crate::http::redirect;
use crate::http::request::{Payload, Request};
use crate::http::url::{Url, encode};

/// The largest answer taken, in bytes: tokens of large accounts have some 10,000.
const ANSWER_LIMIT: u64 = 1 << 20;
/// How we are called at token servers.
const CLIENT_ID: &str = "strake";

/// The way to the token server of one registry.
pub(crate) struct TokenServer<'a> {
    pub agents: &'a Agents,
    /// As references name it.
    pub registry: &'a str,
    /// A URL of the registry: what a token is worth stealing for.
    pub url: &'a Url,
    /// The registry's own.
    pub tls: &'a Tls,
}

impl TokenServer<'_> {
    /// A token for `scopes`.
    pub fn fetch(
        &self,
        realm: &str,
        service: &str,
        scopes: &Scopes,
        credential: Option<&Credential>,
    ) -> Result<Token, Failure> {
        let now = Instant::now();
        let answer = self.ask(realm, service, scopes, credential, false)?;
        answer.token(scopes.clone(), now).map_err(|reason| self.malformed(reason))
    }

    /// The server's answer; with `offline` it is asked for a token that outlives the password.
    pub fn ask(
        &self,
        realm: &str,
        service: &str,
        scopes: &Scopes,
        credential: Option<&Credential>,
        offline: bool,
    ) -> Result<TokenAnswer, Failure> {
        let realm = self.realm(realm)?;
        match credential {
            Some(Credential::IdentityToken(token)) => {
                let grant = [("grant_type", "refresh_token"), ("refresh_token", token.reveal())];
                self.post(&realm, service, scopes, &grant)
            }
            Some(Credential::Password { user, password }) => {
                match self.get(realm.clone(), service, scopes, Some((user, password)), offline) {
                    // Servers that know OAuth2 alone.
                    Err(Failure { error: Error::Status { status: 404 | 405, .. }, .. }) => {
                        let grant = [
                            ("grant_type", "password"),
                            ("username", user),
                            ("password", password.reveal()),
                            ("access_type", if offline { "offline" } else { "online" }),
                        ];
                        self.post(&realm, service, scopes, &grant)
                    }
                    other => other,
                }
            }
            _ => self.get(realm, service, scopes, None, offline),
        }
    }

    fn get(
        &self,
        realm: Url,
        service: &str,
        scopes: &Scopes,
        account: Option<(&str, &crate::credentials::Secret)>,
        offline: bool,
    ) -> Result<TokenAnswer, Failure> {
        let mut url = realm;
        if let Some((user, _)) = account {
            url = url.with_query("account", user);
            if offline {
                url = url.with_query("client_id", CLIENT_ID).with_query("offline_token", "true");
            }
        }
        for scope in scopes.each() {
            url = url.with_query("scope", &scope);
        }
        if !service.is_empty() {
            url = url.with_query("service", service);
        }
        let authorization = account.map(|(user, password)| basic(user, password));
        let request = Request::new(Method::GET);
        self.send(request, &url, authorization.as_ref(), account.is_some())
    }

    fn post(
        &self,
        realm: &Url,
        service: &str,
        scopes: &Scopes,
        grant: &[(&str, &str)],
    ) -> Result<TokenAnswer, Failure> {
        let scope = scopes.to_string();
        let common = [("service", service), ("client_id", CLIENT_ID), ("scope", &scope)];
        let pairs = grant.iter().chain(&common).filter(|(_, value)| !value.is_empty());
        let form =
            pairs.map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&");
        let request = Request::new(Method::POST)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .payload(Payload::Bytes(form.as_bytes()));
        self.send(request, realm, None, true)
    }

    fn send(
        &self,
        mut request: Request<'_>,
        url: &Url,
        authorization: Option<&crate::credentials::Secret>,
        logged_in: bool,
    ) -> Result<TokenAnswer, Failure> {
        const WHAT: &str = "a token";
        let tls = self.tls_for(url);
        let answer = redirect::send(self.agents, &mut request, url, &tls, authorization).map_err(|lost| {
            let at = lost.at.authority().to_owned();
            Failure::lost(lost, &at, WHAT, self.agents.stall(), false)
        })?;
        let answer = Failure::unless_answered(answer, self.registry, WHAT, self.agents.stall())?;
        match answer.status {
            200..=299 => {}
            // 400: what OAuth2 says to a wrong password or an old token.
            400 | 401 | 403 => {
                let refusal = answer.refusal(self.agents.stall());
                return Err(Failure::from(Error::Denied {
                    registry: self.registry.to_owned(),
                    repository: String::new(),
                    message: refusal.message,
                    logged_in,
                }));
            }
            status => {
                let message = answer.refusal(self.agents.stall()).message;
                let registry = url.authority().to_owned();
                return Err(Error::Status { registry, status, what: WHAT.to_owned(), message }.into());
            }
        }
        let bytes = answer
            .document(ANSWER_LIMIT, self.agents.stall().saturating_mul(2))
            .map_err(|unread| Failure::unread(unread, url.authority(), WHAT, self.agents.stall()))?;
        // Its text is in no error: it may hold a token.
        serde_json::from_slice(&bytes).map_err(|_| self.malformed("it is no JSON of that form".to_owned()))
    }

    /// The realm's URL, if credentials and tokens may go there.
    fn realm(&self, realm: &str) -> Result<Url, Failure> {
        let url = Url::parse(realm).map_err(|reason| self.malformed(format!("its server: {reason}")))?;
        if self.url.is_tls() && !url.is_tls() {
            let reason = format!("its server {url} is not spoken to by TLS, as the registry is");
            return Err(self.malformed(reason));
        }
        Ok(url)
    }

    /// The registry's own trust goes as far as its host; its authorities are trusted beyond, as with Docker.
    fn tls_for(&self, url: &Url) -> Tls {
        let own = url.host() == self.url.host() || (is_loopback(url.host()) && is_loopback(self.url.host()));
        match own {
            true => self.tls.clone(),
            false => Tls { client: None, unverified: false, ..self.tls.clone() },
        }
    }

    fn malformed(&self, reason: String) -> Failure {
        Error::Malformed { registry: self.registry.to_owned(), what: "a token".to_owned(), reason }.into()
    }
}
