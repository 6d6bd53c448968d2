//! Token servers: what they are asked, how often, and what happens when tokens end early.

use std::collections::HashSet;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use oci::{Digest, media_type};
use registry::{Client, Credential, Error, Mount, Options, Repository, Secret};

use crate::support::fault::{Fault, Reply, Seen};
use crate::support::{bytes, layer, manifest, options, password, reference, with_account};

/// A registry and its token server on one port.
#[derive(Default)]
struct Server {
    /// Tokens that are good, with what they allow.
    tokens: Vec<(String, String)>,
    /// Requests that a token is good for.
    uses: Option<usize>,
    used: usize,
    expires_in: Option<u64>,
    /// Queries and forms, as they came.
    asked: Vec<String>,
    basic: Vec<Option<String>>,
}

fn unescape(text: &str) -> String {
    ["%3A:", "%2F/", "%2C,", "%20 "]
        .iter()
        .fold(text.to_owned(), |text, pair| text.replace(&pair[..3], &pair[3..]))
}

fn start(server: &Arc<Mutex<Server>>, blob: Vec<u8>) -> Fault {
    let server = Arc::clone(server);
    Fault::start(move |seen| {
        let mut server = server.lock().unwrap();
        let host = seen.header("host").unwrap().to_owned();
        if seen.path.starts_with("/token") {
            return token(&mut server, seen);
        }
        let need = match (seen.method.as_str(), seen.path.contains("mount=")) {
            _ if seen.path == "/v2/" => "",
            ("GET" | "HEAD", _) => "repository:a/b:pull",
            (_, true) => "repository:a/b:pull,push repository:c/d:pull",
            _ => "repository:a/b:pull,push",
        };
        let token = seen.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let good = token.is_some_and(|token| {
            let allowed = server.tokens.iter().find(|(known, _)| known == token);
            let allowed: HashSet<&str> = allowed.map(|(_, s)| s.split(' ').collect()).unwrap_or_default();
            need.split(' ').all(|need| {
                // Pushing contains pulling.
                need.is_empty()
                    || allowed.contains(need)
                    || allowed.contains(need.replace(":pull", ":pull,push").as_str())
            }) && server.tokens.iter().any(|(known, _)| known == token)
        });
        if good {
            server.used += 1;
            if server.uses.is_some_and(|uses| server.used >= uses) {
                server.tokens.clear();
                server.used = 0;
            }
        }
        match good {
            false => Reply::error(401, "UNAUTHORIZED", "authentication required").header(
                "WWW-Authenticate",
                format!(r#"Bearer realm="http://{host}/token",service="reg",scope="{need}""#),
            ),
            true if seen.path == "/v2/" => Reply::ok("{}"),
            true if seen.method == "POST" => Reply::new(201),
            true if seen.path.contains("/manifests/") => {
                Reply::ok(manifest()).header("Content-Type", media_type::OCI_MANIFEST)
            }
            true => Reply::part(&blob, seen).cut_after(100_000),
        }
    })
}

fn token(server: &mut Server, seen: &Seen) -> Reply {
    let form = String::from_utf8_lossy(&seen.body).into_owned();
    let query = seen.path.split_once('?').map_or(form.clone(), |(_, query)| query.to_owned());
    server.asked.push(unescape(&query));
    let basic = seen.header("authorization").and_then(|value| value.strip_prefix("Basic "));
    let basic = basic.map(|text| {
        String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap()
    });
    server.basic.push(basic.clone());
    let known = basic.as_deref().is_none_or(|b| b == "me:hunter2")
        && (!form.contains("refresh_token=") || form.contains("refresh_token=refresh"));
    if !known {
        return Reply::error(401, "UNAUTHORIZED", "incorrect username or password");
    }
    let scopes: Vec<String> =
        query.split('&').filter_map(|pair| pair.strip_prefix("scope=")).map(unescape).collect();
    let token = format!("token-{}", server.asked.len());
    server.tokens.push((token.clone(), scopes.join(" ")));
    let life = server.expires_in.map_or(String::new(), |seconds| format!(r#","expires_in":{seconds}"#));
    let refresh = match query.contains("offline_token=true") {
        true => r#","refresh_token":"refresh""#,
        false => "",
    };
    Reply::ok(format!(r#"{{"token":"{token}"{life}{refresh}}}"#))
}

fn repository(server: &Fault, options: Options) -> Repository {
    Client::new(options).repository(&reference(&server.host(), "a/b"))
}

fn read(repository: &Repository, blob: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    repository.blob(&layer(blob), 0).unwrap().read_to_end(&mut read).unwrap();
    read
}

#[test]
fn a_token_is_asked_for_once() {
    let (state, blob) = (Arc::default(), bytes(50_000));
    let server = start(&state, blob.clone());
    let repository = repository(&server, options());
    repository.manifest("latest").unwrap();
    assert_eq!(read(&repository, &blob), blob);
    repository.manifest("latest").unwrap();
    let state = state.lock().unwrap();
    assert_eq!(state.asked, ["scope=repository:a/b:pull&service=reg"]);
    assert_eq!(state.basic, [None]);
    // One refusal, the token, three answers.
    assert_eq!(server.seen().len(), 5);
}

#[test]
fn tokens_that_end_within_a_transfer() {
    // Good for twelve requests each; the blobs come in parts of 100,000 bytes, side by side. Not for fewer: a thread
    // that is held up must not find its new token used up by the others.
    let (state, blob) =
        (Arc::new(Mutex::new(Server { uses: Some(12), ..Server::default() })), bytes(800_000));
    let server = start(&state, blob.clone());
    let repository = repository(&server, with_account(password("me", "hunter2")));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert!(read(&repository, &blob) == blob));
        }
    });
    let state = state.lock().unwrap();
    assert!(state.asked.len() >= 2, "{:?}", state.asked);
    assert!(
        state.asked.iter().all(|q| q == "account=me&scope=repository:a/b:pull&service=reg"),
        "{:?}",
        state.asked
    );
    assert!(state.basic.iter().all(|basic| basic.as_deref() == Some("me:hunter2")));
}

#[test]
fn tokens_are_renewed_before_they_end() {
    let (state, blob) =
        (Arc::new(Mutex::new(Server { expires_in: Some(1), ..Server::default() })), bytes(10));
    let server = start(&state, blob);
    let repository = repository(&server, options());
    repository.manifest("latest").unwrap();
    thread::sleep(Duration::from_millis(1000));
    repository.manifest("latest").unwrap();
    // No second refusal.
    let refused = server.seen().iter().filter(|seen| seen.path.starts_with("/v2/")).count() - 2;
    assert_eq!((refused, state.lock().unwrap().asked.len()), (1, 2));
}

#[test]
fn a_mount_asks_for_both_repositories() {
    let state = Arc::default();
    let server = start(&state, Vec::new());
    let repository = repository(&server, options());
    repository.manifest("latest").unwrap();
    assert!(matches!(repository.mount(&Digest::sha256(b"x"), "c/d").unwrap(), Mount::Mounted));
    let asked = state.lock().unwrap().asked.clone();
    assert_eq!(asked.last().unwrap(), "scope=repository:a/b:pull,push&scope=repository:c/d:pull&service=reg");
    // The wider token does for reading too.
    repository.manifest("latest").unwrap();
    assert_eq!(state.lock().unwrap().asked.len(), asked.len());
}

#[test]
fn identity_and_registry_tokens() {
    let state = Arc::default();
    let server = start(&state, Vec::new());
    let identity = Credential::IdentityToken(Secret::new("refresh"));
    repository(&server, with_account(identity)).manifest("latest").unwrap();
    assert_eq!(
        state.lock().unwrap().asked,
        [
            "grant_type=refresh_token&refresh_token=refresh&service=reg&client_id=strake&scope=repository:a/b:pull"
        ]
    );
    let old = Credential::IdentityToken(Secret::new("old"));
    let error = repository(&server, with_account(old)).manifest("latest").unwrap_err();
    assert!(matches!(error, Error::Denied { logged_in: true, .. }), "{error}");

    let asked = state.lock().unwrap().asked.len();
    let mut granted = state.lock().unwrap().tokens.clone();
    granted.push(("given".to_owned(), "repository:a/b:pull".to_owned()));
    state.lock().unwrap().tokens = granted;
    let given = Credential::RegistryToken(Secret::new("given"));
    repository(&server, with_account(given)).manifest("latest").unwrap();
    assert_eq!(state.lock().unwrap().asked.len(), asked);
}

#[test]
fn wrong_passwords() {
    let state = Arc::default();
    let server = start(&state, Vec::new());
    let error = repository(&server, with_account(password("me", "guess"))).manifest("latest").unwrap_err();
    match &error {
        Error::Denied { registry, message, logged_in: true, .. } => {
            assert_eq!((registry, message.as_str()), (&server.host(), "incorrect username or password"));
        }
        other => panic!("{other:?}"),
    }
    assert!(!format!("{error} {error:?}").contains("guess"));
    assert_eq!(state.lock().unwrap().asked.len(), 1);
}

#[test]
fn logins() {
    let state = Arc::default();
    let server = start(&state, Vec::new());
    let registry = Client::new(options()).registry(&server.host());
    let login = registry.login(&password("me", "hunter2")).unwrap();
    assert_eq!(login.status, "Login Succeeded");
    assert_eq!(login.identity_token, Some(Secret::new("refresh")));
    assert!(!format!("{login:?}").contains("refresh"));
    assert!(matches!(registry.login(&password("me", "guess")), Err(Error::Denied { .. })));
    let open = Fault::start(|_| Reply::ok("{}"));
    Client::new(options()).registry(&open.host()).login(&password("me", "any")).unwrap();
    let no_registry = Fault::start(|_| Reply::new(404));
    let error =
        Client::new(options()).registry(&no_registry.host()).login(&password("me", "any")).unwrap_err();
    assert!(matches!(error, Error::Status { status: 404, .. }), "{error}");
}

/// The error of a manifest where token servers answer so.
fn refused(most: usize, token: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Error {
    let server = Fault::start(move |seen| match seen.path.starts_with("/token") {
        true => token(seen),
        false => {
            let realm = format!("http://{}/token", seen.header("host").unwrap());
            Reply::new(401).header("WWW-Authenticate", format!(r#"Bearer realm="{realm}",service="s3""#))
        }
    });
    let error = repository(&server, with_account(password("me", "hunter2"))).manifest("latest").unwrap_err();
    assert!(server.seen().len() <= most, "{:?}", server.lines());
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("token-"), "{shown}");
    error
}

#[test]
fn token_servers_that_mean_ill() {
    // A token that is never good enough.
    let error = refused(3, |_| Reply::ok(r#"{"token":"token-x"}"#));
    assert!(matches!(error, Error::Denied { logged_in: true, .. }), "{error}");
    for body in ["", "[]", r#"{"token":""}"#, r#"{"token":"token-\r\nX: y"}"#, "<html>token-</html>"] {
        let error = refused(2, move |_| Reply::ok(body));
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
    }
    let error = refused(2, |_| Reply::ok(vec![b' '; 1 << 16]).endless());
    assert!(matches!(&error, Error::Malformed { reason, .. } if reason.contains("1048576")), "{error}");
    let error = refused(20, |seen| Reply::redirect(307, format!("/token/{}", seen.number)));
    assert!(matches!(error, Error::Redirects { .. }), "{error}");
    let error = refused(8, |_| Reply::new(500));
    assert!(matches!(error, Error::Status { status: 500, .. }), "{error}");

    // A redirect to another host goes without the password.
    let thief = Fault::start(|_| Reply::ok(r#"{"token":"token-x"}"#));
    let elsewhere = format!("http://{}/", thief.host());
    refused(4, move |_| Reply::redirect(307, elsewhere.clone()));
    assert!(thief.seen().iter().all(|seen| seen.header("authorization").is_none()));
    assert!(!thief.seen().is_empty());
}

#[test]
fn challenges_that_mean_ill() {
    let check = |challenge: &'static str| {
        let server = Fault::start(move |_| Reply::new(401).header("WWW-Authenticate", challenge));
        let error =
            repository(&server, with_account(password("me", "hunter2"))).manifest("latest").unwrap_err();
        assert!(server.seen().len() <= 3, "{challenge}: {:?}", server.lines());
        error
    };
    for challenge in ["", "Digest realm=x", "Bearer", "Basic realm=x"] {
        assert!(matches!(check(challenge), Error::Denied { .. }), "{challenge}");
    }
    for challenge in [
        r#"Bearer realm="file:///etc/passwd""#,
        r#"Bearer realm="http://user:pw@127.0.0.1/""#,
        r#"Bearer realm="/token""#,
    ] {
        assert!(matches!(check(challenge), Error::Malformed { .. }), "{challenge}");
    }
}
