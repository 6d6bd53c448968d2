//! Docker's `config.json`, as far as it is about accounts: what it says of a registry, and the same file with something
//! else said of it.
//!
//! Text in, text out: files are read and replaced elsewhere, helpers run elsewhere. What is not about accounts is kept
//! as it stands, in its order.

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::{Credential, Secret};

/// The key of docker.io's account.
pub(super) const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Base64 as Docker writes it; files by other hands may lack the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The file's content.
#[derive(Clone, Default)]
pub(super) struct ConfigFile {
    fields: Map<String, Value>,
}

/// What is kept for a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// Name of the user; may be empty beside a token.
    pub user: String,
    /// What proves it; `None` where the entry only marks that a helper has it.
    pub credential: Option<Credential>,
}

/// How strictly the names in a file are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// Docker's: a URL's host is what counts.
    Docker,
    /// containers' `auth.json`: a name with a path is of that path alone, and not of its registry.
    Containers,
}

/// The key under which `registry` (`docker.io` for Docker Hub, `index.docker.io` for its search) is kept.
pub(super) fn key(registry: &str) -> &str {
    match registry {
        "docker.io" | "index.docker.io" => DOCKER_HUB_KEY,
        other => other,
    }
}

/// The host, with its port, of a key, which may be a URL.
pub(super) fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or(rest);
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    }
}

impl ConfigFile {
    /// Parses the file's text; an empty one says nothing. The reason of a failure quotes nothing of the text.
    pub fn parse(text: &[u8]) -> Result<ConfigFile, String> {
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(ConfigFile::default());
        }
        let place = |error: &serde_json::Error| format!("line {} column {}", error.line(), error.column());
        match serde_json::from_slice(text) {
            Ok(Value::Object(fields)) => Ok(ConfigFile { fields }),
            Ok(_) => Err("it is no JSON object".to_owned()),
            Err(error) => Err(format!("it is no JSON ({})", place(&error))),
        }
    }

    /// The file's text, indented as Docker indents it.
    pub fn text(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
        serde::Serialize::serialize(&self.fields, &mut serializer).expect("because it is written to memory");
        bytes
    }

    /// Name of the helper that keeps the account of `key`; `None` where this file does.
    pub fn helper(&self, key: &str) -> Option<&str> {
        let named = self.fields.get("credHelpers").and_then(|helpers| helpers.get(key));
        let named = named.or_else(|| self.fields.get("credsStore"));
        named.and_then(Value::as_str).filter(|name| !name.is_empty())
    }

    /// The account of `registry`. `Err` says what is wrong with its entry.
    pub fn account(&self, registry: &str, names: Names) -> Result<Option<Account>, String> {
        let Some(auths) = self.auths() else { return Ok(None) };
        let exact = auths.get(key(registry)).map(|entry| (key(registry), entry));
        let found = exact.or_else(|| {
            let of_host = |(key, _): &(&String, &Value)| {
                let path = !key.contains("://") && key.contains('/');
                host_of(key) == registry && !(path && names == Names::Containers)
            };
            auths.iter().find(of_host).map(|(key, entry)| (key.as_str(), entry))
        });
        let Some((key, entry)) = found else { return Ok(None) };
        account(entry).map(Some).map_err(|reason| format!("the entry {key:?}: {reason}"))
    }

    /// Puts the account under `key`. Whether the file says anything else now.
    pub fn set(&mut self, key: &str, account: &Account) -> bool {
        let mut entry = Map::new();
        let mut put = |name: &str, text: &str| {
            entry.insert(name.to_owned(), Value::String(text.to_owned()));
        };
        let password = match &account.credential {
            Some(Credential::Password { password, .. }) => password.reveal(),
            _ => "",
        };
        if !account.user.is_empty() || !password.is_empty() {
            put("auth", &BASE64.encode(format!("{}:{password}", account.user)));
        }
        match &account.credential {
            Some(Credential::IdentityToken(token)) => put("identitytoken", token.reveal()),
            Some(Credential::RegistryToken(token)) => put("registrytoken", token.reveal()),
            Some(Credential::Password { .. }) | None => {}
        }
        let entry = Value::Object(entry);
        if !matches!(self.fields.get("auths"), Some(Value::Object(_))) {
            // First, where Docker has it.
            let rest = std::mem::take(&mut self.fields);
            self.fields.insert("auths".to_owned(), Value::Object(Map::new()));
            self.fields.extend(rest.into_iter().filter(|(name, _)| name != "auths"));
        }
        let Some(Value::Object(auths)) = self.fields.get_mut("auths") else { return false };
        if auths.get(key) == Some(&entry) {
            return false;
        }
        auths.insert(key.to_owned(), entry);
        true
    }

    /// Removes the account under `key`. Whether there was one.
    pub fn remove(&mut self, key: &str) -> bool {
        match self.fields.get_mut("auths") {
            Some(Value::Object(auths)) => auths.shift_remove(key).is_some(),
            _ => false,
        }
    }

    fn auths(&self) -> Option<&Map<String, Value>> {
        self.fields.get("auths").and_then(Value::as_object)
    }
}

fn account(entry: &Value) -> Result<Account, String> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    let (mut user, mut password) = (text("username").to_owned(), text("password").to_owned());
    let auth: String = text("auth").split(['\r', '\n']).collect();
    if !auth.is_empty() {
        let decoded = BASE64.decode(auth).map_err(|_| "its auth is no base64".to_owned())?;
        let decoded = String::from_utf8(decoded).map_err(|_| "its auth is no UTF-8".to_owned())?;
        match decoded.split_once(':') {
            Some((name, rest)) if !name.is_empty() => {
                user = name.to_owned();
                password = rest.trim_matches('\0').to_owned();
            }
            _ => return Err("its auth is not of the form user:password".to_owned()),
        }
    }
    let token = |name: &str| Some(text(name)).filter(|token| !token.is_empty()).map(Secret::new);
    let credential = match (token("identitytoken"), token("registrytoken")) {
        (Some(token), _) => Some(Credential::IdentityToken(token)),
        (None, Some(token)) => Some(Credential::RegistryToken(token)),
        (None, None) if user.is_empty() || password.is_empty() => None,
        (None, None) => Some(Credential::Password { user: user.clone(), password: Secret::new(password) }),
    };
    Ok(Account { user, credential })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account_in(text: &str, registry: &str, names: Names) -> String {
        let config = ConfigFile::parse(text.as_bytes()).unwrap();
        match config.account(registry, names) {
            Err(reason) => reason,
            Ok(None) => "none".to_owned(),
            Ok(Some(Account { user, credential: None })) => format!("{user} without credential"),
            Ok(Some(Account { credential: Some(credential), .. })) => match credential {
                Credential::Password { user, password } => format!("{user}:{}", password.reveal()),
                Credential::IdentityToken(token) => format!("identity {}", token.reveal()),
                Credential::RegistryToken(token) => format!("registry {}", token.reveal()),
            },
        }
    }

    #[test]
    fn accounts_as_docker_reads_them() {
        // "ann:pa:ss" and "ann:"
        let (auth, tokens) = ("YW5uOnBhOnNz", "YW5uOg==");
        for (text, registry, expected) in [
            ("", "a.test", "none"),
            ("{}", "a.test", "none"),
            (r#"{"auths":{"a.test":{}}}"#, "a.test", " without credential"),
            (&format!(r#"{{"auths":{{"a.test":{{"auth":"{auth}"}}}}}}"#), "a.test", "ann:pa:ss"),
            (&format!(r#"{{"auths":{{"a.test":{{"auth":"{auth}"}}}}}}"#), "a.test:5000", "none"),
            (
                &format!(r#"{{"auths":{{"https://a.test:1/v1/":{{"auth":"{auth}"}}}}}}"#),
                "a.test:1",
                "ann:pa:ss",
            ),
            (
                &format!(r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{auth}"}}}}}}"#),
                "docker.io",
                "ann:pa:ss",
            ),
            (&format!(r#"{{"auths":{{"docker.io":{{"auth":"{auth}"}}}}}}"#), "docker.io", "ann:pa:ss"),
            (
                &format!(r#"{{"auths":{{"a.test":{{"auth":"{tokens}","identitytoken":"t"}}}}}}"#),
                "a.test",
                "identity t",
            ),
            (r#"{"auths":{"a.test":{"registrytoken":"r"}}}"#, "a.test", "registry r"),
            (r#"{"auths":{"a.test":{"username":"u","password":"p"}}}"#, "a.test", "u:p"),
            // Without padding, and over two lines.
            (r#"{"auths":{"a.test":{"auth":"YW5u\nOmI"}}}"#, "a.test", "ann:b"),
            (
                r#"{"auths":{"a.test":{"auth":"???"}}}"#,
                "a.test",
                "the entry \"a.test\": its auth is no base64",
            ),
            (
                r#"{"auths":{"a.test":{"auth":"YW5u"}}}"#,
                "a.test",
                "the entry \"a.test\": its auth is not of the form user:password",
            ),
        ] {
            assert_eq!(account_in(text, registry, Names::Docker), expected, "{text}");
        }
        let path = format!(r#"{{"auths":{{"a.test/team":{{"auth":"{auth}"}}}}}}"#);
        assert_eq!(account_in(&path, "a.test", Names::Docker), "ann:pa:ss");
        assert_eq!(account_in(&path, "a.test", Names::Containers), "none");
    }

    #[test]
    fn rewriting_keeps_the_rest() {
        let before = "{\n\t\"psFormat\": \"table {{.ID}}\",\n\t\"auths\": {\n\t\t\"b.test\": {}\n\t},\n\t\"zebra\": [1.50, null],\n\t\"detachKeys\": \"ctrl-e,e\"\n}";
        let mut config = ConfigFile::parse(before.as_bytes()).unwrap();
        let password = |text: &str| Account {
            user: "ann".to_owned(),
            credential: Some(Credential::Password { user: "ann".to_owned(), password: Secret::new(text) }),
        };
        assert!(config.set("a.test", &password("pa:ss")));
        assert!(!config.set("a.test", &password("pa:ss")), "it says so already");
        let after = String::from_utf8(config.text()).unwrap();
        assert_eq!(
            after,
            "{\n\t\"psFormat\": \"table {{.ID}}\",\n\t\"auths\": {\n\t\t\"b.test\": {},\n\t\t\"a.test\": {\n\t\t\t\
             \"auth\": \"YW5uOnBhOnNz\"\n\t\t}\n\t},\n\t\"zebra\": [\n\t\t1.5,\n\t\tnull\n\t],\n\t\"detachKeys\": \
             \"ctrl-e,e\"\n}"
        );
        assert!(config.remove("a.test") && !config.remove("a.test"));
        let mut new = ConfigFile::parse(b"{\"credsStore\": \"x\"}").unwrap();
        let token = Credential::IdentityToken(Secret::new("t"));
        assert!(new.set(DOCKER_HUB_KEY, &Account { user: "ann".into(), credential: Some(token) }));
        assert_eq!(
            String::from_utf8(new.text()).unwrap(),
            "{\n\t\"auths\": {\n\t\t\"https://index.docker.io/v1/\": {\n\t\t\t\"auth\": \"YW5uOg==\",\n\t\t\t\
             \"identitytoken\": \"t\"\n\t\t}\n\t},\n\t\"credsStore\": \"x\"\n}"
        );
    }

    #[test]
    fn helpers_by_registry() {
        let text = br#"{"credsStore": "all", "credHelpers": {"a.test": "one", "b.test": ""}}"#;
        let config = ConfigFile::parse(text).unwrap();
        assert_eq!(config.helper("a.test"), Some("one"));
        assert_eq!(config.helper("b.test"), None);
        assert_eq!(config.helper(DOCKER_HUB_KEY), Some("all"));
        assert_eq!(ConfigFile::default().helper("a.test"), None);
    }

    #[test]
    fn broken_files_are_not_quoted() {
        assert_eq!(
            ConfigFile::parse(b"{\"auths\": secret").err().unwrap(),
            "it is no JSON (line 1 column 11)"
        );
        assert_eq!(ConfigFile::parse(b"[]").err().unwrap(), "it is no JSON object");
    }
}
