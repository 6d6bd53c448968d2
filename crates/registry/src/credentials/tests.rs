//! Accounts in files and with helpers.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::{Accounts, Credential, Credentials, Secret, Stored};

struct Home {
    dir: TempDir,
}

impl Home {
    fn new() -> Home {
        Home { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Installs a helper.
    fn helper(&self, name: &str, script: &str) {
        let path = self.put(&format!("bin/docker-credential-{name}"), &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn accounts(&self) -> Accounts {
        let bin = self.path("bin").into_os_string();
        let mut path = bin;
        path.push(":/usr/bin:/bin");
        Accounts::new(self.path("docker/config.json"), path)
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn password(user: &str, password: &str) -> Credential {
    Credential::Password { user: user.to_owned(), password: Secret::new(password) }
}

#[test]
fn a_first_login_makes_the_file() {
    let home = Home::new();
    let accounts = home.accounts();
    assert_eq!(accounts.get("a.test").unwrap(), None);
    let file = home.path("docker/config.json");
    let ann = password("ann", "pa:ss");
    assert_eq!(accounts.store("a.test:5000", "ann", &ann).unwrap(), Stored::File(file.clone()));
    assert_eq!(accounts.store("a.test:5000", "ann", &ann).unwrap(), Stored::Unchanged(file.clone()));
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    assert_eq!(
        home.text("docker/config.json"),
        "{\n\t\"auths\": {\n\t\t\"a.test:5000\": {\n\t\t\t\"auth\": \"YW5uOnBhOnNz\"\n\t\t}\n\t}\n}"
    );
    assert_eq!(accounts.get("a.test:5000").unwrap(), Some(ann));
    accounts.store("docker.io", "bob", &Credential::IdentityToken(Secret::new("t"))).unwrap();
    assert!(home.text("docker/config.json").contains("\"https://index.docker.io/v1/\""));
    assert_eq!(accounts.find("docker.io").unwrap().unwrap().0, "bob");
    accounts.erase("a.test:5000").unwrap();
    accounts.erase("docker.io").unwrap();
    accounts.erase("never.test").unwrap();
    assert_eq!(home.text("docker/config.json"), "{\n\t\"auths\": {}\n}");
    let left: Vec<_> = fs::read_dir(home.path("docker")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn links_and_modes_are_kept() {
    let home = Home::new();
    let real = home.put("elsewhere/real.json", "{\"psFormat\": \"x\"}");
    fs::set_permissions(&real, PermissionsExt::from_mode(0o640)).unwrap();
    fs::create_dir_all(home.path("docker")).unwrap();
    symlink("../elsewhere/real.json", home.path("docker/config.json")).unwrap();
    home.accounts().store("a.test", "ann", &password("ann", "b")).unwrap();
    assert!(fs::symlink_metadata(home.path("docker/config.json")).unwrap().is_symlink());
    assert_eq!(mode(&real), 0o640);
    assert!(home.text("elsewhere/real.json").ends_with("\"psFormat\": \"x\"\n}"));
    // A link to nothing yet.
    fs::remove_file(&real).unwrap();
    home.accounts().store("a.test", "ann", &password("ann", "b")).unwrap();
    assert_eq!(mode(&real), 0o600);
}

#[test]
fn what_cannot_be_read_is_named_and_not_quoted() {
    let home = Home::new();
    home.put("docker/config.json", "{\"auths\": {\"a.test\": {\"auth\": \"hunter2\"}}}");
    let error = home.accounts().get("a.test").unwrap_err().to_string();
    assert!(error.contains("config.json: the entry \"a.test\": its auth"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    home.put("docker/config.json", "{\"auths\": hunter2}");
    for error in [
        home.accounts().get("a.test").unwrap_err().to_string(),
        home.accounts().store("a.test", "a", &password("a", "hunter2")).unwrap_err().to_string(),
    ] {
        assert!(error.contains("no JSON") && !error.contains("hunter2"), "{error}");
    }
    assert_eq!(home.text("docker/config.json"), "{\"auths\": hunter2}", "a broken file is not replaced");
}

#[test]
fn other_places_to_read_from() {
    let home = Home::new();
    home.put("docker/config.json", "{\"auths\": {\"a.test\": {\"auth\": \"YW5uOmE=\"}, \"b.test\": {}}}");
    let podman = home.put(
        "podman.json",
        "{\"auths\": {\"a.test\": {\"auth\": \"Ym9iOmI=\"}, \"b.test\": {\"auth\": \"Ym9iOmI=\"}, \
         \"docker.io\": {\"auth\": \"Ym9iOmI=\"}}}",
    );
    let accounts = home.accounts().with_fallbacks(vec![home.path("none"), podman.clone()]);
    assert_eq!(accounts.get("a.test").unwrap(), Some(password("ann", "a")));
    assert_eq!(accounts.get("b.test").unwrap(), Some(password("bob", "b")));
    assert_eq!(accounts.get("docker.io").unwrap(), Some(password("bob", "b")));
    let text = Secret::new("{\"auths\": {\"a.test\": {\"auth\": \"ZXZlOmU=\"}}}");
    let accounts = accounts.with_environment(Some(text));
    assert_eq!(accounts.get("a.test").unwrap(), Some(password("eve", "e")));
    assert!(!format!("{accounts:?}").contains("ZXZl"));
    let before = fs::read(&podman).unwrap();
    accounts.store("b.test", "ann", &password("ann", "c")).unwrap();
    assert_eq!(fs::read(&podman).unwrap(), before);
    assert_eq!(accounts.get("b.test").unwrap(), Some(password("ann", "c")));
}

/// A helper that keeps each account in a file named by its key, as Docker's own do it behind their libraries.
const KEEPS: &str = r#"
cd "$(dirname "$0")"
case $1 in
store) cat >kept; echo "$1" >>calls;;
get) read -r key; echo "$1 $key" >>calls
    if [ -e kept ]; then cat kept; else echo "credentials not found in native keychain"; exit 1; fi;;
erase) read -r key; echo "$1 $key" >>calls; rm -f kept;;
esac"#;

#[test]
fn helpers_keep_what_the_file_does_not() {
    let home = Home::new();
    home.helper("keeps", KEEPS);
    home.put("docker/config.json", "{\"credsStore\": \"keeps\"}");
    let accounts = home.accounts();
    assert_eq!(accounts.get("docker.io").unwrap(), None, "not found is no failure");
    let stored = accounts.store("docker.io", "ann", &password("ann", "secret\"1")).unwrap();
    assert_eq!(stored, Stored::Helper("keeps".to_owned()));
    assert_eq!(
        home.text("docker/config.json"),
        "{\n\t\"auths\": {\n\t\t\"https://index.docker.io/v1/\": {}\n\t},\n\t\"credsStore\": \"keeps\"\n}"
    );
    let kept: serde_json::Value = serde_json::from_str(&home.text("bin/kept")).unwrap();
    assert_eq!(
        kept,
        serde_json::json!({
            "ServerURL": "https://index.docker.io/v1/", "Username": "ann", "Secret": "secret\"1"
        })
    );
    assert_eq!(accounts.get("docker.io").unwrap(), Some(password("ann", "secret\"1")));
    let token = Credential::IdentityToken(Secret::new("tok"));
    accounts.store("docker.io", "ann", &token).unwrap();
    assert!(home.text("bin/kept").contains("<token>"));
    assert_eq!(accounts.get("docker.io").unwrap(), Some(token));
    accounts.erase("docker.io").unwrap();
    assert!(!home.path("bin/kept").exists());
    assert!(!home.text("docker/config.json").contains("index.docker.io"));
    assert!(home.text("bin/calls").ends_with("erase https://index.docker.io/v1/\n"));
}

#[test]
fn helpers_that_fail() {
    let home = Home::new();
    home.helper("refuses", "cat; echo no keyring today; exit 1");
    home.helper("silent", "exit 3");
    home.helper("talks", "exec cat /dev/zero");
    home.helper("sleeps", "exec sleep 100");
    home.helper("babbles", "echo hunter2");
    let helpers = ["missing", "refuses", "silent", "talks", "sleeps", "babbles", "../bin/talks"];
    let entries: Vec<String> =
        helpers.iter().enumerate().map(|(at, name)| format!("\"{at}.test\": \"{name}\"")).collect();
    home.put("docker/config.json", &format!("{{\"credHelpers\": {{{}}}}}", entries.join(",")));
    let accounts = home.accounts().with_patience(Duration::from_millis(400));
    for (at, expected) in [
        "the credential helper docker-credential-missing is not installed",
        "docker-credential-refuses get failed: 1.testno keyring today",
        "docker-credential-silent get failed: exit status: 3",
        "docker-credential-talks get says more than",
        "docker-credential-sleeps get took longer than 0.4 s",
        "docker-credential-babbles gave an answer that is no credential",
        "the credential helper's name \"../bin/talks\" is a path",
    ]
    .iter()
    .enumerate()
    {
        let error = accounts.get(&format!("{at}.test")).unwrap_err().to_string();
        assert!(error.starts_with(&format!("credentials for {at}.test: {expected}")), "{error}");
        assert!(!error.contains("hunter2") && error.contains("config.json"), "{error}");
    }
    // The secret is on its standard input, and must not come back in the reason.
    let error = accounts.store("1.test", "ann", &password("ann", "hunter2")).unwrap_err().to_string();
    assert!(
        error.contains("docker-credential-refuses store failed") && !error.contains("hunter2"),
        "{error}"
    );
    assert!(!home.text("docker/config.json").contains("auths"), "nothing is kept where the helper failed");
}

#[test]
fn changes_at_once_are_all_kept() {
    let home = Home::new();
    let accounts = home.accounts();
    std::thread::scope(|scope| {
        for at in 0..8 {
            let accounts = &accounts;
            scope
                .spawn(move || accounts.store(&format!("r{at}.test"), "ann", &password("ann", "b")).unwrap());
        }
    });
    for at in 0..8 {
        assert!(
            accounts.get(&format!("r{at}.test")).unwrap().is_some(),
            "{}",
            home.text("docker/config.json")
        );
    }
}
