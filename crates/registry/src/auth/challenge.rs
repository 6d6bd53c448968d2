//! `WWW-Authenticate`: what a registry's 401 asks for (RFC 9110, section 11.6.1; distribution's
//! "Token Authentication Specification").

use crate::auth::scope::Scopes;

/// The longest header value read, in bytes.
const LENGTH_LIMIT: usize = 8 << 10;

/// One way to say who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A token from a realm.
    Bearer {
        /// URL of the token server.
        realm: String,
        /// Name of the registry there; may be empty.
        service: String,
        /// What the token is to allow; may be empty.
        scope: Scopes,
    },
    /// User name and password.
    Basic,
}

impl Challenge {
    /// The challenge to answer, of all that the headers hold: a token before a password.
    pub fn best<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
        let mut found: Vec<Challenge> = Vec::new();
        for header in headers.take(16).filter(|h| h.len() <= LENGTH_LIMIT) {
            found.extend(parse(header));
        }
        let bearer = found.iter().position(|c| matches!(c, Challenge::Bearer { .. }));
        match bearer {
            Some(at) => Some(found.swap_remove(at)),
            None => found.pop(),
        }
    }
}

/// All known challenges of one header value.
fn parse(header: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        if end == 0 {
            break;
        }
        let (word, after) = rest.split_at(end);
        match after.trim_start_matches([' ', '\t']).strip_prefix('=') {
            // A parameter of the challenge before it.
            Some(value) => {
                let (value, tail) = value_of(value.trim_start_matches([' ', '\t']));
                if let Some((_, parameters)) = found.last_mut() {
                    parameters.push((word.to_ascii_lowercase(), value));
                }
                rest = tail;
            }
            None => {
                found.push((word.to_ascii_lowercase(), Vec::new()));
                rest = after;
            }
        }
    }
    found.into_iter().filter_map(|(scheme, parameters)| challenge(&scheme, parameters)).collect()
}

fn challenge(scheme: &str, parameters: Vec<(String, String)>) -> Option<Challenge> {
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => {
            let get = |name: &str| {
                let at = parameters.iter().position(|(n, _)| n == name);
                at.map(|at| parameters[at].1.clone()).unwrap_or_default()
            };
            let (realm, service, scope) = (get("realm"), get("service"), get("scope"));
            (!realm.is_empty()).then(|| Challenge::Bearer { realm, service, scope: Scopes::parse(&scope) })
        }
        _ => None,
    }
}

/// A token or a quoted string, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[&str], expected: &str) {
        let shown = match Challenge::best(headers.iter().copied()) {
            None => "none".to_owned(),
            Some(Challenge::Basic) => "basic".to_owned(),
            Some(Challenge::Bearer { realm, service, scope }) => {
                format!("bearer {realm} {service} {}", scope)
            }
        };
        assert_eq!(shown, expected, "{headers:?}");
    }

    #[test]
    fn parses() {
        check(
            &[r#"Bearer realm="https://a.example/token",service="r",scope="repository:a/b:push,pull""#],
            "bearer https://a.example/token r repository:a/b:pull,push",
        );
        check(&["Basic realm=x"], "basic");
        check(&["basic"], "basic");
        check(&[r#"BEARER Realm = "u" , service=r"#], "bearer u r ");
        check(&[r#"Basic realm="a, b", Bearer realm="u",service="s""#], "bearer u s ");
        check(&["Negotiate", r#"Basic realm="x""#], "basic");
        check(&["Basic realm=x", r#"Bearer realm="u""#], "bearer u  ");
        check(&[r#"Bearer realm="a\"b\\c""#], r#"bearer a"b\c  "#);
        check(
            &[r#"Bearer realm="u",error="invalid_token",scope="repository:a:pull registry:catalog:*""#],
            "bearer u  registry:catalog:* repository:a:pull",
        );
    }

    #[test]
    fn odd_ones_are_no_challenge() {
        for header in
            ["", "Digest realm=x", "Bearer", "Bearer service=x", "=", ",,,", "Bearer realm=", "\"", "a=b=c"]
        {
            check(&[header], "none");
        }
        check(&[&format!("Basic {}", "x".repeat(LENGTH_LIMIT))], "none");
        check(&[r#"Bearer realm="unclosed"#], "bearer unclosed  ");
    }
}
