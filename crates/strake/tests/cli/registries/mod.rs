//! Accounts, search, and what stays at registries, with Debian's `docker-registry` and a token server of our own.

mod certificates;
mod docker_registry;
mod token_server;

mod helpers;
mod login;
mod remote;
mod search;
mod tls;
mod tokens;

use std::process::Command;

use serde_json::Value;

use crate::harness::{Ran, TestImage, TestStore, ran};
use docker_registry::{Auth, DockerRegistry, PASSWORD, USER};

/// A store with an image `app` of three layers that has never been anywhere.
fn store_with_image() -> TestStore {
    let store = TestStore::new();
    store.put(
        &TestImage::new(&["app:1"])
            .layer("one", 100_000)
            .layer("two", 200_000)
            .layer("three", 300_000)
            .config(serde_json::json!({ "Cmd": ["sh"], "Labels": { "a": "b" } })),
    );
    store
}

/// Copies `app:1` of the store to `name` by skopeo, which knows registries well.
fn seed(store: &TestStore, name: &str, account: Option<&str>) {
    let archive = store.dir().join("app.tar");
    if !archive.exists() {
        store.ok(&["save", "-o", archive.to_str().unwrap(), "app:1"]);
    }
    let mut command = skopeo(store);
    command.args(["copy", "-q", "--dest-tls-verify=false"]);
    if let Some(account) = account {
        command.args(["--dest-creds", account]);
    }
    let copied =
        ran(command.arg(format!("docker-archive:{}", archive.display())).arg(format!("docker://{name}")));
    assert_eq!(copied.code, 0, "{copied:?}");
}

/// skopeo with a home in the test's directory.
fn skopeo(store: &TestStore) -> Command {
    at_home(store, "skopeo")
}

/// A program with a home in the test's directory: the same as strake's there.
fn at_home(store: &TestStore, program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", store.dir())
        // No daemon is to be asked.
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .current_dir(store.dir());
    command
}

/// Docker's config file of the test's home.
fn docker_config(store: &TestStore) -> Value {
    let text = std::fs::read_to_string(store.dir().join(".docker/config.json"));
    text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
}

fn log_in(store: &TestStore, server: &str) -> Ran {
    store.run_with(&["login", "-u", USER, "--password-stdin", server], format!("{PASSWORD}\n").as_bytes())
}
