//! Git repositories for tests, and how they are served.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::web::{Answer, Asked, Web};

/// A directory of repositories.
pub struct Repositories {
    dir: tempfile::TempDir,
}

impl Repositories {
    pub fn new() -> Repositories {
        Repositories { dir: tempfile::Builder::new().prefix("strake-git-").tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a repository with a commit of these files on `main`.
    pub fn make(&self, name: &str, files: &[(&str, &str)]) -> String {
        std::fs::create_dir_all(self.path(name)).unwrap();
        self.git(name, &["init", "-q", "-b", "main"]);
        self.commit(name, files)
    }

    /// Writes files and commits all; the commit.
    pub fn commit(&self, name: &str, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            let path = self.path(name).join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self.git(name, &["add", "-A"]);
        self.git(name, &["commit", "-q", "--allow-empty", "-m", "x"]);
        self.git(name, &["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// What git prints in that repository.
    #[track_caller]
    pub fn git(&self, name: &str, args: &[&str]) -> String {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=me",
                "-c",
                "user.email=me@example.com",
                "-c",
                "protocol.file.allow=always",
            ])
            .args(args)
            .current_dir(self.path(name))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_COMMITTER_DATE", "2020-01-02T03:04:05Z")
            .env("GIT_AUTHOR_DATE", "2020-01-02T03:04:05Z")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Serves all of them by smart HTTP, at `/NAME/.git`; where `token` is given, to who shows it.
    pub fn serve(&self, token: Option<&str>) -> Web {
        let (root, token) = (self.dir.path().to_owned(), token.map(str::to_owned));
        Web::serve(move |asked| {
            let shown = asked.header("authorization").unwrap_or_default();
            match &token {
                Some(token) if !shown.eq_ignore_ascii_case(token) => {
                    Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"x\"")
                }
                _ => backend(&root, asked),
            }
        })
    }

    /// Serves the files themselves ("dumb" HTTP), at `/NAME/.git`.
    pub fn serve_files(&self, name: &str) -> Web {
        self.git(name, &["update-server-info"]);
        let root = self.dir.path().to_owned();
        Web::serve(move |asked| match std::fs::read(root.join(asked.path().trim_start_matches('/'))) {
            Ok(bytes) => Answer::new(200, bytes),
            Err(_) => Answer::new(404, ""),
        })
    }
}

/// `git http-backend`, which is a CGI program.
fn backend(root: &Path, asked: &Asked) -> Answer {
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", &asked.method)
        .env("CONTENT_TYPE", asked.header("content-type").unwrap_or_default())
        .env("GIT_PROTOCOL", asked.header("git-protocol").unwrap_or_default())
        .env("HTTP_CONTENT_ENCODING", asked.header("content-encoding").unwrap_or_default())
        .env("CONTENT_LENGTH", asked.body.len().to_string())
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut stdin, body) = (child.stdin.take().unwrap(), asked.body.clone());
    let writing = std::thread::spawn(move || stdin.write_all(&body));
    let output = child.wait_with_output().unwrap().stdout;
    let _ = writing.join();
    let end =
        output.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(output.len().saturating_sub(4));
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let mut headers: HashMap<&str, &str> = head.lines().filter_map(|line| line.split_once(": ")).collect();
    let status = headers.remove("Status").and_then(|status| status.split(' ').next()?.parse().ok());
    let mut answer = Answer::new(status.unwrap_or(200), &output[(end + 4).min(output.len())..]);
    for (name, value) in headers {
        answer = answer.header(name, value);
    }
    answer
}
