//! Certificates of authorities that nobody else trusts, client certificates, and proxies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::certificates::Authority;
use super::docker_registry::Tls;
use super::{Auth, DockerRegistry, log_in, seed, store_with_image};
use crate::harness::{Ran, TestStore, ran};

/// A proxy that leads everywhere to one place, and remembers where it was to lead.
struct Proxy {
    address: String,
    led: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(to: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy { address: listener.local_addr().unwrap().to_string(), led: Arc::default() };
        let (led, to) = (proxy.led.clone(), to.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (led, to) = (led.clone(), to.clone());
                std::thread::spawn(move || tunnel(client, &to, &led));
            }
        });
        proxy
    }

    fn led(&self) -> Vec<String> {
        std::mem::take(&mut self.led.lock().unwrap())
    }
}

fn tunnel(mut client: TcpStream, to: &str, led: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(3..) => head.push(line.trim().to_owned()),
            _ => break,
        }
    }
    let credential = head.iter().find(|line| line.to_lowercase().starts_with("proxy-authorization:"));
    let mut words = head.first().map(String::as_str).unwrap_or_default().split(' ');
    let (Some("CONNECT"), Some(host)) = (words.next(), words.next()) else { return };
    led.lock().unwrap().push(match credential {
        Some(line) => format!("{host} {}", line.split(": ").nth(1).unwrap()),
        None => host.to_owned(),
    });
    let server = TcpStream::connect(to).unwrap();
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
    let (mut upwards, mut onto) = (reader, server.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut upwards, &mut onto);
        let _ = onto.shutdown(std::net::Shutdown::Write);
    });
    let mut server = server;
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = server.read(&mut buffer) {
        if client.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
}

/// A registry with TLS, called `registry.test:PORT`, which only the proxy leads to.
struct Bed {
    store: TestStore,
    authority: Authority,
    registry: DockerRegistry,
    proxy: Proxy,
    name: String,
}

impl Bed {
    fn new() -> Bed {
        let store = store_with_image();
        let authority = Authority::new(store.dir());
        let own = authority.issue("registry", "DNS:registry.test,IP:127.0.0.1");
        let tls = Tls { certificate: &own.certificate, key: &own.key, clients: None };
        let registry = DockerRegistry::start(&Auth::Password, Some(tls));
        let proxy = Proxy::start(&registry.address);
        let name = format!("registry.test:{}", registry.port());
        seed(&store, &registry.name("app:1"), Some("ann:pass:word"));
        Bed { store, authority, registry, proxy, name }
    }

    fn run(&self, args: &[&str], environment: &[(&str, &str)]) -> Ran {
        let proxy = format!("http://{}", self.proxy.address);
        let mut command = self.store.command();
        ran(command.args(args).env("HTTPS_PROXY", proxy).envs(environment.iter().copied()))
    }

    fn trust(&self, dir: &str) {
        let dir = self.store.dir().join(dir).join(&self.name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::copy(self.authority.certificate(), dir.join("ca.crt")).unwrap();
    }

    fn forget(&self, dir: &str) {
        std::fs::remove_dir_all(self.store.dir().join(dir)).unwrap();
    }
}

#[test]
fn authorities_of_certs_d_and_of_the_environment() {
    let bed = Bed::new();
    let login = |environment: &[(&str, &str)]| {
        bed.run(&["login", "-u", "ann", "-p", "pass:word", &bed.name], environment)
    };
    let unknown = login(&[]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    assert!(unknown.stderr.contains("cannot be spoken to by TLS"), "{unknown:?}");
    assert!(!bed.store.dir().join(".docker").exists(), "no password goes to whom we do not trust");
    for dir in [".config/docker/certs.d", ".config/containers/certs.d"] {
        bed.trust(dir);
        let known = login(&[]);
        assert_eq!(known.code, 0, "{dir}: {known:?}");
        assert_eq!(bed.run(&["tags", &format!("{}/app", bed.name)], &[]).stdout, "1\n");
        bed.forget(dir);
        assert_eq!(login(&[]).code, 1);
    }
    let ca = bed.authority.certificate();
    assert_eq!(login(&[("SSL_CERT_FILE", ca.to_str().unwrap())]).code, 0);
    // An authority that signed something else.
    let other = bed.store.dir().join("other");
    std::fs::create_dir(&other).unwrap();
    let other = Authority::new(&other).certificate();
    assert_eq!(login(&[("SSL_CERT_FILE", other.to_str().unwrap())]).code, 1);
    // A loopback address need not be trusted, as with Docker.
    let loopback = log_in(&bed.store, &bed.registry.address);
    assert_eq!(loopback.code, 0, "{loopback:?}");
}

#[test]
fn proxies_and_whom_they_do_not_lead_to() {
    let bed = Bed::new();
    bed.trust(".config/docker/certs.d");
    let name = format!("{}/app", bed.name);
    let login = |environment: &[(&str, &str)]| {
        bed.run(&["login", "-u", "ann", "-p", "pass:word", &bed.name], environment)
    };
    assert_eq!(login(&[]).code, 0);
    assert!(bed.proxy.led().iter().all(|host| *host == bed.name));
    let with_account = format!("http://me:hunter2@{}", bed.proxy.address);
    let through = bed.run(&["tags", &name], &[("HTTPS_PROXY", &with_account)]);
    assert_eq!(through.stdout, "1\n", "{through:?}");
    assert!(bed.proxy.led()[0].ends_with(" Basic bWU6aHVudGVyMg=="));
    let lower = ran(bed.store.command().args(["tags", &name]).env("https_proxy", &with_account));
    assert_eq!(lower.stdout, "1\n", "{lower:?}");
    bed.proxy.led();
    for no_proxy in ["registry.test", ".test", "*.test", "*", "other, registry.test"] {
        let past = bed.run(&["tags", &name], &[("NO_PROXY", no_proxy)]);
        assert!(past.code == 1 && past.stderr.contains("cannot be reached"), "{no_proxy}: {past:?}");
    }
    bed.run(&["tags", &bed.registry.name("app")], &[]);
    assert!(bed.proxy.led().is_empty(), "loopback addresses have no proxy");
    let dead = bed
        .run(&["--log-level", "debug", "tags", &name], &[("HTTPS_PROXY", "http://me:hunter2@127.0.0.1:1")]);
    assert!(dead.code == 1 && !dead.stderr.contains("hunter2"), "{dead:?}");
}

#[test]
fn mirrors_insecure_and_blocked_registries() {
    let bed = Bed::new();
    let conf = |text: &str| {
        std::fs::create_dir_all(bed.store.dir().join(".config/strake")).unwrap();
        std::fs::write(bed.store.dir().join(".config/strake/registries.conf"), text).unwrap();
    };
    let mirror = DockerRegistry::start(&Auth::Nobody, None);
    seed(&bed.store, &mirror.name("cache/library/alpine:1"), None);
    conf(&format!(
        "[[registry]]\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = \"{}\"\n\
         [[registry]]\nlocation = \"{}\"\ninsecure = true\n\
         [[registry]]\nlocation = \"blocked.test\"\nblocked = true\n",
        mirror.name("cache"),
        bed.name
    ));
    let pulled = bed.store.run(&["pull", "-q", "alpine:1"]);
    assert_eq!(pulled.code, 0, "{pulled:?}");
    assert_eq!(bed.store.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}", "alpine"]), "alpine:1\n");
    let insecure = bed.run(&["login", "-u", "ann", "-p", "pass:word", &bed.name], &[]);
    assert_eq!(insecure.code, 0, "{insecure:?}");
    let blocked = bed.store.fails(1, &["pull", "blocked.test/app"]);
    assert!(blocked.contains("blocked.test/app is blocked by registries.conf"), "{blocked}");
    conf("[[registry]");
    let broken = bed.store.fails(1, &["pull", "alpine:1"]);
    assert!(broken.contains(".config/strake/registries.conf"), "{broken}");
}

#[test]
fn a_registry_that_wants_to_see_certificates() {
    let bed = Bed::new();
    let own = bed.authority.issue("mutual", "DNS:registry.test,IP:127.0.0.1");
    let ca = bed.authority.certificate();
    let tls = Tls { certificate: &own.certificate, key: &own.key, clients: Some(&ca) };
    let registry = DockerRegistry::start(&Auth::Nobody, Some(tls));
    // By its address, which need not be trusted, but wants to trust us.
    let dir = bed.store.dir().join(".config/docker/certs.d").join(&registry.address);
    let search = |expected: i32| {
        let ran = bed.store.run(&["search", &registry.name("app")]);
        assert_eq!(ran.code, expected, "{ran:?}");
        ran.stderr
    };
    search(1);
    std::fs::create_dir_all(&dir).unwrap();
    let client = bed.authority.issue("client", "DNS:client.test");
    std::fs::copy(&client.certificate, dir.join("client.cert")).unwrap();
    let missing = search(1);
    assert!(missing.contains("client.cert is there without its key client.key"), "{missing}");
    std::fs::copy(&client.key, dir.join("client.key")).unwrap();
    search(0);
}

#[test]
fn an_account_is_of_the_place_that_is_asked() {
    let store = store_with_image();
    let registry = DockerRegistry::start(&Auth::Password, None);
    seed(&store, &registry.name("there/app:1"), Some("ann:pass:word"));
    std::fs::create_dir_all(store.dir().join(".config/strake")).unwrap();
    let conf =
        format!("[[registry]]\nprefix = \"named.test/here\"\nlocation = \"{}\"\n", registry.name("there"));
    std::fs::write(store.dir().join(".config/strake/registries.conf"), conf).unwrap();
    std::fs::create_dir(store.dir().join(".docker")).unwrap();
    let keep = |name: &str| {
        let text = serde_json::json!({ "auths": { name: { "auth": "YW5uOnBhc3M6d29yZA==" } } });
        std::fs::write(store.dir().join(".docker/config.json"), text.to_string()).unwrap();
    };
    keep("named.test");
    let refused = store.fails(1, &["pull", "named.test/here/app:1"]);
    assert!(refused.contains("denied"), "{refused}");
    keep(&registry.address);
    store.ok(&["pull", "-q", "named.test/here/app:1"]);
    assert_eq!(
        store.ok(&["images", "--format", "{{.Repository}}", "named.test/here/app"]),
        "named.test/here/app\n"
    );
}
