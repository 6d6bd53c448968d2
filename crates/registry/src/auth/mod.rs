//! Who we are to one host: its challenge remembered, the credential looked up once, tokens kept by
//! what they allow and fetched anew before they end.

mod challenge;
mod scope;
mod server;
mod token;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(crate) use challenge::Challenge;
pub(crate) use scope::Scopes;
pub(crate) use server::TokenServer;
use token::Token;

use crate::credentials::{Credential, Credentials, Secret};
use crate::error::Error;
use crate::exchange::Failure;

/// The most tokens kept for one host.
const TOKEN_LIMIT: usize = 64;

/// What is known of us at one host.
#[derive(Default)]
pub(crate) struct Identity {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Looked up, once it was needed.
    credential: Option<Option<Credential>>,
    /// As the host last sent it.
    challenge: Option<Challenge>,
    tokens: Vec<Token>,
}

/// What to send, and whether it was got for this request alone.
pub(crate) struct Authorization {
    /// Value of the header; `None`: nothing to send.
    pub header: Option<Secret>,
    /// Whether another try with it is hopeless.
    pub fresh: bool,
}

impl Identity {
    /// An identity that is known from the beginning: a login's.
    pub fn of(credential: Credential) -> Identity {
        let state = State { credential: Some(Some(credential)), ..State::default() };
        Identity { state: Mutex::new(state) }
    }

    /// What to send with a request that needs `scopes`. One thread at a time: others that need the same token
    /// wait for it.
    pub fn authorization(
        &self,
        account: &str,
        scopes: &Scopes,
        credentials: &dyn Credentials,
        server: &TokenServer<'_>,
    ) -> Result<Authorization, Failure> {
        let mut state = self.lock();
        let Some(challenge) = state.challenge.clone() else {
            return Ok(Authorization { header: None, fresh: false });
        };
        let credential = state.credential(account, credentials)?;
        let known = |header| Ok(Authorization { header, fresh: true });
        match (challenge, credential) {
            (Challenge::Basic, Some(Credential::Password { user, password })) => {
                known(Some(basic(&user, &password)))
            }
            (_, Some(Credential::RegistryToken(token))) => {
                known(Some(Secret::new(format!("Bearer {}", token.reveal()))))
            }
            (Challenge::Basic, _) => known(None),
            (Challenge::Bearer { realm, service, .. }, credential) => {
                let now = Instant::now();
                state.tokens.retain(|token| token.until > now);
                if let Some(token) = state.tokens.iter().find(|token| token.scopes.covers(scopes)) {
                    return Ok(Authorization { header: Some(token.header.clone()), fresh: false });
                }
                let token = server.fetch(&realm, &service, scopes, credential.as_ref())?;
                let header = token.header.clone();
                if state.tokens.len() == TOKEN_LIMIT {
                    state.tokens.remove(0);
                }
                state.tokens.push(token);
                known(Some(header))
            }
        }
    }

    /// The host refused a request that had `sent` with it: remembers what it asks for, and forgets what was
    /// no good. The scopes to ask for from now on; `None` where it asks for nothing that is known.
    pub fn challenged(
        &self,
        challenge: Option<Challenge>,
        sent: Option<&Secret>,
        scopes: &Scopes,
    ) -> Option<Scopes> {
        let mut state = self.lock();
        if let Some(sent) = sent {
            state.tokens.retain(|token| token.header != *sent);
        }
        let challenge = challenge?;
        let wider = match &challenge {
            Challenge::Bearer { scope, .. } => scopes.clone().union(scope),
            Challenge::Basic => scopes.clone(),
        };
        state.challenge = Some(challenge);
        Some(wider)
    }

    /// What the host asked for last.
    pub fn challenge(&self) -> Option<Challenge> {
        self.lock().challenge.clone()
    }

    /// Whether there is an account to speak of.
    pub fn is_known(&self) -> bool {
        matches!(self.lock().credential, Some(Some(_)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn credential(
        &mut self,
        account: &str,
        credentials: &dyn Credentials,
    ) -> Result<Option<Credential>, Error> {
        if self.credential.is_none() {
            self.credential = Some(credentials.get(account)?);
        }
        Ok(self.credential.clone().flatten())
    }
}

/// `Basic …`, as it is sent.
pub(crate) fn basic(user: &str, password: &Secret) -> Secret {
    Secret::new(format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.reveal()))))
}
