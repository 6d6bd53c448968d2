//! Credential helpers: the protocol of `docker-credential-NAME get|store|erase`
//! (github.com/docker/docker-credential-helpers).
//!
//! The word is its argument, the question stands on its standard input, the answer or the reason of a failure on its
//! standard output. Output and time are bounded: a helper may wait for a person, but not for ever.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::config_file::Account;
use super::{Credential, Secret};

/// How long a helper may take, its questions to a person included.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// The most that is read of a helper's answer, in bytes.
const LIMIT: u64 = 1 << 20;
/// What a user is called whose secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// A helper, by the end of its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Helper<'a> {
    /// The `NAME` of `docker-credential-NAME`.
    pub name: &'a str,
    /// How long it may take.
    pub patience: Duration,
    /// Where it is looked for: directories separated by colons.
    pub path: &'a OsStr,
    /// What stands before it on the command line: a program that runs it as somebody else.
    pub runner: &'a [OsString],
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Kept {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl Helper<'_> {
    /// The account kept under `key`, if there is one.
    pub fn get(&self, key: &str) -> Result<Option<Account>, String> {
        let (status, output) = self.run("get", key.as_bytes())?;
        if !status.success() {
            let said = said(&output);
            // The two sentences that helpers written with Docker's library have for it.
            return match said.contains("credentials not found in native keychain") {
                true => Ok(None),
                false => Err(self.failed("get", status, &said)),
            };
        }
        let kept: Kept = serde_json::from_slice(&output)
            .map_err(|_| format!("{} gave an answer that is no credential", self.program()))?;
        let credential = match kept.username.as_str() {
            _ if kept.secret.is_empty() => return Ok(None),
            TOKEN_USER => {
                return Ok(Some(Account {
                    user: String::new(),
                    credential: Some(Credential::IdentityToken(Secret::new(kept.secret))),
                }));
            }
            user => Credential::Password { user: user.to_owned(), password: Secret::new(kept.secret) },
        };
        Ok(Some(Account { user: kept.username, credential: Some(credential) }))
    }

    /// Has the account kept under `key`.
    pub fn store(&self, key: &str, user: &str, credential: &Credential) -> Result<(), String> {
        let (user, secret) = match credential {
            Credential::Password { password, .. } => (user, password),
            Credential::IdentityToken(token) => (TOKEN_USER, token),
            Credential::RegistryToken(_) => {
                return Err(format!("{} keeps no tokens of registries", self.program()));
            }
        };
        let kept = Kept {
            server_url: key.to_owned(),
            username: user.to_owned(),
            secret: secret.reveal().to_owned(),
        };
        let mut question = serde_json::to_vec(&kept).expect("because it is text");
        question.push(b'\n');
        let (status, output) = self.run("store", &question)?;
        match status.success() {
            true => Ok(()),
            false => {
                // It may quote its question.
                Err(self.failed("store", status, &said(&without(&output, secret))))
            }
        }
    }

    /// Has the account under `key` forgotten.
    pub fn erase(&self, key: &str) -> Result<(), String> {
        let (status, output) = self.run("erase", key.as_bytes())?;
        match status.success() {
            true => Ok(()),
            false => Err(self.failed("erase", status, &said(&output))),
        }
    }

    /// The program's name.
    pub fn program(&self) -> String {
        format!("docker-credential-{}", self.name)
    }

    fn failed(&self, verb: &str, status: ExitStatus, said: &str) -> String {
        let said = if said.is_empty() { status.to_string() } else { said.to_owned() };
        format!("{} {verb} failed: {said}", self.program())
    }

    fn run(&self, verb: &str, question: &[u8]) -> Result<(ExitStatus, Vec<u8>), String> {
        let program = self.program();
        if self.name.contains('/') {
            return Err(format!("the credential helper's name {:?} is a path", self.name));
        }
        let deadline = Instant::now() + self.patience;
        let found =
            std::env::split_paths(self.path).map(|dir| dir.join(&program)).find(|path| path.is_file());
        let Some(found) = found else {
            return Err(format!(
                "the credential helper {program} is not installed: no program of that name is in PATH"
            ));
        };
        let mut words =
            self.runner.iter().map(OsString::as_os_str).chain([found.as_os_str(), OsStr::new(verb)]);
        let mut child = Command::new(words.next().unwrap_or(found.as_os_str()))
            .args(words)
            .env("PATH", self.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the credential helper {program} cannot be run: {error}"))?;
        let (sender, receiver) = mpsc::channel();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let question = question.to_vec();
        // Both may block for as long as the helper lives; they are left behind where it outlives our patience.
        thread::spawn(move || {
            // One that does not read its question will say why.
            let _ = stdin.map(|mut stdin| stdin.write_all(&question));
        });
        thread::spawn(move || {
            let mut output = Vec::new();
            let read = stdout.map(|stdout| stdout.take(LIMIT + 1).read_to_end(&mut output));
            let _ = sender.send(read.transpose().map(|_| output));
        });
        let late = || format!("{program} {verb} took longer than {} s", self.patience.as_secs_f32());
        let output = match receiver.recv_timeout(self.patience) {
            Ok(Ok(output)) if output.len() as u64 <= LIMIT => output,
            Ok(Ok(_)) => return Err(end(child, format!("{program} {verb} says more than {LIMIT} bytes"))),
            Ok(Err(error)) => return Err(end(child, format!("the answer of {program}: {error}"))),
            Err(_) => return Err(end(child, late())),
        };
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok((status, output)),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
                Ok(None) => return Err(end(child, late())),
                Err(error) => return Err(format!("the end of {program}: {error}")),
            }
        }
    }
}

/// Ends a helper that did what it may not; gives back the reason.
fn end(mut child: Child, reason: String) -> String {
    let _ = child.kill();
    let _ = child.wait();
    reason
}

/// The text without the secret, plain or as JSON has it.
fn without(text: &[u8], secret: &Secret) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let escaped = serde_json::Value::from(secret.reveal()).to_string();
    let escaped = &escaped[1..escaped.len() - 1];
    match escaped.is_empty() {
        true => text.into_owned().into_bytes(),
        false => text.replace(secret.reveal(), "…").replace(escaped, "…").into_bytes(),
    }
}

/// What a helper says of its failure: one line, not too long.
fn said(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}
