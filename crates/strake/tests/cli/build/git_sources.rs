//! ADD of Git repositories, and contexts that are such.

use std::os::unix::fs::symlink;

use crate::harness::{TestStore, ran};
use crate::project::Project;
use crate::repository::Repositories;
use crate::web::{Answer, Body, Web};

#[test]
fn a_commit_is_pinned_and_fetched_once() {
    let repositories = Repositories::new();
    let first = repositories.make("r", &[("f", "1\n"), ("dir/run.sh", "echo hi\n"), ("dir/sub/g", "g\n")]);
    std::fs::set_permissions(
        repositories.path("r/dir/run.sh"),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    let first = repositories.commit("r", &[]).replace(&first, "");
    let web = repositories.serve(None);
    let project = Project::new(&[]);
    let url = web.url("/r/.git");
    project.write(
        "Dockerfile",
        &format!(
            "FROM busybox\nADD {url} /all\nADD {url}#main:dir /dir/\nADD --chown=app --exclude=sub {url}?subdir=dir /owned\n\
             RUN find /all /dir /owned -type f | sort | xargs stat -c '%n %a %u %Y' > /out\n"
        ),
    );
    project.built(&[]);
    let listed = "/all/dir/run.sh 755 0 1577934245\n/all/dir/sub/g 644 0 1577934245\n/all/f 644 0 1577934245\n\
        /dir/run.sh 755 0 1577934245\n/dir/sub/g 644 0 1577934245\n/owned/run.sh 755 1000 1577934245\n";
    assert_eq!(project.sh("cat /out"), listed);
    web.asked();
    let id = project.id();
    let said = project.built(&[]);
    let asked = web.asked();
    assert!(
        asked.iter().all(|asked| !asked.contains("git-upload-pack HTTP") && asked.len() < 60),
        "{asked:?}"
    );
    assert_eq!(asked.iter().filter(|asked| asked.starts_with("GET")).count(), 3, "{asked:?}");
    assert!(said.matches("CACHED").count() >= 7, "{said}");
    assert_eq!(project.id(), id);
    // What is asked for by its commit need not be looked up.
    project.write("Dockerfile", &format!("FROM busybox\nADD {url}#{first} /all\n"));
    project.built(&[]);
    web.asked();
    repositories.commit("r", &[("f", "2\n")]);
    project.built(&["--no-cache"]);
    assert_eq!(web.asked(), Vec::<String>::new());
    assert_eq!(project.sh("cat /all/f"), "1\n");
    project.write("Dockerfile", &format!("FROM busybox\nADD {url} /all\n"));
    project.built(&[]);
    assert_eq!(project.sh("cat /all/f; ls -A /all"), "2\ndir\nf\n");
}

#[test]
fn tags_branches_checksums_and_dot_git() {
    let repositories = Repositories::new();
    let first = repositories.make("r", &[("f", "1\n")]);
    repositories.git("r", &["tag", "-a", "-m", "x", "v1"]);
    repositories.git("r", &["branch", "old"]);
    let second = repositories.commit("r", &[("f", "2\n")]);
    let web = repositories.serve(None);
    let project = Project::new(&[]);
    let url = web.url("/r/.git");
    project.write(
        "Dockerfile",
        &format!(
            "FROM busybox\nADD --checksum={first} {url}#v1 /tag\nADD {url}?branch=old /branch\n\
             ADD {url}?tag=v1&commit={} /both\nADD --keep-git-dir=true {url} /kept\nADD --keep-git-dir {url}#v1 /keptag\n",
            &first[..12]
        ),
    );
    project.built(&[]);
    assert_eq!(project.sh("cat /tag/f /branch/f /both/f /kept/f"), "1\n1\n1\n2\n");
    let head =
        project.sh("cat /kept/.git/HEAD /kept/.git/refs/heads/main; cat /kept/.git/config; ls -A /kept/.git");
    assert!(head.starts_with(&format!("ref: refs/heads/main\n{second}\n")), "{head}");
    assert!(head.contains(&url) && !head.contains("worktree") && !head.contains("FETCH_HEAD"), "{head}");
    assert!(project.sh("cat /keptag/.git/HEAD; ls /keptag/.git/refs/tags").ends_with("v1\n"));
    for (instruction, why) in [
        (format!("ADD --checksum={second} {url}#v1 /x"), "expected checksum to match"),
        (format!("ADD --checksum=xyz {url} /x"), "expected hex commit hash"),
        (format!("ADD {url}#none /x"), "does not contain ref none"),
        (format!("ADD {url}#main:none /x"), "is not in the repository"),
        (format!("ADD {url}#main:f /x"), "is not a directory"),
        (format!("ADD {url}?commit={first}&checksum={first} --keep-git-dir /x"), "more than one source"),
        (format!("ADD {url}#{} /x", "0".repeat(40)), "failed to load"),
        (format!("COPY {url} /x"), "source can't be a git ref"),
        (format!("ADD {url}?foo=1 /x"), "unexpected query"),
    ] {
        project.write("Dockerfile", &format!("FROM busybox\n{instruction}\n"));
        let said = project.refused(&[]);
        assert!(said.contains(why), "{instruction}: {said}");
    }
}

#[test]
fn submodules_come_along() {
    let repositories = Repositories::new();
    repositories.make("sub", &[("s", "sub\n")]);
    repositories.make("r", &[("f", "1\n")]);
    let web = repositories.serve(None);
    repositories.git("r", &["submodule", "--quiet", "add", &web.url("/sub/.git"), "mod"]);
    repositories.commit("r", &[]);
    let project = Project::new(&[]);
    let url = web.url("/r/.git");
    project.write(
        "Dockerfile",
        &format!("FROM busybox\nADD {url} /with\nADD {url}?submodules=false /without\n"),
    );
    project.built(&[]);
    assert_eq!(
        project.sh("cat /with/mod/s; ls -A /with/mod /without/mod"),
        "sub\n/with/mod:\ns\n\n/without/mod:\n"
    );
}

#[test]
fn secrets_open_repositories() {
    let repositories = Repositories::new();
    repositories.make("sub", &[("s", "sub\n")]);
    repositories.make("r", &[("f", "1\n")]);
    // Where the module is follows from where the repository is, password and all.
    repositories.make("with", &[("f", "1\n")]);
    let sub = repositories.path("sub");
    repositories.git("with", &["submodule", "--quiet", "add", sub.to_str().unwrap(), "mod"]);
    repositories.git("with", &["config", "-f", ".gitmodules", "submodule.mod.url", "../../sub/.git"]);
    repositories.commit("with", &[]);
    // x-access-token:hunter2
    let web = repositories.serve(Some("basic eC1hY2Nlc3MtdG9rZW46aHVudGVyMg=="));
    let project = Project::new(&[("token", "hunter2\n")]);
    project.write("Dockerfile", &format!("FROM busybox\nADD {} /a\n", web.url("/r/.git")));
    let said = project.refused(&[]);
    assert!(said.contains("GIT_AUTH_TOKEN"), "{said}");
    let said = project.built(&["--secret", "id=GIT_AUTH_TOKEN,src=token"]);
    assert!(!said.contains("hunter2"), "{said}");
    project.store.ok(&["builder", "prune", "-af"]);
    let id = format!("id=GIT_AUTH_HEADER.{},env=HEADER", web.address);
    let built = ran(project
        .store
        .command()
        .args(["build", "--no-cache", "--secret", &id, "."])
        .env("HEADER", "basic eC1hY2Nlc3MtdG9rZW46aHVudGVyMg==")
        .current_dir(project.path("")));
    assert_eq!(built.code, 0, "{}", built.stderr);
    // A password in the remote is in nothing that stays: not that of the submodule's remote either, and nothing is
    // there that is another thing tomorrow.
    let url = format!("http://x-access-token:hunter2@{}/with/.git", web.address);
    project.write("Dockerfile", &format!("FROM busybox\nADD --keep-git-dir {url} /a\n"));
    let said = project.built(&["--no-cache"]);
    assert!(!said.contains("hunter2"), "{said}");
    let modules = project.sh("cat /a/mod/s; ls -A /a/.git/modules/mod; grep url /a/.git/modules/mod/config");
    assert!(modules.starts_with("sub\n") && modules.contains(":xxxxx@"), "{modules}");
    assert!(!modules.contains("hooks") && !modules.contains("logs"), "{modules}");
    let stored =
        std::process::Command::new("grep").args(["-rl", "hunter2"]).arg(project.store.root()).output();
    assert_eq!(String::from_utf8_lossy(&stored.unwrap().stdout), "", "the store holds the password");
}

#[test]
fn repositories_as_contexts() {
    let repositories = Repositories::new();
    repositories.make(
        "r",
        &[
            ("Dockerfile", "FROM busybox\nCOPY . /ctx\n"),
            ("sub/Dockerfile", "FROM busybox\nCOPY --from=more f /more\nCOPY . /sub\n"),
            ("sub/f", "1\n"),
            (".dockerignore", "sub\n"),
        ],
    );
    let web = repositories.serve(None);
    let project = Project::new(&[]);
    let url = web.url("/r/.git");
    project.store.ok(&["build", "-t", "t", &url]);
    assert_eq!(project.sh("ls -A /ctx"), ".dockerignore\nDockerfile\n");
    let more = format!("more={url}#main:sub");
    project.store.ok(&["build", "-t", "t", "--build-context", &more, &format!("{url}#main:sub")]);
    assert_eq!(project.sh("cat /more; ls /sub"), "1\nDockerfile\nf\n");
    project.store.ok(&["build", "-t", "t", "--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1", &url]);
    assert_eq!(project.sh("cat /ctx/.git/HEAD"), "ref: refs/heads/main\n");
    project.store.ok(&["build", "-t", "t", "-f", "sub/Dockerfile", "--build-context", &more, &url]);
}

#[test]
fn dumb_servers_will_do() {
    let repositories = Repositories::new();
    let commit = repositories.make("r", &[("f", "1\n")]);
    repositories.commit("r", &[("f", "2\n")]);
    let web = repositories.serve_files("r/.git");
    let project = Project::new(&[]);
    let url = web.url("/r/.git");
    project.write("Dockerfile", &format!("FROM busybox\nADD {url} /a\nADD {url}#{commit} /b\n"));
    project.built(&[]);
    assert_eq!(project.sh("cat /a/f /b/f"), "2\n1\n");
}

#[test]
fn hostile_repositories() {
    let repositories = Repositories::new();
    let project = Project::new(&[("host", "host\n")]);
    repositories.make("links", &[("f", "1\n")]);
    symlink(project.path("host"), repositories.path("links/out")).unwrap();
    symlink("..", repositories.path("links/up")).unwrap();
    repositories.commit("links", &[]);
    // Submodules from the file system, from a command, and with an option for a URL.
    let module = |url: &str| format!("[submodule \"m\"]\n\tpath = m\n\turl = {url}\n");
    let touched = project.path("touched");
    for (name, url) in [
        ("file", format!("file://{}", repositories.path("links").display())),
        ("path", repositories.path("links").display().to_string()),
        ("ext", format!("ext::sh -c touch% {}", touched.display())),
        ("dash", format!("--upload-pack=touch {}", touched.display())),
    ] {
        let commit = repositories.make(name, &[(".gitmodules", &module(&url))]);
        repositories.git(name, &["update-index", "--add", "--cacheinfo", &format!("160000,{commit},m")]);
        repositories.git(name, &["commit", "-q", "-m", "y"]);
    }
    let update = format!("{}\tupdate = !touch {}\n", module("http://127.0.0.1:1/x"), touched.display());
    let commit = repositories.make("update", &[(".gitmodules", &update)]);
    repositories.git("update", &["update-index", "--add", "--cacheinfo", &format!("160000,{commit},m")]);
    repositories.git("update", &["commit", "-q", "-m", "y"]);
    let web = repositories.serve(None);
    for name in ["file", "path", "ext", "dash", "update"] {
        project.write("Dockerfile", &format!("FROM busybox\nADD {} /a\n", web.url(&format!("/{name}/.git"))));
        let said = project.refused(&[]);
        assert!(said.contains("git submodule failed"), "{name}: {said}");
    }
    assert!(!touched.exists());
    // Links stay links, and lead nowhere while files are copied.
    let links = web.url("/links/.git");
    project.write(
        "Dockerfile",
        &format!("FROM busybox\nADD {links} /a\nRUN readlink /a/out > /o; readlink /a/up >> /o\n"),
    );
    project.built(&[]);
    assert_eq!(project.sh("cat /o"), format!("{}\n..\n", project.path("host").display()));
    for subdir in ["up", "out", "../..", "up/up"] {
        project.write("Dockerfile", &format!("FROM busybox\nADD {links}#main:{subdir} /b\nRUN ls /b > /o\n"));
        let ran = project.build(&[]);
        assert!(ran.code != 0 || project.sh("cat /o") == "f\nout\nup\n", "{subdir}: {}", ran.stderr);
    }
    let context = format!("n={links}");
    project.write("Dockerfile", "FROM busybox\nCOPY --from=n out /taken\n");
    let said = project.refused(&["--build-context", &context]);
    assert!(said.contains("not found"), "{said}");
    // What would be an option of git or ssh.
    for source in [
        format!("{links}#--upload-pack=touch"),
        "ssh://-oProxyCommand=touch/x".to_owned(),
        "git@-oProxyCommand=touch:x".to_owned(),
    ] {
        project.write("Dockerfile", &format!("FROM busybox\nADD {source} /a\n"));
        project.refused(&[]);
    }
}

#[test]
fn credentials_do_not_follow_redirects() {
    let repositories = Repositories::new();
    repositories.make("r", &[("f", "1\n")]);
    let elsewhere = repositories.serve(None);
    let there = elsewhere.url("");
    let web =
        Web::serve(move |asked| Answer::new(302, "").header("Location", &format!("{there}{}", asked.target)));
    let project = Project::new(&[("token", "hunter2-hunter2\n")]);
    project.write("Dockerfile", &format!("FROM busybox\nADD {} /a\n", web.url("/r/.git")));
    let said = project.refused(&["--secret", &format!("id=GIT_AUTH_TOKEN.{},src=token", web.address)]);
    assert!(said.contains("name the place that it is at now"), "{said}");
    assert!(web.requests().iter().any(|asked| asked.header("authorization").is_some()));
    assert!(elsewhere.requests().iter().all(|asked| asked.header("authorization").is_none()));
    // Without any there is nothing to lose.
    project.built(&[]);
}

/// A checksum may be an annotated tag's. Which commit that is of is said by the tag itself, not by the server's list.
#[test]
fn the_checksum_of_a_tag_holds_its_commit() {
    let repositories = Repositories::new();
    let first = repositories.make("r", &[("f", "1\n")]);
    let second = repositories.commit("r", &[("f", "2\n")]);
    repositories.git("r", &["tag", "-a", "-m", "x", "v1"]);
    let tag = repositories.git("r", &["rev-parse", "v1"]).trim().to_owned();
    let web = repositories.serve_files("r");
    let project = Project::new(&[]);
    let url = web.url("/r/.git");
    let add = |checksum: &str| format!("FROM busybox\nADD --checksum={checksum} {url}#v1 /a\n");
    project.write("Dockerfile", &add(&tag));
    project.built(&[]);
    assert_eq!(project.sh("cat /a/f"), "2\n");
    // The version before, under the same tag; it may have been here before for itself.
    let listed = repositories.path("r/.git/info/refs");
    let refs = std::fs::read_to_string(&listed).unwrap();
    let lie = refs.replace(&format!("{second}\trefs/tags/v1^{{}}"), &format!("{first}\trefs/tags/v1^{{}}"));
    assert_ne!(refs, lie);
    std::fs::write(&listed, lie).unwrap();
    let said = project.refused(&[]);
    assert!(said.contains(&format!("the tag {tag} that does is not one of commit {first}")), "{said}");
    project.write("Dockerfile", &format!("FROM busybox\nADD {url}#v1 /a\n"));
    project.built(&[]);
    project.write("Dockerfile", &add(&tag));
    project.refused(&[]);
}

#[test]
fn a_few_objects_that_would_be_millions_of_files() {
    let repositories = Repositories::new();
    repositories.make("bomb", &[("f", "x\n")]);
    let mut tree = repositories.git("bomb", &["rev-parse", "HEAD^{tree}"]).trim().to_owned();
    for _ in 0..7 {
        let list: String = (0..10).map(|n| format!("040000 tree {tree}\td{n}\n")).collect();
        std::fs::write(repositories.path("bomb/.git/list"), list).unwrap();
        let made = std::process::Command::new("git")
            .arg("mktree")
            .current_dir(repositories.path("bomb"))
            .stdin(std::fs::File::open(repositories.path("bomb/.git/list")).unwrap())
            .output()
            .unwrap();
        tree = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    }
    let commit = repositories.git("bomb", &["commit-tree", "-m", "x", &tree]).trim().to_owned();
    repositories.git("bomb", &["update-ref", "refs/heads/main", &commit]);
    repositories.make("large", &[("f", &"x".repeat(3 << 20))]);
    let web = repositories.serve(None);
    let project = Project::new(&[]);
    project.write("Dockerfile", &format!("FROM busybox\nADD {} /a\n", web.url("/bomb/.git")));
    let said = project.refused(&[]);
    assert!(said.contains("its files are more than 2000000 files"), "{said}");
    project.write("Dockerfile", &format!("FROM busybox\nADD {} /a\n", web.url("/large/.git")));
    let said = project.refused(&["--max-download", "1m"]);
    assert!(said.contains("--max-download"), "{said}");
}

#[test]
fn the_same_digest_for_everyone_everywhere() {
    let repositories = Repositories::new();
    repositories.make("r", &[("f", "1\n"), ("d/g", "2\n")]);
    let web = repositories.serve(None);
    let files =
        Web::serve(|_| Answer::new(200, "x\n").header("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT"));
    let file = format!(
        "FROM scratch\nADD {} /git\nADD {} /\nADD --checksum={} {} /other\n",
        web.url("/r/.git"),
        files.url("/file"),
        oci::Digest::sha256(b"x\n"),
        files.url("/plain"),
    );
    let build = |store: &TestStore| {
        let args = ["build", "-q", "--build-arg", "SOURCE_DATE_EPOCH=0", "-"];
        let ran = store.run_with(&args, file.as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stdout
    };
    let id = build(&TestStore::new());
    assert_eq!(build(&TestStore::new()), id);
    let Some(user) = TestStore::of_an_ordinary_user() else { return };
    assert_eq!(build(&user), id);
}

#[test]
fn a_download_is_given_up_when_that_is_asked_for() {
    let web = Web::serve(|_| Answer { status: 200, headers: Vec::new(), body: Body::Endless });
    let project = Project::new(&[]);
    project.write("Dockerfile", &format!("FROM busybox\nADD {} /f\n", web.url("/endless")));
    let mut command = project.store.command();
    command.args(["build", "."]).current_dir(project.path("")).stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    while web.asked().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(!child.wait().unwrap().success());
    // So it is where another step fails.
    let file = format!(
        "FROM busybox AS a\nADD {} /f\nFROM busybox AS b\nRUN sleep 0.3; exit 7\nFROM busybox\nCOPY --from=a /f /\nCOPY --from=b /f /g\n",
        web.url("/endless")
    );
    project.write("Dockerfile", &file);
    let said = project.refused(&["--jobs", "4"]);
    assert!(said.contains("exit code: 7"), "{said}");
    project.store.ok(&["system", "prune", "-af"]);
}

#[test]
fn without_git_it_is_said_what_is_missing() {
    let project = Project::new(&[("Dockerfile", "FROM busybox\nADD https://127.0.0.1:1/x.git /a\n")]);
    let bin = project.path("bin");
    std::fs::create_dir(&bin).unwrap();
    let busybox =
        ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| std::path::Path::new(path).exists());
    symlink(busybox.unwrap(), bin.join("sh")).unwrap();
    for path in [bin.to_str().unwrap(), "/nonexistent"] {
        let built =
            ran(project.store.command().args(["build", "."]).env("PATH", path).current_dir(project.path("")));
        assert!(built.code != 0 && built.stderr.contains("install git"), "{}", built.stderr);
    }
}
