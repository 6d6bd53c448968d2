//! Challenges: what a registry's 401 asks for, and an anonymous token where it asks for one.

use serde::Deserialize;

/// A parsed `WWW-Authenticate` header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A token from a realm (distribution specification, "Token Authentication").
    Bearer {
        /// URL of the token server.
        realm: String,
        /// Name of the registry there.
        service: String,
        /// What the token is to allow; may be empty.
        scope: String,
    },
    /// User name and password.
    Basic,
}

impl Challenge {
    /// Parses a header's value; `None` for a scheme that is not known.
    pub fn parse(header: &str) -> Option<Challenge> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (String::new(), String::new(), String::new());
        for (name, value) in parameters(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = value,
                "service" => service = value,
                "scope" => scope = value,
                _ => {}
            }
        }
        (!realm.is_empty()).then_some(Challenge::Bearer { realm, service, scope })
    }
}

/// `name="value"` pairs separated by commas; commas within quotes do not separate.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_owned();
        let (value, tail) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.push((name, value.to_owned()));
        rest = tail;
    }
    found
}

/// A token server's answer.
#[derive(Deserialize)]
pub(crate) struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Token {
    /// The token, under either of the names that servers give it.
    pub fn into_text(self) -> Option<String> {
        self.token.or(self.access_token).filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        assert_eq!(
            Challenge::parse(
                r#"Bearer realm="https://a.example/token",service="r",scope="repository:a/b:pull,push""#
            ),
            Some(Challenge::Bearer {
                realm: "https://a.example/token".into(),
                service: "r".into(),
                scope: "repository:a/b:pull,push".into()
            })
        );
        assert_eq!(Challenge::parse("Basic realm=x"), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Digest x"), None);
        assert_eq!(Challenge::parse("Bearer"), None);
    }
}
