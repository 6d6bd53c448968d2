//! Credential helpers, as programs in PATH.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::{Auth, DockerRegistry, PASSWORD, USER, docker_config, seed, store_with_image};
use crate::harness::{Ran, TestStore, ran};

/// Keeps one account in a file beside it.
const KEEPS: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
case $1 in
store) cat >kept;;
get) if [ -e kept ]; then cat kept; else echo "credentials not found in native keychain"; exit 1; fi;;
erase) rm -f kept;;
esac
"#;

fn run(store: &TestStore, args: &[&str]) -> Ran {
    let mut path = store.dir().join("bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    ran(store.command().args(args).env("PATH", path))
}

fn configure(store: &TestStore, config: &serde_json::Value) {
    std::fs::create_dir_all(store.dir().join(".docker")).unwrap();
    std::fs::write(store.dir().join(".docker/config.json"), config.to_string()).unwrap();
}

#[test]
fn an_account_that_a_helper_keeps() {
    let (store, registry) = (store_with_image(), DockerRegistry::start(&Auth::Password, None));
    seed(&store, &registry.name("app:1"), Some("ann:pass:word"));
    std::fs::create_dir(store.dir().join("bin")).unwrap();
    let helper = store.dir().join("bin/docker-credential-keeps");
    std::fs::write(&helper, KEEPS).unwrap();
    std::fs::set_permissions(&helper, PermissionsExt::from_mode(0o755)).unwrap();
    configure(&store, &json!({ "credsStore": "keeps", "psFormat": "table {{.ID}}" }));

    let login = run(&store, &["login", "-u", USER, "-p", PASSWORD, &registry.address]);
    assert_eq!((login.code, login.stdout.as_str()), (0, "Login Succeeded\n"), "{login:?}");
    assert!(!login.stderr.contains("unencrypted"), "{login:?}");
    assert_eq!(
        docker_config(&store),
        json!({ "auths": { registry.address.clone(): {} }, "credsStore": "keeps", "psFormat": "table {{.ID}}" })
    );
    assert!(std::fs::read_to_string(store.dir().join("bin/kept")).unwrap().contains(PASSWORD));
    assert_eq!(run(&store, &["tags", &registry.name("app")]).stdout, "1\n");
    assert_eq!(run(&store, &["logout", &registry.address]).code, 0);
    assert!(!store.dir().join("bin/kept").exists());
    assert_eq!(docker_config(&store)["auths"], json!({}));
    let refused = run(&store, &["tags", &registry.name("app")]);
    assert!(refused.code == 1 && refused.stderr.contains("denied"), "{refused:?}");
}

#[test]
fn a_helper_that_is_not_there_is_named() {
    let (store, registry) = (store_with_image(), DockerRegistry::start(&Auth::Password, None));
    seed(&store, &registry.name("app:1"), Some("ann:pass:word"));
    configure(&store, &json!({ "credHelpers": { registry.address.clone(): "nosuch" } }));
    for args in [
        vec!["tags", &registry.name("app")] as Vec<&str>,
        vec!["pull", &registry.name("app:1")],
        vec!["login", "-u", USER, "-p", PASSWORD, &registry.address],
    ] {
        let ran = run(&store, &args);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(
            ran.stderr.contains(
                "the credential helper docker-credential-nosuch is not installed: no program of that name is in PATH"
            ),
            "{ran:?}"
        );
        assert!(!ran.stderr.contains(PASSWORD), "{ran:?}");
    }
    let out = run(&store, &["logout", &registry.address]);
    assert_eq!(out.code, 0, "as Docker: {out:?}");
    assert!(out.stderr.contains("WARNING: could not erase credentials:"), "{out:?}");
    // Where nobody asks who we are no helper is needed.
    let open = DockerRegistry::start(&Auth::Nobody, None);
    seed(&store, &open.name("app:1"), None);
    configure(&store, &json!({ "credsStore": "nosuch" }));
    assert_eq!(run(&store, &["tags", &open.name("app")]).stdout, "1\n");
}

#[test]
fn a_helper_is_run_as_the_user() {
    let Some(store) = TestStore::of_an_ordinary_user() else { return };
    let registry = DockerRegistry::start(&Auth::Password, None);
    let bin = store.dir().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let helper = bin.join("docker-credential-who");
    std::fs::write(&helper, "#!/bin/sh\nid -u >&2; echo '{\"Username\":\"ann\",\"Secret\":\"pass:word\"}'")
        .unwrap();
    std::fs::set_permissions(&helper, PermissionsExt::from_mode(0o755)).unwrap();
    configure(&store, &json!({ "credsStore": "who" }));
    // In the namespace where files are unpacked everybody would be root.
    let ran = run(&store, &["pull", "-q", &registry.name("app:1")]);
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(store.dir()).unwrap());
    assert!(ran.stderr.starts_with(&format!("{owner}\n")), "{ran:?}");
    assert!(ran.stderr.contains("manifest 1 was not found"), "{ran:?}");
}
