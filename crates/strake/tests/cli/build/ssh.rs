//! `--ssh` and `RUN --mount=type=ssh`, with real agents; and Git over ssh, with a real server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Ran, ran};
use crate::project::Project;
use crate::repository::Repositories;

/// A program that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An agent at `socket`.
fn agent(socket: &Path) -> Running {
    let child =
        Command::new("ssh-agent").arg("-D").arg("-a").arg(socket).stdout(Stdio::null()).spawn().unwrap();
    let (agent, began) = (Running(child), Instant::now());
    while !socket.exists() && began.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(5));
    }
    agent
}

/// A key without a passphrase, or with one; its public half.
fn key(path: &Path, passphrase: &str) -> String {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f"])
        .arg(path)
        .status()
        .unwrap();
    assert!(made.success());
    fs::read_to_string(path.with_extension("pub")).unwrap().trim().to_owned()
}

/// A project whose image has `ssh-add`, with the libraries that it needs here.
fn project() -> Project {
    let project = Project::new(&[]);
    let listed =
        Command::new("sh").args(["-c", "ldd $(command -v ssh-add); command -v ssh-add"]).output().unwrap();
    for word in
        String::from_utf8(listed.stdout).unwrap().split_whitespace().filter(|word| word.starts_with('/'))
    {
        // In the base, /lib is a link to /usr/lib.
        let path = word.trim_start_matches('/');
        let path = path.strip_prefix("lib/").map_or(path.to_owned(), |rest| format!("usr/lib/{rest}"));
        let to = project.path("root").join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(word, to).unwrap();
    }
    project
}

const BASE: &str = "FROM busybox AS base\nCOPY root /\nENV PATH=/bin:/usr/bin\nRUN mkdir -m 777 /out\n";

fn build(project: &Project, socket: Option<&Path>, args: &[&str]) -> Ran {
    let mut command = project.store.command();
    command.args(["build", "-t", "t"]).args(args).arg(".").current_dir(project.path(""));
    if let Some(socket) = socket {
        command.env("SSH_AUTH_SOCK", socket);
    }
    ran(&mut command)
}

#[test]
fn an_agent_is_lent_to_a_step() {
    let project = project();
    let socket = project.path("agent.sock");
    let _agent = agent(&socket);
    let public = key(&project.path("id"), "");
    let added =
        Command::new("ssh-add").arg("-q").arg(project.path("id")).env("SSH_AUTH_SOCK", &socket).status();
    assert!(added.unwrap().success());
    project.write(
        "Dockerfile",
        &format!(
            "{BASE}RUN --mount=type=ssh ssh-add -L > /keys; echo $SSH_AUTH_SOCK > /name; ssh-add -D 2> /refused && exit 1; ssh-add -x < /dev/null; true\n\
             RUN --mount=type=ssh,id=default,target=/agent,mode=0660,uid=1000,gid=1001 stat -c '%a %u %g %F' /agent > /stat; echo $SSH_AUTH_SOCK >> /stat\n\
             USER app\nRUN --mount=type=ssh,uid=1000 ssh-add -l > /out/listed\n\
             RUN --mount=type=ssh ssh-add -l && exit 1 || true\n"
        ),
    );
    let built = build(&project, Some(&socket), &["--ssh", "default"]);
    assert_eq!(built.code, 0, "{}", built.stderr);
    assert_eq!(project.sh("cat /keys /name"), format!("{public}\n/run/buildkit/ssh_agent.0\n"));
    assert_eq!(project.sh("cat /stat"), "660 1000 1001 socket\n/agent\n");
    assert!(project.sh("cat /out/listed").contains("ED25519"));
    // Nothing of it stays: not in the config, not in the file system; and the agent has its key yet.
    assert!(!project.inspect("{{json .Config}}").contains("SSH_AUTH_SOCK"));
    assert_eq!(project.sh("ls -d /run/buildkit /agent 2>/dev/null | wc -l"), "0\n");
    let kept = Command::new("ssh-add").arg("-L").env("SSH_AUTH_SOCK", &socket).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&kept.stdout).trim(), public);
    // Who lends it is no part of the key.
    let built = build(&project, None, &["--ssh", "default=id"]);
    assert_eq!(built.stderr.matches("CACHED").count(), 6, "{}", built.stderr);
}

#[test]
fn keys_are_served_without_being_shown() {
    let project = project();
    let (one, two) = (key(&project.path("one"), ""), key(&project.path("two"), ""));
    // ssh-add would not take that from a file.
    fs::set_permissions(project.path("one"), fs::Permissions::from_mode(0o644)).unwrap();
    project.write(
        "Dockerfile",
        &format!("{BASE}RUN --mount=type=ssh ssh-add -L > /both\nRUN --mount=type=ssh,id=other,required ssh-add -L > /other\n"),
    );
    let built = build(&project, None, &["--ssh", "default=one,two", "--ssh", "other=two"]);
    assert_eq!(built.code, 0, "{}", built.stderr);
    assert_eq!(project.sh("cat /both /other"), format!("{one}\n{two}\n{two}\n"));
    let lives = |entry: std::fs::DirEntry| {
        fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(project.store.root()))
    };
    assert!(!fs::read_dir("/proc").unwrap().flatten().any(lives), "an agent outlived its build");
    key(&project.path("locked"), "secret");
    let built = build(&project, None, &["--no-cache", "--ssh", "default=locked", "--ssh", "other=two"]);
    assert!(built.code != 0 && built.stderr.contains("passphrase"), "{}", built.stderr);
    project.write("nokey", "x\n");
    let built = build(&project, None, &["--no-cache", "--ssh", "default=nokey", "--ssh", "other=two"]);
    assert!(built.code != 0 && built.stderr.contains("cannot be used"), "{}", built.stderr);
}

#[test]
fn without_an_agent() {
    let project = Project::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN --mount=type=ssh test ! -e $SSH_AUTH_SOCK\nRUN --mount=type=ssh,id=x,required=true true\n",
    )]);
    let said = project.refused(&[]);
    assert!(said.contains("no SSH agent \"x\" was given") && said.contains("--ssh x"), "{said}");
    for (ssh, why) in [
        ("default", "make sure SSH_AUTH_SOCK is set"),
        ("x=none", "No such file"),
        ("x=Dockerfile,none", "No such file"),
    ] {
        let said = project.refused(&["--ssh", ssh]);
        assert!(said.contains(why), "{ssh}: {said}");
    }
    let said = project.refused(&["--ssh", "x=Dockerfile", "--ssh", "x=Dockerfile"]);
    assert!(said.contains("duplicate"), "{said}");
}

/// An ssh server on loopback for us, which takes that key; its port.
fn server(project: &Project, public: &str) -> (Running, u16) {
    let dir = project.path("sshd");
    fs::create_dir(&dir).unwrap();
    key(&dir.join("host"), "");
    fs::write(dir.join("authorized"), format!("{public}\n")).unwrap();
    let _ = fs::create_dir_all("/run/sshd");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nStrictModes no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nUsePAM no\nPidFile none\n",
        dir.display()
    );
    fs::write(dir.join("config"), settings).unwrap();
    let sshd = ["/usr/sbin/sshd", "/sbin/sshd"].into_iter().map(PathBuf::from).find(|path| path.exists());
    let sshd = sshd.expect("openssh-server is installed: see scripts/install-test-needs");
    let child = Command::new(sshd).args(["-D", "-q", "-f"]).arg(dir.join("config")).spawn().unwrap();
    let (running, began) = (Running(child), Instant::now());
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err()
        && began.elapsed() < Duration::from_secs(10)
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    (running, port)
}

#[test]
fn git_over_ssh() {
    let project = Project::new(&[]);
    let public = key(&project.path("id"), "");
    let (_server, port) = server(&project, &public);
    let repositories = Repositories::new();
    repositories.make("r", &[("f", "1\n"), ("Dockerfile", "FROM busybox\nCOPY f /f\n")]);
    let user =
        if rustix::process::geteuid().is_root() { "root".to_owned() } else { std::env::var("USER").unwrap() };
    let url = format!("ssh://{user}@127.0.0.1:{port}{}", repositories.path("r").display());
    project.write("Dockerfile", &format!("FROM busybox\nADD {url} /a\n"));
    let said = project.refused(&[]);
    assert!(said.contains("--ssh default"), "{said}");
    project.built(&["--ssh", "default=id"]);
    assert_eq!(project.sh("cat /a/f"), "1\n");
    let id = project.path("id");
    project.store.ok(&["build", "-t", "t", "--ssh", &format!("default={}", id.display()), &url]);
    assert_eq!(project.sh("cat /f"), "1\n");
    // A host that is known by another key is another host.
    let known = project.store.dir().join(".ssh");
    fs::create_dir_all(&known).unwrap();
    key(&project.path("wrong"), "");
    let wrong = fs::read_to_string(project.path("wrong.pub")).unwrap();
    fs::write(known.join("known_hosts"), format!("[127.0.0.1]:{port} {wrong}")).unwrap();
    let said = project.refused(&["--no-cache", "--ssh", "default=id"]);
    assert!(said.contains("failed to load ssh://"), "{said}");
}
