//! A dockerd of a test's own, in the directory of its store.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::containers::{is_root, until};
use crate::harness::{Ran, ran};

/// A dockerd without a network; ended with this value.
pub struct Dockerd {
    child: Child,
    socket: String,
}

impl Dockerd {
    /// `None`, said on stdout, where it does not start on this machine.
    pub fn start(dir: &Path) -> Option<Dockerd> {
        if !is_root() {
            println!("skipped: dockerd needs root");
            return None;
        }
        let at = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let socket = format!("unix://{}", at("docker.sock"));
        let log = fs::File::create(dir.join("dockerd.log")).unwrap();
        let child = Command::new("dockerd")
            .args(["--data-root", &at("docker"), "--exec-root", &at("exec"), "-p", &at("pid"), "-H", &socket])
            .args(["--iptables=false", "--bridge=none", "--ip-forward=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        let Ok(child) = child else {
            println!("skipped: there is no dockerd");
            return None;
        };
        let mut dockerd = Dockerd { child, socket };
        for _ in 0..150 {
            if dockerd.docker(&[], &["version"]).code == 0 {
                return Some(dockerd);
            }
            if let Ok(Some(_)) = dockerd.child.try_wait() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = fs::read_to_string(dir.join("dockerd.log")).unwrap_or_default();
        println!("skipped: dockerd does not start here: {}", log.lines().last().unwrap_or_default());
        None
    }

    /// Runs Debian's client with more in its environment: a newer one beside it may lack a builder for so old a daemon.
    pub fn docker(&self, environment: &[(&str, &str)], args: &[&str]) -> Ran {
        let client = if Path::new("/usr/bin/docker").exists() { "/usr/bin/docker" } else { "docker" };
        let mut command = Command::new(client);
        ran(command.envs(environment.iter().copied()).args(["-H", &self.socket]).args(args))
    }

    /// What it prints, where it ends well.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        self.ok_with(&[], args)
    }

    /// The same, with more in its environment.
    #[track_caller]
    pub fn ok_with(&self, environment: &[(&str, &str)], args: &[&str]) -> String {
        let ran = self.docker(environment, args);
        assert_eq!(ran.code, 0, "docker {args:?}: {ran:?}");
        ran.stdout
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        until("dockerd ends", || matches!(self.child.try_wait(), Ok(Some(_))));
    }
}
