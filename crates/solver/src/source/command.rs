//! How git, the program, is called: in an environment of ours, with no configuration but what is given here, no hooks, no
//! prompts, no protocols but those to the network, and bounded in space and time.
//!
//! Secrets go to it by its environment, not by its arguments, and are taken out of what it says.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use graph::{GitSource, redacted};
use rustix::process::{Pid, Signal, kill_process_group};
use store::PendingSnapshot;

use super::{Fetch, Listener, failed};
use crate::error::Failure;
use crate::output::{self, Stream, Tail};
use crate::ssh::Forward;

/// How long one call of git may take.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Bytes kept of what git says of its troubles.
const SAID: usize = 256 << 10;
/// The shell that bounds what git writes, before it becomes git. Its arguments: blocks of 512 bytes, and git's.
const SHELL: &str = "ulimit -f \"$1\"; umask 022; shift; exec git \"$@\"";
/// The shell's exit code for a program that is not there.
const NOT_FOUND: i32 = 127;
/// The signal for a file that is larger than allowed.
const SIGXFSZ: i32 = 25;
/// The most files that a repository with its submodules may have.
pub(super) const FILES: u64 = 2_000_000;

/// How git is called.
#[derive(Clone, Default)]
pub struct GitSettings {
    /// `PATH`, proxies, certificates: what of the environment is passed on.
    pub environment: Vec<(OsString, OsString)>,
    /// Files of host keys that are known (`ssh_known_hosts`, `known_hosts`), on the host. Another key than theirs is
    /// refused; a host that they do not have is taken as it comes, as BuildKit takes all.
    pub known_hosts: Vec<PathBuf>,
}

impl std::fmt::Debug for GitSettings {
    /// Proxies may have passwords in them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitSettings").field("known_hosts", &self.known_hosts).finish_non_exhaustive()
    }
}

/// The program, set up for one remote.
pub(super) struct Git<'a> {
    pub fetch: &'a Fetch<'a>,
    pub source: &'a GitSource,
    pub listener: &'a dyn Listener,
    environment: Vec<(OsString, OsString)>,
    places: Option<Places>,
    /// The agent that ssh asks, and where its socket is.
    _agent: Option<(Forward, PendingSnapshot)>,
}

/// Where git works: both on the host.
#[derive(Clone)]
pub(super) struct Places {
    pub git_dir: PathBuf,
    pub tree: PathBuf,
}

impl<'a> Git<'a> {
    pub fn new(
        fetch: &'a Fetch<'a>,
        source: &'a GitSource,
        listener: &'a dyn Listener,
    ) -> Result<Git<'a>, Failure> {
        // A remote that git would take for an option is none; lowering refuses it, too.
        if source.remote.starts_with('-') || source.reference.as_ref().is_some_and(|r| r.starts_with('-')) {
            return Err(failed(&source.redacted(), "neither remote nor ref may begin with a dash"));
        }
        let settings = &fetch.downloads.git;
        let mut environment = settings.environment.clone();
        let mut set = |name: &str, value: &str| environment.push((name.into(), value.into()));
        for (name, value) in [
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            // Submodules are cloned with one, too.
            ("GIT_TEMPLATE_DIR", ""),
            ("HOME", "/dev/null"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", "/bin/false"),
            ("SSH_ASKPASS", "/bin/false"),
            ("GIT_ALLOW_PROTOCOL", "http:https:ssh:git"),
            ("GIT_PROTOCOL_FROM_USER", "0"),
            // A server that sends next to nothing for a minute is dead.
            ("GIT_HTTP_LOW_SPEED_LIMIT", "100"),
            ("GIT_HTTP_LOW_SPEED_TIME", "60"),
            ("LC_ALL", "C"),
        ] {
            set(name, value);
        }
        set("GIT_SSH_COMMAND", &ssh_command(&settings.known_hosts));
        let mut config = vec![
            ("core.hooksPath".to_owned(), "/dev/null".to_owned()),
            ("init.defaultBranch".to_owned(), "master".to_owned()),
            ("gc.auto".to_owned(), "0".to_owned()),
            ("maintenance.auto".to_owned(), "false".to_owned()),
            ("advice.detachedHead".to_owned(), "false".to_owned()),
            ("remote.origin.url".to_owned(), source.remote.clone()),
        ];
        if let Some(header) = authorization(fetch, &source.remote) {
            let scope = token_scope(&source.remote);
            config.push((format!("http.{scope}.extraHeader"), header));
            // Git would show it to wherever the first answer leads.
            config.push((format!("http.{scope}.followRedirects"), "false".to_owned()));
        }
        set("GIT_CONFIG_COUNT", &config.len().to_string());
        for (number, (key, value)) in config.iter().enumerate() {
            set(&format!("GIT_CONFIG_KEY_{number}"), key);
            set(&format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        let mut agent = None;
        if is_ssh(&source.remote) {
            let scratch = fetch.store.begin_snapshot()?;
            let socket = scratch.dir().join("agent");
            if let Some(forward) = fetch.downloads.agents.forward("default", &socket, fetch.store)? {
                environment.push(("SSH_AUTH_SOCK".into(), forward.address().into()));
                agent = Some((forward, scratch));
            }
        }
        Ok(Git { fetch, source, listener, environment, places: None, _agent: agent })
    }

    /// The same, working there.
    pub fn at(&self, places: Places) -> Git<'_> {
        Git {
            fetch: self.fetch,
            source: self.source,
            listener: self.listener,
            environment: self.environment.clone(),
            places: Some(places),
            _agent: None,
        }
    }

    /// Runs git. `each` gets what it prints, and says whether to go on; where not, git is ended and that is no failure.
    pub fn run(&self, args: &[&str], each: &dyn Fn(&[u8]) -> bool) -> Result<(), Failure> {
        let (shown, verb) = (self.source.redacted(), args[0]);
        let limit = self.fetch.downloads.limit;
        let ((out, out_writer), (err, err_writer)) = (pipe()?, pipe()?);
        let mut command = self.command(args, limit);
        command.stdout(out_writer).stderr(err_writer);
        let spawned = command.spawn();
        // The ends that git writes to are the command's.
        drop(command);
        let mut child = spawned.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => no_git(&shown),
            _ => failed(&shown, format!("git could not be started: {error}")),
        })?;
        let group = Pid::from_child(&child);
        let end = || {
            // Nobody is left, where there is no such group.
            let _ = kill_process_group(group, Signal::KILL);
        };
        let (over, full, began) = (Cell::new(false), Cell::new(None), Instant::now());
        let room = self.places.as_ref().map(|places| Room::of(&places.tree, limit));
        let tick = || {
            if full.get().is_none() {
                full.set(room.as_ref().and_then(Room::lost));
            }
            if self.fetch.is_interrupted() || full.get().is_some() || began.elapsed() > PATIENCE {
                end();
            }
        };
        let said = RefCell::new(Vec::new());
        let emit = |stream: Stream, bytes: &[u8]| match stream {
            Stream::Stdout if !over.get() && !each(bytes) => {
                over.set(true);
                end();
            }
            Stream::Stdout => {}
            Stream::Stderr => {
                let mut said = said.borrow_mut();
                let room = SAID.saturating_sub(said.len()).min(bytes.len());
                said.extend_from_slice(&bytes[..room]);
            }
        };
        let pipes = [(out.into(), Stream::Stdout), (err.into(), Stream::Stderr)];
        let pumped = output::pump(pipes, &Tail::default(), &emit, &tick);
        if pumped.is_err() {
            end();
        }
        let status = child.wait().map_err(Failure::io("wait for", "git"))?;
        // What git left running would go on writing.
        end();
        pumped.map_err(Failure::io("read", "git's output"))?;
        if self.fetch.is_interrupted() {
            return Err(Failure::Interrupted);
        }
        if over.get() || status.success() {
            return Ok(());
        }
        let said = self.clean(&String::from_utf8_lossy(&said.into_inner()));
        if status.code() == Some(NOT_FOUND) && said.contains("git: ") {
            return Err(no_git(&shown));
        }
        let more = "--max-download allows more";
        let why = match (full.get(), status.signal()) {
            (Some(what), _) => format!("git {verb} takes more than {what}; {more}"),
            (None, Some(SIGXFSZ)) => format!("git {verb} writes a file of more than {limit} bytes; {more}"),
            (None, Some(_)) if began.elapsed() > PATIENCE => {
                format!("git {verb} took more than {} s", PATIENCE.as_secs())
            }
            (None, Some(signal)) => format!("git {verb} was ended by signal {signal}"),
            (None, None) if said.contains("File too large") => {
                format!("git {verb} writes a file of more than {limit} bytes; {more}")
            }
            (None, None) => format!("git {verb} failed: {said}{}", self.hint(&said)),
        };
        Err(failed(&shown, why))
    }

    fn command(&self, args: &[&str], limit: u64) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", SHELL, "git", &(limit / 512).max(1).to_string()]);
        match &self.places {
            Some(places) => {
                command.arg("--git-dir").arg(&places.git_dir).arg("--work-tree").arg(&places.tree);
                command.current_dir(&places.tree);
            }
            // Nothing there is a repository.
            None => {
                command.arg("--git-dir=/dev/null").current_dir(self.fetch.store.root());
            }
        }
        command.args(args).stdin(Stdio::null()).process_group(0);
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// What git says, without what is secret in its remote and without what could lead a terminal astray.
    fn clean(&self, said: &str) -> String {
        let remote = &self.source.remote;
        let mut text = said.replace(remote.as_str(), &redacted(remote));
        let user = remote.split_once("://").and_then(|(_, rest)| rest.split('/').next()?.rsplit_once('@'));
        if let Some(password) = user.and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password)
            && password.len() > 2
        {
            text = text.replace(password, "xxxxx");
        }
        let lines = text.lines().map(|line| line.rsplit('\r').next().unwrap_or(line));
        let lines = lines.map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>());
        let lines: Vec<String> = lines.filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(6)..].join("; ")
    }

    fn hint(&self, said: &str) -> &'static str {
        let denied = ["Permission denied", "publickey", "Host key verification"];
        let asks =
            ["could not read Username", "Authentication failed", "terminal prompts disabled", "403", "401"];
        if is_ssh(&self.source.remote) && denied.iter().any(|words| said.contains(words)) {
            "; pass an agent or a key with --ssh default"
        } else if said.contains("requested URL returned error: 30") {
            "; it leads elsewhere, where the credential for it is not sent: name the place that it is at now"
        } else if said.contains("'origin' does not appear to be a git repository") {
            "; git 2.31 or later is needed"
        } else if asks.iter().any(|words| said.contains(words)) {
            "; give a token as --secret id=GIT_AUTH_TOKEN"
        } else {
            ""
        }
    }
}

/// What a file system has left, so that nothing fills it that no one asked for.
struct Room {
    tree: PathBuf,
    limit: u64,
    bytes: u64,
    inodes: u64,
    asked: Cell<Instant>,
}

impl Room {
    fn of(tree: &Path, limit: u64) -> Room {
        let (bytes, inodes) = left(tree).unwrap_or((0, 0));
        Room { tree: tree.to_owned(), limit, bytes, inodes, asked: Cell::new(Instant::now()) }
    }

    /// What was taken that is too much.
    fn lost(&self) -> Option<&'static str> {
        if self.asked.get().elapsed() < Duration::from_millis(500) {
            return None;
        }
        self.asked.set(Instant::now());
        let (bytes, inodes) = left(&self.tree)?;
        if self.bytes.saturating_sub(bytes) > self.limit.saturating_mul(2) {
            return Some("the space that a download may have");
        }
        (self.inodes.saturating_sub(inodes) > FILES).then_some("the files that a repository may have")
    }
}

/// Bytes and inodes; of those some file systems have no number.
fn left(path: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_ffree))
}

fn pipe() -> Result<(io::PipeReader, io::PipeWriter), Failure> {
    io::pipe().map_err(Failure::io("open", "a pipe for git's output"))
}

fn no_git(shown: &str) -> Failure {
    failed(shown, "the program git is needed for that, and it is not in PATH: install git")
}

fn is_ssh(remote: &str) -> bool {
    remote.starts_with("ssh://") || !remote.contains("://")
}

/// ssh without the user's settings, never asking.
fn ssh_command(known_hosts: &[PathBuf]) -> String {
    let plain = |path: &&PathBuf| {
        let text = path.to_string_lossy();
        !text.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | '$' | '`' | '%'))
    };
    let files: Vec<String> =
        known_hosts.iter().filter(plain).map(|path| path.display().to_string()).collect();
    let files = if files.is_empty() { "/dev/null".to_owned() } else { files.join(" ") };
    format!(
        "ssh -F /dev/null -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15 \
         -o ServerAliveCountMax=4 -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/dev/null \
         -o 'GlobalKnownHostsFile {files}' -o LogLevel=ERROR"
    )
}

/// `Authorization` from `GIT_AUTH_HEADER` or `GIT_AUTH_TOKEN`, those for the host first.
fn authorization(fetch: &Fetch<'_>, remote: &str) -> Option<String> {
    let (scheme, rest) = remote.split_once("://")?;
    if !scheme.to_ascii_lowercase().starts_with("http") {
        return None;
    }
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let secret = |id: &str| {
        let text = String::from_utf8(fetch.secrets.secret(id)?).ok()?;
        let text = text.trim_end_matches(['\r', '\n']).to_owned();
        (!text.contains(['\r', '\n', '\0'])).then_some(text)
    };
    let header = |id: &str| Some(format!("Authorization: {}", secret(id)?));
    let token = |id: &str| {
        let pair = format!("x-access-token:{}", secret(id)?);
        let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
        Some(format!("Authorization: basic {encoded}"))
    };
    header(&format!("GIT_AUTH_HEADER.{host}"))
        .or_else(|| token(&format!("GIT_AUTH_TOKEN.{host}")))
        .or_else(|| header("GIT_AUTH_HEADER"))
        .or_else(|| token("GIT_AUTH_TOKEN"))
}

/// Where the credential is for: the remote alone; at GitHub, as its own actions have it, all of the host, for submodules.
fn token_scope(remote: &str) -> &str {
    let whole = ["https://github.com/", "https://www.github.com/"];
    whole.into_iter().find(|prefix| remote.starts_with(prefix)).unwrap_or(remote)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_to_their_remote() {
        assert_eq!(token_scope("https://github.com/a/b.git"), "https://github.com/");
        assert_eq!(token_scope("https://github.com.evil/a.git"), "https://github.com.evil/a.git");
        assert!(is_ssh("git@a:b") && is_ssh("ssh://a/b") && !is_ssh("git://a/b"));
    }

    #[test]
    fn paths_of_known_hosts_are_no_options() {
        let command = ssh_command(&["/home/a b/known_hosts".into(), "/etc/ssh/ssh_known_hosts".into()]);
        assert!(command.contains("'GlobalKnownHostsFile /etc/ssh/ssh_known_hosts'"), "{command}");
    }
}
