//! Who may: accounts from an htpasswd file, TLS, and no serving of strangers by mistake.

mod support;

use std::path::Path;
use std::process::Command;

use server::{Error, Options, Server};
use support::{Client, Registry, serve};

/// `ann:secret`, `ann:wrong`, `bob:secret`.
const ANN: &str = "Basic YW5uOnNlY3JldA==";
const WRONG: &str = "Basic YW5uOndyb25n";
const BOB: &str = "Basic Ym9iOnNlY3JldA==";

fn htpasswd(path: &Path, users: &[&str]) {
    let line = |user: &&str| format!("{user}:{}\n", bcrypt::hash("secret", 4).unwrap());
    std::fs::write(path, users.iter().map(line).collect::<String>()).unwrap();
}

#[test]
fn accounts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("htpasswd");
    htpasswd(&file, &["ann"]);
    let mut registry = Registry::with(Options { htpasswd: Some(file.clone()), ..Options::default() });
    for (authorization, status) in [
        (None, 401),
        (Some(WRONG), 401),
        (Some(BOB), 401),
        (Some("Bearer x"), 401),
        (Some(ANN), 200),
        (Some(ANN), 200),
    ] {
        registry.client.authorization = authorization.map(str::to_owned);
        for path in ["/v2/", "/v2/a/tags/list", "/v2/nothing"] {
            let answer = registry.client.get(path);
            if status == 401 {
                assert_eq!((answer.status, answer.code().as_str()), (401, "UNAUTHORIZED"));
                assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"strake\""));
            } else {
                assert_ne!(answer.status, 401);
            }
        }
    }
    // A changed file counts within seconds, also for who was let in before.
    htpasswd(&file, &["bob"]);
    let changed = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(changed).unwrap();
    registry.client.authorization = Some(BOB.to_owned());
    while registry.client.get("/v2/").status == 401 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    registry.client.authorization = Some(ANN.to_owned());
    assert_eq!(registry.client.get("/v2/").status, 401);
}

#[test]
fn strangers_are_not_served_by_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let start = |options: Options| {
        Server::start(&dir.path().join("store"), Options { addr: "0.0.0.0:0".to_owned(), ..options })
    };
    assert!(matches!(start(Options::default()), Err(Error::Anonymous { .. })));
    assert!(start(Options { allow_anonymous: true, ..Options::default() }).is_ok());
    let file = dir.path().join("htpasswd");
    std::fs::write(&file, "ann:{SHA}abc\n").unwrap();
    let error = start(Options { htpasswd: Some(file.clone()), ..Options::default() }).err().unwrap();
    assert!(error.to_string().contains("line 1"), "{error}");
    htpasswd(&file, &["ann"]);
    assert!(start(Options { htpasswd: Some(file), ..Options::default() }).is_ok());
}

#[test]
fn tls() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "1",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let tls = Some((cert.clone(), key.clone()));
    let server = serve(&dir.path().join("store"), Options { tls, ..Options::default() });
    assert!(server.url().starts_with("https://127.0.0.1:"));
    let pem = std::fs::read(&cert).unwrap();
    let root = ureq::tls::Certificate::from_pem(&pem).unwrap();
    let config = ureq::tls::TlsConfig::builder()
        .root_certs(ureq::tls::RootCerts::Specific(std::sync::Arc::new(vec![root])))
        .build();
    let agent: ureq::Agent = ureq::Agent::config_builder().tls_config(config).build().into();
    assert_eq!(agent.get(format!("{}/v2/", server.url())).call().unwrap().status(), 200);
    let plain = Client::to(&format!("http://{}", server.addr()));
    let plain = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| plain.get("/v2/").status));
    assert!(plain.is_err(), "{plain:?}");

    for (tls, what) in [((key.clone(), key.clone()), "certificate"), ((cert.clone(), cert), "key")] {
        let options = Options { addr: "127.0.0.1:0".to_owned(), tls: Some(tls), ..Options::default() };
        let error = Server::start(&dir.path().join("store"), options).err().unwrap();
        assert!(error.to_string().starts_with(what), "{error}");
    }
}
