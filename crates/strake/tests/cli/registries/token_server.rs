//! A token server, as registries send their clients to (distribution documentation, "Token Authentication"): it knows
//! one account, gives tokens that `docker-registry` takes, and remembers what it was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use super::certificates::Certificate;
use super::docker_registry::{PASSWORD, USER};

/// The one refresh token.
pub const REFRESH_TOKEN: &str = "refresh/token+of=ann";
/// docker-registry takes tokens for so many seconds after their end.
const LEEWAY: i64 = 60;

/// A request for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `anonymous`, `password`, `refresh_token`
    pub by: &'static str,
    /// The scopes, sorted.
    pub scopes: Vec<String>,
}

/// A token server.
#[derive(Clone)]
pub struct TokenServer {
    /// URL to ask at.
    pub realm: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// For how many seconds tokens are taken.
    lifetime: Arc<AtomicI64>,
    key: Arc<EcdsaKeyPair>,
    chain: String,
}

impl TokenServer {
    /// A server that signs with the certificate's key.
    pub fn start(certificate: &Certificate) -> TokenServer {
        let der = |path| {
            let pem = std::fs::read_to_string(path).unwrap();
            pem.lines().filter(|line| !line.starts_with("-----")).collect::<String>()
        };
        let key = STANDARD.decode(der(&certificate.key)).unwrap();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key, &SystemRandom::new()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = TokenServer {
            realm: format!("http://{}/token", listener.local_addr().unwrap()),
            asked: Arc::default(),
            lifetime: Arc::new(AtomicI64::new(300)),
            key: Arc::new(key),
            chain: der(&certificate.certificate),
        };
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = serving.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        server
    }

    /// What was asked since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Lets tokens be taken for so many seconds, while it says that they are good for five minutes.
    pub fn cut_lifetime(&self, seconds: i64) {
        self.lifetime.store(seconds, Ordering::SeqCst);
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut first = String::new();
        if reader.read_line(&mut first).is_err() {
            return;
        }
        let mut headers = HashMap::new();
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            if let Some((name, value)) = line.split_once(':') {
                headers.insert(name.to_lowercase(), value.trim().to_owned());
            }
            line.clear();
        }
        let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let mut words = first.split(' ');
        let (method, url) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let query = url.split_once('?').map_or("", |(_, query)| query).to_owned();
        let (status, answer) = match method {
            "GET" => self.get(&fields(&query), headers.get("authorization").map(String::as_str)),
            "POST" => self.post(&fields(&String::from_utf8(body).unwrap())),
            _ => ("405 Method Not Allowed", json!({})),
        };
        let answer = answer.to_string();
        let mut stream = stream;
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
            answer.len()
        );
    }

    fn get(&self, fields: &[(String, String)], authorization: Option<&str>) -> (&'static str, Value) {
        let right = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        match authorization {
            Some(given) if given == right => self.token("password", fields),
            Some(_) => refused("incorrect username or password"),
            None => self.token("anonymous", fields),
        }
    }

    fn post(&self, fields: &[(String, String)]) -> (&'static str, Value) {
        let field = |name: &str| value(fields, name);
        match field("grant_type") {
            "password" if (field("username"), field("password")) == (USER, PASSWORD) => {
                self.token("password", fields)
            }
            "refresh_token" if field("refresh_token") == REFRESH_TOKEN => self.token("refresh_token", fields),
            _ => refused("incorrect username or password"),
        }
    }

    fn token(&self, by: &'static str, fields: &[(String, String)]) -> (&'static str, Value) {
        let scopes = fields.iter().filter(|(name, _)| name == "scope");
        let mut scopes: Vec<String> =
            scopes.flat_map(|(_, text)| text.split(' ').map(str::to_owned)).collect();
        scopes.sort();
        self.asked.lock().unwrap().push(Asked { by, scopes: scopes.clone() });
        let mut access = Vec::new();
        for scope in &scopes {
            let Some((kind, rest)) = scope.split_once(':') else { continue };
            let Some((name, actions)) = rest.rsplit_once(':') else { continue };
            let allowed =
                |action: &&str| by != "anonymous" || name.starts_with("public/") && *action == "pull";
            let actions: Vec<&str> = actions.split(',').filter(allowed).collect();
            access.push(json!({ "type": kind, "name": name, "actions": actions }));
        }
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [self.chain] });
        let claims = json!({
            "iss": "issuer", "sub": USER, "aud": value(fields, "service"), "jti": "1",
            "iat": now - 100, "nbf": now - 100,
            "exp": now - LEEWAY + self.lifetime.load(Ordering::SeqCst), "access": access,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        let mut answer = json!({ "token": token, "access_token": token, "expires_in": 300 });
        let offline = value(fields, "offline_token") == "true" || value(fields, "access_type") == "offline";
        if by != "anonymous" && offline {
            answer["refresh_token"] = json!(REFRESH_TOKEN);
        }
        ("200 OK", answer)
    }
}

fn refused(message: &str) -> (&'static str, Value) {
    ("401 Unauthorized", json!({ "errors": [{ "code": "UNAUTHORIZED", "message": message }] }))
}

fn value<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    fields.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
}

/// The fields of a query or a form.
fn fields(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).unwrap()
}
