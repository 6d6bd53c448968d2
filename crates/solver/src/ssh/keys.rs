//! An `ssh-agent` of the build's own, with the keys of given files. It ends with the build, even where that is killed:
//! then the pipe closes by which it is told to live.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use store::{PendingSnapshot, Store};

use super::{failed, proxy};
use crate::error::Failure;

/// The largest key file, as in BuildKit.
const KEY: u64 = 100 << 10;
/// How long the agent may take to begin.
const PATIENCE: Duration = Duration::from_secs(10);
/// The agent, and who ends it when standard input does.
const SHELL: &str = "ssh-agent -D -a agent >/dev/null & read -r _; kill $!";

/// A running agent.
#[derive(Debug)]
pub(super) struct KeyAgent {
    child: Child,
    /// Where its socket is; no one else can enter it.
    scratch: PendingSnapshot,
}

impl KeyAgent {
    /// Begins one with the keys in `files`.
    pub fn begin(
        id: &str,
        files: &[PathBuf],
        path: Option<&OsStr>,
        store: &Store,
    ) -> Result<KeyAgent, Failure> {
        let scratch = store.begin_snapshot()?;
        let dir = scratch.dir();
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(Failure::io("chmod", dir))?;
        let mut command = Command::new("sh");
        command.args(["-c", SHELL]).current_dir(dir).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        environment(&mut command, path);
        let child = command
            .spawn()
            .map_err(|error| failed(id, format!("ssh-agent could not be started: {error}")))?;
        // Ends it from here on, whatever comes.
        let mut agent = KeyAgent { child, scratch };
        let began = Instant::now();
        while proxy::connect(&agent.socket()).is_err() {
            let ended = agent.child.try_wait().is_ok_and(|status| status.is_some());
            if ended || began.elapsed() > PATIENCE {
                return Err(failed(
                    id,
                    "ssh-agent, which serves keys from files, did not start: install OpenSSH's client, or give the socket of an agent that runs",
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for file in files {
            agent.add(id, file, path)?;
        }
        Ok(agent)
    }

    pub fn socket(&self) -> PathBuf {
        self.scratch.dir().join("agent")
    }

    /// Adds the key in a file, whatever the file's permissions are.
    fn add(&self, id: &str, file: &Path, path: Option<&OsStr>) -> Result<(), Failure> {
        let shown = file.display();
        let mut key = Vec::new();
        let opened = File::open(file).and_then(|opened| opened.take(KEY).read_to_end(&mut key));
        opened.map_err(|error| failed(id, format!("the key {shown} cannot be read: {error}")))?;
        let mut command = Command::new("ssh-add");
        command.args(["-q", "-"]).current_dir(self.scratch.dir()).process_group(0);
        environment(&mut command, path);
        // Nobody is asked for a passphrase.
        command
            .env("SSH_AUTH_SOCK", "agent")
            .env("SSH_ASKPASS", "/bin/false")
            .env("SSH_ASKPASS_REQUIRE", "force");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut adding =
            command.spawn().map_err(|error| failed(id, format!("ssh-add could not be started: {error}")))?;
        if let Some(mut stdin) = adding.stdin.take() {
            // One that takes no more has seen that it is no key.
            let _ = stdin.write_all(&key);
        }
        let ended = adding.wait_with_output().map_err(Failure::io("wait for", "ssh-add"))?;
        if ended.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&ended.stderr);
        let said: String =
            said.trim().replace(['\r', '\n'], "; ").chars().filter(|c| !c.is_control()).take(300).collect();
        let said = if said.is_empty() { "it needs a passphrase".to_owned() } else { said };
        Err(failed(
            id,
            format!(
                "the key {shown} cannot be used: {said}; a key with a passphrase has to be added to an agent that runs"
            ),
        ))
    }
}

impl Drop for KeyAgent {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn environment(command: &mut Command, path: Option<&OsStr>) {
    command.env_clear().env("HOME", "/dev/null").env("LC_ALL", "C").envs(path.map(|path| ("PATH", path)));
}
