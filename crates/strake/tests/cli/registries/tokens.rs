//! A registry that wants tokens: which are asked for, with what, and again when they have ended.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::certificates::Authority;
use super::token_server::{Asked, REFRESH_TOKEN, TokenServer};
use super::{Auth, DockerRegistry, PASSWORD, USER, docker_config, log_in, seed, store_with_image};
use crate::harness::{TestStore, ran};

struct Bed {
    store: TestStore,
    tokens: TokenServer,
    registry: DockerRegistry,
}

impl Bed {
    fn new() -> Bed {
        let store = store_with_image();
        let authority = Authority::new(store.dir());
        let signer = authority.issue("signer", "DNS:signer.test");
        let tokens = TokenServer::start(&signer);
        let auth = Auth::Token { realm: &tokens.realm, certificate: &authority.certificate() };
        let registry = DockerRegistry::start(&auth, None);
        Bed { store, tokens, registry }
    }

    fn seed(&self, name: &str) {
        seed(&self.store, &self.registry.name(name), Some(&format!("{USER}:{PASSWORD}")));
        self.tokens.asked();
    }
}

fn asked(by: &'static str, scopes: &[&str]) -> Asked {
    Asked { by, scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect() }
}

#[test]
fn a_login_keeps_the_refresh_token_instead_of_the_password() {
    let bed = Bed::new();
    bed.seed("private/app:1");
    let (store, address) = (&bed.store, &bed.registry.address);
    let wrong = store.run(&["login", "-u", USER, "-p", "wrong", address]);
    assert!(wrong.code == 1 && wrong.stderr.contains("incorrect username or password"), "{wrong:?}");
    assert!(!store.dir().join(".docker").exists());
    let right = log_in(store, address);
    assert_eq!((right.code, right.stdout.as_str()), (0, "Login Succeeded\n"), "{right:?}");
    assert!(!right.stderr.contains("unencrypted"), "a token is no password: {right:?}");
    let kept = docker_config(store)["auths"][address].clone();
    assert_eq!(kept["identitytoken"], REFRESH_TOKEN);
    assert_eq!(kept["auth"], "YW5uOg==", "the user without the password, as Docker has it");
    bed.tokens.asked();

    let name = bed.registry.name("private/app");
    assert_eq!(store.ok(&["tags", &name]), "1\n");
    assert_eq!(bed.tokens.asked(), [asked("refresh_token", &["repository:private/app:pull"])]);
    let other = TestStore::new();
    let mut pull = other.command();
    pull.args(["pull", "-q", &bed.registry.name("private/app:1")]).env("HOME", store.dir());
    assert_eq!(ran(&mut pull).code, 0);
    assert_eq!(
        bed.tokens.asked(),
        [asked("refresh_token", &["repository:private/app:pull"])],
        "one token for all of a pull"
    );
    // A token that is no good any more.
    let config = store.dir().join(".docker/config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("refresh/", "revoked/")).unwrap();
    let refused = store.fails(1, &["tags", &name]);
    assert!(refused.contains("denied") && refused.contains("strake login"), "{refused}");
    assert!(!refused.contains("revoked/"), "{refused}");
}

#[test]
fn without_an_account_what_is_public() {
    let bed = Bed::new();
    bed.seed("public/app:1");
    bed.seed("private/app:1");
    assert_eq!(bed.store.ok(&["tags", &bed.registry.name("public/app")]), "1\n");
    assert_eq!(bed.tokens.asked(), [asked("anonymous", &["repository:public/app:pull"])]);
    let refused = bed.store.fails(1, &["pull", &bed.registry.name("private/app:1")]);
    assert!(refused.contains("private/app") && refused.contains("denied"), "{refused}");
    assert!(refused.contains(&format!("hint: run `strake login {}`", bed.registry.address)), "{refused}");
}

#[test]
fn passwords_for_tokens() {
    let bed = Bed::new();
    bed.seed("private/app:1");
    // An account in a file that docker wrote before the registry gave refresh tokens.
    std::fs::create_dir(bed.store.dir().join(".docker")).unwrap();
    let text = serde_json::json!({ "auths": { &bed.registry.address: { "auth": "YW5uOnBhc3M6d29yZA==" } } });
    std::fs::write(bed.store.dir().join(".docker/config.json"), text.to_string()).unwrap();
    let name = bed.registry.name("private/app");
    assert_eq!(bed.store.ok(&["tags", &name]), "1\n");
    assert_eq!(bed.tokens.asked(), [asked("password", &["repository:private/app:pull"])]);
    bed.store.ok(&["rmi", "--remote", &format!("{name}:1")]);
    let scopes: Vec<Vec<String>> = bed.tokens.asked().into_iter().map(|asked| asked.scopes).collect();
    assert!(scopes.iter().any(|scopes| scopes[0].contains("delete")), "{scopes:?}");
}

/// Forwards connections to `to`, and holds each request for a blob back for so long.
fn slowed(to: &str, wait: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let to = to.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(&to).unwrap();
            let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
            std::thread::spawn(move || {
                let (mut client, mut server) = (client, server);
                let mut buffer = vec![0; 64 << 10];
                while let Ok(read @ 1..) = client.read(&mut buffer) {
                    if String::from_utf8_lossy(&buffer[..read]).contains("/blobs/sha256:") {
                        std::thread::sleep(wait);
                    }
                    if server.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
                let _ = server.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn a_token_that_ends_in_the_middle_of_a_pull() {
    let bed = Bed::new();
    bed.seed("private/app:1");
    let address = slowed(&bed.registry.address, Duration::from_millis(550));
    // A store that has none of the layers.
    let store = TestStore::new();
    assert_eq!(log_in(&store, &address).code, 0);
    bed.tokens.asked();
    // Taken for one to two seconds, while four blobs take more.
    bed.tokens.cut_lifetime(2);
    let pulled = store.run(&["pull", "-q", "--jobs", "1", &format!("{address}/private/app:1")]);
    assert_eq!(pulled.code, 0, "{pulled:?}");
    let tokens = bed.tokens.asked();
    assert!(tokens.len() >= 2, "{tokens:?}");
    assert!(
        tokens.iter().all(|one| *one == asked("refresh_token", &["repository:private/app:pull"])),
        "{tokens:?}"
    );
}
