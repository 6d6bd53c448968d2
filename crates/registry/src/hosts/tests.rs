//! What is asked where, by configurations and references.

use std::fmt::Write as _;
use std::path::Path;

use super::{Files, Hosts, Mirror, Registries, Scheme, is_loopback};

fn registries(text: &str) -> Registries {
    Registries::parse(text, Path::new("registries.conf")).unwrap()
}

fn hosts(text: &str) -> Hosts {
    Hosts { registries: registries(text), ..Hosts::default() }
}

/// Where a repository is looked for, a line each.
fn places(hosts: &Hosts, registry: &str, repository: &str) -> String {
    let mut text = String::new();
    match hosts.endpoints(registry, repository) {
        Ok(endpoints) => {
            for endpoint in endpoints {
                write!(text, "{}/{}", endpoint.host, endpoint.repository).unwrap();
                match (endpoint.scheme, endpoint.tls.unverified) {
                    (Scheme::Https, false) => {}
                    (Scheme::HttpsOrHttp, true) => text.push_str(" insecure"),
                    other => write!(text, " {other:?}").unwrap(),
                }
                text.push_str(match endpoint.mirror {
                    Some(Mirror::All) => " mirror",
                    Some(Mirror::DigestOnly) => " mirror for digests",
                    Some(Mirror::TagOnly) => " mirror for tags",
                    None => "",
                });
                text.push('\n');
            }
        }
        Err(error) => writeln!(text, "{error}").unwrap(),
    }
    text
}

fn insecure(hosts: &Hosts, registry: &str) -> bool {
    hosts.origin(registry).unwrap().tls.unverified
}

#[test]
fn loopback() {
    for host in ["localhost", "localhost:5000", "127.0.0.1", "127.8.8.8:80", "[::1]:5000", "[::1]"] {
        assert!(is_loopback(host), "{host}");
    }
    for host in ["localhost.example.com", "10.0.0.1:5000", "[::2]", "example.com", "1270.0.0.1"] {
        assert!(!is_loopback(host), "{host}");
    }
}

#[test]
fn origin_follows_docker() {
    let hosts = Hosts { insecure: vec!["lab:5000".into()], ..Hosts::default() };
    let shown = |registry| {
        let endpoint = hosts.origin(registry).unwrap();
        format!("{} {:?} {}", endpoint.host, endpoint.scheme, endpoint.tls.unverified)
    };
    assert_eq!(shown("docker.io"), "registry-1.docker.io Https false");
    assert_eq!(shown("ghcr.io"), "ghcr.io Https false");
    assert_eq!(shown("127.0.0.1:5000"), "127.0.0.1:5000 HttpsOrHttp true");
    assert_eq!(shown("lab:5000"), "lab:5000 HttpsOrHttp true");
    assert_eq!(shown("lab:5001"), "lab:5001 Https false");
}

#[test]
fn without_any_configuration() {
    let hosts = Hosts::default();
    for (registry, repository, expected) in [
        ("docker.io", "library/alpine", "registry-1.docker.io/library/alpine\n"),
        ("example.com", "a", "example.com/a\n"),
        ("localhost:5000", "a/b", "localhost:5000/a/b insecure\n"),
    ] {
        assert_eq!(places(&hosts, registry, repository), expected);
    }
}

#[test]
fn prefixes_locations_and_mirrors() {
    let hosts = hosts(
        r#"
            unqualified-search-registries = ["elsewhere.test"]
            short-name-mode = "enforcing"
            [aliases]
            "alpine" = "elsewhere.test/alpine"

            [[registry]]
            prefix = "example.com/foo"
            location = "internal.test/bar/"
            [[registry.mirror]]
            location = "mirror-0.test/for-foo"
            [[registry.mirror]]
            location = "mirror-1.test:5000/for/foo"
            insecure = true

            [[registry]]
            location = "example.com/foo/blocked"
            blocked = true

            [[registry]]
            location = "docker.io"
            [[registry.mirror]]
            location = "hub.test"
            pull-from-mirror = "digest-only"
            [[registry.mirror]]
            location = "tags.test"
            pull-from-mirror = "tag-only"

            [[registry]]
            prefix = "*.wild.test"
            insecure = true

            [[registry]]
            location = "pinned.test"
            insecure = true
            mirror-by-digest-only = true
            [[registry.mirror]]
            location = "digests.test"

            [[registry]]
            location = "tagged.test/app:v1"
            insecure = true
            "#,
    );
    for (registry, repository, expected) in [
        (
            "example.com",
            "foo/image",
            "mirror-0.test/for-foo/image mirror\nmirror-1.test:5000/for/foo/image insecure mirror\n\
             internal.test/bar/image\n",
        ),
        (
            "example.com",
            "foo",
            "mirror-0.test/for-foo mirror\nmirror-1.test:5000/for/foo insecure mirror\ninternal.test/bar\n",
        ),
        ("example.com", "foobar", "example.com/foobar\n"),
        (
            "example.com",
            "foo/blocked/x",
            "registry example.com/foo/blocked/x is blocked by registries.conf\n",
        ),
        (
            "docker.io",
            "library/alpine",
            "hub.test/library/alpine mirror for digests\ntags.test/library/alpine mirror for tags\n\
             registry-1.docker.io/library/alpine\n",
        ),
        ("a.b.wild.test:5000", "x", "a.b.wild.test:5000/x insecure\n"),
        ("wild.test", "x", "wild.test/x\n"),
        ("pinned.test", "app", "digests.test/app mirror for digests\npinned.test/app insecure\n"),
        ("tagged.test", "app", "tagged.test/app\n"),
    ] {
        assert_eq!(places(&hosts, registry, repository), expected);
    }
    // What is written goes where its name says.
    let to = hosts.destination("example.com", "foo/image").unwrap();
    assert_eq!((to.host.as_str(), to.repository.as_str()), ("example.com", "foo/image"));
    assert!(hosts.destination("example.com", "foo/blocked/x").is_err());
    assert!(hosts.destination("a.wild.test", "x").unwrap().tls.unverified);
    let read = hosts.endpoints("example.com", "foo/image").unwrap();
    assert_eq!(read.last().unwrap().registry, "internal.test", "where accounts are looked up by");
    assert!(insecure(&hosts, "a.wild.test"));
    assert!(!insecure(&hosts, "example.com"));
}

#[test]
fn version_1() {
    let hosts = hosts(
        "[registries.search]\nregistries = ['a.test']\n[registries.insecure]\nregistries = ['b.test:80']\n\
             [registries.block]\nregistries = ['c.test']\n",
    );
    assert!(insecure(&hosts, "b.test:80"));
    assert_eq!(
        hosts.origin("c.test").unwrap_err().to_string(),
        "registry c.test is blocked by registries.conf"
    );
}

#[test]
fn refused_files() {
    for (text, reason) in [
        ("[[registry]]", "neither a prefix nor a location"),
        ("[[registry]]\nprefix = 'a.test'", "no location"),
        ("[[registry]]\nlocation = 'https://a.test'", "URL's scheme"),
        ("[[registry]]\nprefix = 'a.*.test'\nlocation = 'b.test'", "wildcard"),
        ("[[registry]]\nprefix = '*.a.test/x'\nlocation = 'b.test'", "wildcard"),
        ("[[registry]]\nlocation = 'a.test'\n[[registry.mirror]]\ninsecure = true", "no location"),
        (
            "[[registry]]\nlocation = 'a.test'\n[[registry.mirror]]\nlocation = 'b.test'\npull-from-mirror = 'x'",
            "digest-only or tag-only",
        ),
        ("[[registry", "TOML"),
        ("[[registry]]\nlocation = 1", "string"),
    ] {
        let error = Registries::parse(text, Path::new("/etc/r.conf")).unwrap_err().to_string();
        assert!(error.starts_with("/etc/r.conf: ") && error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn our_own_file_comes_first_and_others_are_put_together() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    };
    let main = put("containers.conf", "[[registry]]\nlocation = 'a.test'\ninsecure = true\n");
    put("d/2.conf", "[[registry]]\nlocation = 'a.test'\nblocked = true\n");
    put("d/1.conf", "[[registry]]\nlocation = 'b.test'\ninsecure = true\n");
    put("d/not", "[[");
    let own = dir.path().join("own.conf");
    let files = Files {
        own: vec![own.clone()],
        containers: vec![dir.path().join("none"), main],
        containers_dirs: vec![dir.path().join("none"), dir.path().join("d")],
    };
    let read = || Hosts { registries: files.read().unwrap(), ..Hosts::default() };
    assert!(insecure(&read(), "b.test"));
    assert!(read().origin("a.test").is_err(), "the later file counts");
    std::fs::write(&own, "").unwrap();
    assert!(read().origin("a.test").is_ok());
    std::fs::write(&own, "[[").unwrap();
    assert!(files.read().unwrap_err().to_string().contains("own.conf"));
}

#[test]
fn certificates_of_a_host() {
    let dir = tempfile::tempdir().unwrap();
    let host = dir.path().join("r.test:5000");
    std::fs::create_dir(&host).unwrap();
    let hosts =
        Hosts { certificates: vec![dir.path().join("none"), dir.path().to_owned()], ..Hosts::default() };
    let tls = |registry: &str| hosts.origin(registry).map(|endpoint| endpoint.tls);
    assert!(tls("r.test:5000").unwrap().authorities.is_empty());
    for name in ["b.crt", "a.crt", "client.cert", "client.key"] {
        std::fs::write(host.join(name), "").unwrap();
    }
    let found = tls("r.test:5000").unwrap();
    assert_eq!(found.authorities, [host.join("a.crt"), host.join("b.crt")]);
    assert_eq!(found.client.unwrap().key, host.join("client.key"));
    assert!(!found.unverified);
    assert!(tls("r.test").unwrap().client.is_none(), "the port is part of the name");
    std::fs::remove_file(host.join("client.key")).unwrap();
    let error = tls("r.test:5000").unwrap_err().to_string();
    assert!(error.contains("client.cert is there without its key client.key"), "{error}");
    std::fs::rename(host.join("client.cert"), host.join("client.key")).unwrap();
    let error = tls("r.test:5000").unwrap_err().to_string();
    assert!(error.contains("client.key is there without its certificate client.cert"), "{error}");
}
