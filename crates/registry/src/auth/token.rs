//! A token server's answer, and how long it is good for.

use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::auth::scope::Scopes;
use crate::credentials::Secret;

/// What a token is good for where the server does not say (distribution: "for compatibility", 60 s).
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// The longest that any token is used.
const LIFE_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// A token is not used in its last moments: the request has to arrive.
const MARGIN: Duration = Duration::from_secs(10);

/// A bearer token that is held.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    /// `Bearer …`, as it is sent.
    pub header: Secret,
    /// What it was asked for.
    pub scopes: Scopes,
    /// When it is no longer used.
    pub until: Instant,
}

/// What a token server sends.
#[derive(Deserialize)]
pub(crate) struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Option<f64>,
}

impl TokenAnswer {
    /// The token, under either of the names that servers give it. `Err`: what is wrong with it.
    pub fn token(&self, scopes: Scopes, now: Instant) -> Result<Token, String> {
        let text = self.token.as_deref().filter(|t| !t.is_empty()).or(self.access_token.as_deref());
        let text = text.filter(|t| !t.is_empty()).ok_or("there is no token in it")?;
        if !text.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
            return Err("the token has characters that no token has".to_owned());
        }
        let life = match self.expires_in {
            Some(seconds) if seconds > 0.0 => {
                Duration::try_from_secs_f64(seconds).unwrap_or(LIFE_LIMIT).min(LIFE_LIMIT)
            }
            _ => DEFAULT_LIFE,
        };
        let until = now + life - MARGIN.min(life / 5);
        Ok(Token { header: Secret::new(format!("Bearer {text}")), scopes, until })
    }

    /// What may be stored instead of a password.
    pub fn identity(self) -> Option<Secret> {
        self.refresh_token.filter(|t| !t.is_empty()).map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(json: &str) -> Result<(String, u64), String> {
        let now = Instant::now();
        let answer: TokenAnswer = serde_json::from_str(json).map_err(|e| e.to_string())?;
        let token = answer.token(Scopes::default(), now)?;
        Ok((token.header.reveal().to_owned(), (token.until - now).as_secs()))
    }

    #[test]
    fn answers() {
        assert_eq!(life(r#"{"token":"t"}"#), Ok(("Bearer t".into(), 50)));
        assert_eq!(life(r#"{"access_token":"t","expires_in":300}"#), Ok(("Bearer t".into(), 290)));
        assert_eq!(life(r#"{"token":"","access_token":"a","expires_in":5}"#), Ok(("Bearer a".into(), 4)));
        assert_eq!(life(r#"{"token":"t","expires_in":1e300}"#), Ok(("Bearer t".into(), 86390)));
        assert_eq!(life(r#"{"token":"t","expires_in":-1}"#), Ok(("Bearer t".into(), 50)));
        assert!(life("{}").is_err() && life(r#"{"token":"a\r\nX: y"}"#).is_err() && life("[]").is_err());
    }
}
