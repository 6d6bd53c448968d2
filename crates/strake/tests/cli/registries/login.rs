//! `login` and `logout` at a registry with passwords, side by side with docker, podman and skopeo.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use rustix::termios::{LocalModes, tcgetattr};
use serde_json::json;

use super::{
    Auth, DockerRegistry, PASSWORD, USER, at_home, docker_config, log_in, seed, skopeo, store_with_image,
};
use crate::harness::{Ran, TestStore, ran};
use crate::session::Session;

/// base64 of `ann:pass:word`
const AUTH: &str = "YW5uOnBhc3M6d29yZA==";

fn registry() -> DockerRegistry {
    DockerRegistry::start(&Auth::Password, None)
}

/// Runs another program's login.
fn others_login(store: &TestStore, program: &str, args: &[&str]) -> Ran {
    let mut child = at_home(store, program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Ran {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code().unwrap_or(-1),
    }
}

#[test]
fn right_and_wrong_passwords() {
    let (store, registry) = (store_with_image(), registry());
    seed(&store, &registry.name("app:1"), Some("ann:pass:word"));
    let refused = store.fails(1, &["tags", &registry.name("app")]);
    assert!(refused.contains(&format!("hint: run `strake login {}`", registry.address)), "{refused}");
    let wrong = store.run(&["login", "-u", USER, "-p", "wrong", &registry.address]);
    assert_eq!((wrong.code, wrong.stdout.as_str()), (1, ""), "{wrong:?}");
    let lines: Vec<&str> = wrong.stderr.lines().collect();
    assert_eq!(lines[0], "WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    assert!(lines[1].starts_with(&format!("Error: login to {} was denied", registry.address)), "{wrong:?}");
    assert!(!store.dir().join(".docker").exists(), "nothing is kept");

    let right = log_in(&store, &registry.address);
    assert_eq!((right.code, right.stdout.as_str()), (0, "Login Succeeded\n"), "{right:?}");
    let config = store.dir().join(".docker/config.json");
    assert_eq!(
        right.stderr,
        format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this \
             warning. See\nhttps://docs.docker.com/go/credential-store/\n\n",
            config.display()
        )
    );
    assert_eq!(docker_config(&store), json!({ "auths": { registry.address.clone(): { "auth": AUTH } } }));
    assert_eq!(store.ok(&["tags", &registry.name("app")]), "1\n");
    // What is there already is not told again, and a wrong password leaves it.
    assert_eq!(log_in(&store, &format!("http://{}/v2/", registry.address)).stderr, "");
    store.fails(1, &["login", "-u", USER, "-p", "wrong", &registry.address]);
    assert_eq!(docker_config(&store)["auths"][&registry.address]["auth"], AUTH);
    let again = store.run(&["login", &registry.address]);
    assert_eq!((again.code, again.stdout.as_str()), (0, "Login Succeeded\n"), "{again:?}");
    assert!(
        again.stderr.starts_with("Authenticating with existing credentials... [Username: ann]\n"),
        "{again:?}"
    );

    let out = store.run(&["logout", &registry.address]);
    assert_eq!(out.stdout, format!("Removing login credentials for {}\n", registry.address));
    assert_eq!(docker_config(&store), json!({ "auths": {} }));
    assert_eq!(store.ok(&["logout"]), "Removing login credentials for https://index.docker.io/v1/\n");
    store.fails(1, &["tags", &registry.name("app")]);
}

#[test]
fn what_is_missing_or_too_much() {
    let store = TestStore::new();
    for (args, expected) in [
        (
            vec!["login", "-u", "ann", "-p", "x", "--password-stdin", "localhost:1"],
            "conflicting options: cannot specify both --password and --password-stdin",
        ),
        (
            vec!["login", "--password-stdin", "localhost:1"],
            "the --password-stdin option requires --username to be set",
        ),
        (vec!["login", "localhost:1"], "Cannot perform an interactive login from a non TTY device"),
        (
            vec!["login", "-u", "ann", "localhost:1"],
            "Cannot perform an interactive login from a non TTY device",
        ),
        (vec!["login", "-u", "ann", "--password-stdin", "localhost:1"], "non TTY device"),
        (vec!["login", "-u", "ann", "-p", "x", "localhost:1"], "registry localhost:1 cannot be reached"),
        (vec!["login", "-u", "ann", "-p", "x", "a b"], "\"a b\" is not the name of a registry alone"),
    ] {
        let stderr = store.fails(1, &args);
        assert!(stderr.contains(expected), "{args:?}: {stderr}");
    }
    assert!(!store.dir().join(".docker").exists());
}

#[test]
fn logins_of_docker_podman_and_skopeo_are_ours_and_ours_theirs() {
    let (store, registry) = (store_with_image(), registry());
    let name = registry.name("app");
    seed(&store, &registry.name("app:1"), Some("ann:pass:word"));
    let ours_works = |how: &str| assert_eq!(store.ok(&["tags", &name]), "1\n", "{how}");

    let docker =
        others_login(&store, "docker", &["login", "-u", USER, "--password-stdin", &registry.address]);
    assert_eq!(docker.code, 0, "{docker:?}");
    let theirs = docker_config(&store);
    ours_works("docker's");
    store.ok(&["logout", &registry.address]);
    log_in(&store, &registry.address);
    assert_eq!(docker_config(&store), theirs, "the same file");
    let config = |text: &[u8]| std::fs::write(store.dir().join(".docker/config.json"), text).unwrap();
    // Docker takes ours for its own, and logs out of it.
    let docker = ran(at_home(&store, "docker").args(["logout", &registry.address]));
    assert_eq!(docker.code, 0, "{docker:?}");
    assert_eq!(docker_config(&store), json!({ "auths": {} }));

    log_in(&store, &registry.address);
    let listed = ran(skopeo(&store).args(["list-tags", "--tls-verify=false", &format!("docker://{name}")]));
    assert_eq!(listed.code, 0, "skopeo reads ours: {listed:?}");
    config(b"{}");

    for program in ["podman", "skopeo"] {
        let file = store.dir().join(format!("{program}.json"));
        let file = file.to_str().unwrap();
        let args = [
            "login",
            "--tls-verify=false",
            "--authfile",
            file,
            "-u",
            USER,
            "--password-stdin",
            &registry.address,
        ];
        let theirs = others_login(&store, program, &args);
        assert_eq!(theirs.code, 0, "{theirs:?}");
        store.fails(1, &["tags", &name]);
        let ours = ran(store.command().args(["tags", &name]).env("REGISTRY_AUTH_FILE", file));
        assert_eq!(ours.stdout, "1\n", "{program}: {ours:?}");
    }
    // Where podman has it without being told.
    let run = store.dir().join("run");
    std::fs::create_dir_all(run.join("containers")).unwrap();
    std::fs::rename(store.dir().join("podman.json"), run.join("containers/auth.json")).unwrap();
    let ours = ran(store.command().args(["tags", &name]).env("XDG_RUNTIME_DIR", &run));
    assert_eq!(ours.stdout, "1\n", "{ours:?}");
    // And what CI systems set.
    let text = json!({ "auths": { registry.address.clone(): { "auth": AUTH } } }).to_string();
    let ours = ran(store.command().args(["tags", &name]).env("DOCKER_AUTH_CONFIG", text));
    assert_eq!(ours.stdout, "1\n", "{ours:?}");
    // Another directory than ~/.docker.
    let elsewhere = store.dir().join("elsewhere");
    let mut command = store.command();
    command.args(["login", "-u", USER, "-p", PASSWORD, &registry.address]).env("DOCKER_CONFIG", &elsewhere);
    assert_eq!(ran(&mut command).code, 0);
    assert!(elsewhere.join("config.json").exists());
}

#[test]
fn secrets_are_never_shown() {
    let (store, registry) = (store_with_image(), registry());
    seed(&store, &registry.name("app:1"), Some("ann:pass:word"));
    let secrets = [PASSWORD, AUTH, "hunter2", "YW5uOmh1bnRlcjI="];
    let quiet = |args: &[&str]| {
        let mut all = vec!["--log-level", "debug"];
        all.extend(args);
        let ran = store.run(&all);
        for secret in secrets {
            assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{args:?}: {ran:?}");
        }
        ran.code
    };
    let name = registry.name("app:1");
    assert_eq!(quiet(&["login", "-u", USER, "-p", "hunter2", &registry.address]), 1);
    assert_eq!(quiet(&["login", "-u", USER, "-p", "hunter2", "localhost:1"]), 1);
    assert_eq!(quiet(&["login", "-u", USER, "-p", PASSWORD, &registry.address]), 0);
    assert_eq!(quiet(&["tags", &registry.name("app")]), 0);
    assert_eq!(quiet(&["inspect", "--remote", &name]), 0);
    assert_eq!(quiet(&["pull", &name]), 0);
    assert_eq!(quiet(&["pull", &registry.name("none:1")]), 1);
    assert_eq!(quiet(&["search", &registry.name("app")]), 0);
    assert_eq!(quiet(&["login", &registry.address]), 0);
    assert_eq!(quiet(&["logout", &registry.address]), 0);
    assert_eq!(quiet(&["login", &format!("{USER}:hunter2@{}", registry.address)]), 1);
    // A file that is broken near a secret.
    std::fs::write(store.dir().join(".docker/config.json"), format!("{{\"auths\": {AUTH}}}")).unwrap();
    assert_eq!(quiet(&["tags", &registry.name("app")]), 1);
    // An account that is wrong by now.
    let text = json!({ "auths": { registry.address.clone(): { "auth": "YW5uOmh1bnRlcjI=" } } }).to_string();
    std::fs::write(store.dir().join(".docker/config.json"), text).unwrap();
    assert_eq!(quiet(&["tags", &registry.name("app")]), 1);
    assert_eq!(quiet(&["login", &registry.address]), 1);
}

#[test]
fn asked_on_a_terminal_and_not_shown() {
    let (store, registry) = (TestStore::new(), registry());
    let mut session = Session::new(&store, &["login", &registry.address]);
    let before = tcgetattr(&session.master).unwrap();
    session.until("Username: ");
    session.keys("ann\n");
    session.until("Password: ");
    while tcgetattr(&session.master).unwrap().local_modes.contains(LocalModes::ECHO) {
        std::thread::sleep(Duration::from_millis(5));
    }
    session.keys(&format!("{PASSWORD}\n"));
    let shown = session.until("Login Succeeded");
    assert!(!shown.contains("word"), "{shown}");
    assert_eq!(tcgetattr(&session.master).unwrap().local_modes, before.local_modes);
    assert_eq!(session.end(), 0);
    assert_eq!(docker_config(&store)["auths"][&registry.address]["auth"], AUTH);

    // A wrong one, and nothing but Enter where a name is known.
    let text = json!({ "auths": { registry.address.clone(): { "auth": "YW5uOmh1bnRlcjI=" } } }).to_string();
    std::fs::write(store.dir().join(".docker/config.json"), text).unwrap();
    let mut session = Session::new(&store, &["login", &registry.address]);
    session.until("Stored credentials invalid or expired");
    session.until("Username (ann): ");
    session.keys("\n");
    session.until("Password: ");
    while tcgetattr(&session.master).unwrap().local_modes.contains(LocalModes::ECHO) {
        std::thread::sleep(Duration::from_millis(5));
    }
    session.keys("half a pass\x03");
    let master = session.master.try_clone().unwrap();
    assert_eq!(session.end(), 130, "Ctrl-C ends it");
    assert_eq!(tcgetattr(&master).unwrap().local_modes, before.local_modes, "with the terminal as it was");
}
