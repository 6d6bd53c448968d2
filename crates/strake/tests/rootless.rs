//! Ordinary users: with a range of subordinate ids, without one, and inside of namespaces that others made. What root
//! makes is the measure: the same commands have to give the same images.
//!
//! It takes root, to be anyone, and the user `strake-test` of `scripts/install-test-needs`; else the tests say that
//! they are skipped. Not here: what needs a network, and real containers around strake.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Who runs the commands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Root,
    /// `strake-test`, who has a range.
    Ranged,
    /// The same, told to do without.
    Single,
    /// `nobody`, who has none.
    Rangeless,
}

const ALL: [Who; 4] = [Who::Root, Who::Ranged, Who::Single, Who::Rangeless];

impl Who {
    fn name(self) -> Option<&'static str> {
        match self {
            Who::Root => None,
            Who::Ranged | Who::Single => Some("strake-test"),
            Who::Rangeless => Some("nobody"),
        }
    }
}

/// A directory of the user's, with the binary, a store and a build context.
struct Place {
    dir: tempfile::TempDir,
    who: Who,
}

#[derive(Debug)]
struct Ran {
    stdout: String,
    stderr: String,
    code: i32,
}

/// Whether the tests can be others; says so if not.
fn can_be_others() -> bool {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let there = |name: &str| passwd.lines().any(|line| line.starts_with(&format!("{name}:")));
    if !rustix::process::geteuid().is_root() {
        println!("skipped: takes root");
        return false;
    }
    if !there("strake-test") || !there("nobody") {
        println!("skipped: there is no user strake-test (scripts/install-test-needs makes one)");
        return false;
    }
    true
}

impl Place {
    fn new(who: Who) -> Place {
        let dir = tempfile::Builder::new().prefix("strake-rootless-").tempdir().unwrap();
        let place = Place { dir, who };
        fs::set_permissions(place.path(""), PermissionsExt::from_mode(0o755)).unwrap();
        // The build directory may be closed to others.
        fs::hard_link(env!("CARGO_BIN_EXE_strake"), place.path("strake"))
            .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_strake"), place.path("strake")).map(drop))
            .unwrap();
        fs::create_dir(place.path("own")).unwrap();
        if let Some(name) = who.name() {
            assert!(Command::new("chown").arg(name).arg(place.path("own")).status().unwrap().success());
        }
        place
    }

    /// With `busybox:latest` in the store.
    fn with_base(who: Who) -> Place {
        let place = Place::new(who);
        let tree = place.path("base");
        for dir in ["bin", "etc/apt/apt.conf.d", "root", "home", "run"] {
            fs::create_dir_all(tree.join(dir)).unwrap();
        }
        fs::create_dir(tree.join("tmp")).unwrap();
        fs::set_permissions(tree.join("tmp"), PermissionsExt::from_mode(0o1777)).unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        fs::copy(busybox.expect("busybox-static is installed"), tree.join("bin/busybox")).unwrap();
        symlink("busybox", tree.join("bin/sh")).unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n";
        fs::write(tree.join("etc/passwd"), passwd).unwrap();
        fs::write(tree.join("etc/group"), "root:x:0:\nshadow:x:42:\napp:x:1001:\n").unwrap();
        fs::write(tree.join("etc/shadow"), "root:*:1::::::\n").unwrap();
        chown(tree.join("etc/shadow"), Some(0), Some(42)).unwrap();
        fs::set_permissions(tree.join("etc/shadow"), PermissionsExt::from_mode(0o640)).unwrap();
        tar(&tree, &place.path("base.tar"));
        place.ok(&["import", "-c", "ENV PATH=/bin", "../base.tar", "busybox"]);
        place
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// A program in the user's own directory, by the user.
    fn command(&self, program: &str) -> Command {
        let mut command = match self.who.name() {
            None => Command::new(program),
            Some(name) => {
                let mut command = Command::new("runuser");
                // It sets HOME to the user's own.
                let home = format!("HOME={}", self.path("own").display());
                command.args(["-u", name, "--", "env", &home, program]);
                command
            }
        };
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("own"))
            .env("STRAKE_ROOT", "store")
            .env("SOURCE_DATE_EPOCH", "1000000000")
            .current_dir(self.path("own"))
            .stdin(Stdio::null());
        if self.who == Who::Single {
            command.env("STRAKE_USERNS", "single");
        }
        command
    }

    fn strake(&self, args: &[&str]) -> Ran {
        let mut command = self.command("../strake");
        ran(command.args(args))
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let ran = self.strake(args);
        assert_eq!(ran.code, 0, "{:?} {args:?}: {ran:?}", self.who);
        ran.stdout
    }

    /// Builds a Dockerfile, with the context `../context`, and says which image it is.
    #[track_caller]
    fn build(&self, dockerfile: &str, tag: &str) -> String {
        fs::create_dir_all(self.path("context")).unwrap();
        fs::write(self.path("context/Dockerfile"), dockerfile).unwrap();
        self.ok(&["build", "-q", "-t", tag, "../context"])
    }

    /// The files of an image, as `tar -tv` lists them, without their times.
    fn listing(&self, image: &str) -> Vec<String> {
        let id = self.ok(&["create", image, "x"]);
        self.ok(&["export", "-o", "export.tar", id.trim()]);
        self.ok(&["rm", id.trim()]);
        list(&self.path("own/export.tar"))
    }
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code().unwrap_or(-1),
    }
}

fn tar(tree: &Path, archive: &Path) {
    let made = Command::new("tar")
        .args(["--sort=name", "--mtime=@1000", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-cf"])
        .arg(archive)
        .arg("-C")
        .arg(tree)
        .arg(".")
        .status();
    assert!(made.unwrap().success());
}

fn list(archive: &Path) -> Vec<String> {
    let listed = ran(Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(archive));
    assert_eq!(listed.code, 0, "{listed:?}");
    let fields = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        format!("{} {} {}", words[0], words[1], words[5..].join(" "))
    };
    listed.stdout.lines().map(fields).collect()
}

/// An archive of files of several owners, modes and kinds, with extended attributes.
fn archive(place: &Place) {
    let tree = place.path("tree");
    fs::create_dir_all(tree.join("dir")).unwrap();
    for (name, uid, gid, mode) in
        [("a", 11, 12, 0o4755), ("dir/b", 60_000, 33, 0o640), ("cap", 3, 4, 0o755), ("plain", 0, 0, 0o644)]
    {
        fs::write(tree.join(name), name).unwrap();
        chown(tree.join(name), Some(uid), Some(gid)).unwrap();
        fs::set_permissions(tree.join(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    fs::hard_link(tree.join("dir/b"), tree.join("hard")).unwrap();
    symlink("a", tree.join("link")).unwrap();
    lchown(tree.join("link"), Some(41), Some(42)).unwrap();
    chown(tree.join("dir"), Some(5), Some(6)).unwrap();
    fs::set_permissions(tree.join("dir"), PermissionsExt::from_mode(0o2775)).unwrap();
    let fifo = tree.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    lchown(&fifo, Some(7), Some(8)).unwrap();
    rustix::fs::setxattr(tree.join("a"), "user.hello", b"world", rustix::fs::XattrFlags::empty()).unwrap();
    // cap_net_raw=ep, in the form without a root id.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let none = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(tree.join("cap"), "security.capability", &capability, none).unwrap();
    fs::create_dir_all(place.path("context/tree/sub")).unwrap();
    tar(&tree, &place.path("context/tree.tar"));
    fs::write(place.path("context/tree/a"), "a").unwrap();
    fs::write(place.path("context/tree/sub/b"), "b").unwrap();
    symlink("a", place.path("context/tree/l")).unwrap();
}

/// Builds the same as everyone; the images have to be root's.
fn same_for_all(dockerfile: &str) -> Vec<(Place, String)> {
    let mut built: Vec<(Place, String)> = Vec::new();
    let mut expected: Option<(Vec<String>, String)> = None;
    for who in ALL {
        let place = Place::with_base(who);
        archive(&place);
        let id = place.build(dockerfile, "t");
        let listing = place.listing("t");
        match &expected {
            None => expected = Some((listing, id.clone())),
            Some((files, root)) => {
                for (theirs, ours) in files.iter().zip(&listing) {
                    assert_eq!(theirs, ours, "{who:?}");
                }
                assert_eq!(&id, root, "{who:?}");
            }
        }
        built.push((place, id));
    }
    built
}

#[test]
fn files_of_all_kinds_give_the_same_image() {
    if !can_be_others() {
        return;
    }
    let built = same_for_all(
        "FROM busybox AS one\n\
         ADD tree.tar /added/\n\
         COPY --chown=app:shadow tree /copied\n\
         COPY --chown=9:10 --chmod=4711 tree/a /b/a\n\
         RUN [\"busybox\", \"chown\", \"-h\", \"70:71\", \"/added/link\"]\n\
         RUN busybox mkdir -p /made/d && echo hi >/made/f && busybox ln /made/f /made/g && \
             busybox chown -R app:app /made && busybox chmod 6755 /made/f && busybox mkdir -m 1777 /made/t\n\
         RUN busybox chown root:root /copied/a && busybox chmod 600 /added/dir/b && busybox chgrp 99 /b\n\
         RUN busybox rm -r /added/dir && busybox mkdir /added/dir && echo >/added/dir/new\n\
         FROM busybox\n\
         COPY --from=one /added /added\n\
         COPY --from=one --chown=5:6 /made /made\n\
         COPY --from=one /copied/ /copied/\n\
         COPY --from=one /b /b\n",
    );
    let listing = built[0].0.listing("t");
    for line in ["-rwsr-xr-x 11/12 added/a", "lrwxrwxrwx 70/71 added/link -> a", "-rws--x--x 9/10 b/a"] {
        assert!(listing.iter().any(|listed| listed == line), "{line} in {listing:#?}");
    }
    // What one saves, the other loads.
    let (root, id) = &built[0];
    for (place, _) in &built[1..] {
        place.ok(&["save", "-o", "saved.tar", "t"]);
        let ran = root.strake(&["load", "-q", "-i", place.path("own/saved.tar").to_str().unwrap()]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(&root.ok(&["inspect", "-f", "{{.Id}}", "t"]).trim(), &id.trim());
        assert!(place.ok(&["system", "check"]).contains("snapshots"), "{:?}", place.who);
    }
}

#[test]
fn programs_that_hand_owners_on_keep_them() {
    if !can_be_others() {
        return;
    }
    same_for_all(
        "FROM busybox\n\
         ADD tree.tar /added/\n\
         COPY --chown=app:app tree /app\n\
         RUN busybox sed -i s/1/2/ /etc/shadow && busybox sed -i s/a/b/ /added/a && busybox sed -i s/a/b/ /added/plain\n\
         RUN busybox cp -a /app /app2 && busybox mv /app /app3 && busybox cp -p /etc/shadow /etc/shadow-\n\
         RUN echo a >/f && busybox chown 5:6 /f && busybox sed -i s/a/b/ /f && busybox cp -a /f /f.bak\n\
         RUN busybox mv /added/cap /added/moved && busybox mv /added/moved /added/again && echo >>/added/hard\n\
         RUN busybox mkdir /g && busybox chgrp 77 /g && busybox chmod 2775 /g && echo >/g/f && busybox mkdir /g/d\n\
         RUN busybox rm /f.bak && echo new >/f.bak\n\
         USER app\n\
         RUN echo mine >/tmp/mine && busybox mkdir -p /tmp/d/e && busybox ln -s mine /tmp/l && \
             busybox cp /etc/passwd /tmp/d/e/p && busybox cp -p /tmp/mine /tmp/mine2\n\
         WORKDIR /home/app/work\n",
    );
}

#[test]
fn apt_is_told_that_one_id_is_all_there_is() {
    if !can_be_others() {
        return;
    }
    let place = Place::with_base(Who::Single);
    let before = place.listing("busybox");
    let settings = "/etc/apt/apt.conf.d/99strake-single-id";
    place.build(&format!("FROM busybox\nRUN busybox grep -q 'Sandbox::User \"root\"' {settings}\n"), "t");
    assert_eq!(place.listing("t"), before, "nothing of it is left");
    assert!(place.ok(&["run", "--rm", "busybox", "busybox", "cat", settings]).contains("APT::Sandbox"));
    let warned = place.strake(&["run", "--rm", "busybox", "busybox", "true"]).stderr;
    assert_eq!(warned.matches("only one id is mapped").count(), 1, "{warned}");
    let ranged = Place::with_base(Who::Ranged);
    let ran = ranged.strake(&["run", "--rm", "busybox", "busybox", "ls", "/etc/apt/apt.conf.d"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str(), ran.code), ("", "", 0));
}

#[test]
fn every_verb_of_containers() {
    if !can_be_others() {
        return;
    }
    let mut listings = Vec::new();
    for who in ALL {
        let place = Place::with_base(who);
        let script = "echo hi >/f; busybox chown 5:6 /f; busybox mkdir -p /d/e; busybox chown 7:8 /d; \
                      busybox sed -i s/1/2/ /etc/shadow; echo out";
        assert_eq!(place.ok(&["run", "--name", "cc", "busybox", "sh", "-c", script]), "out\n");
        assert!(place.ok(&["ps", "-a"]).contains("Exited (0)"));
        assert_eq!(place.ok(&["diff", "cc"]), "A /d\nA /d/e\nC /etc\nC /etc/shadow\nA /f\n", "{who:?}");
        // A second run carries on.
        assert_eq!(place.ok(&["start", "-a", "cc"]), "out\n");
        fs::write(place.path("own/in"), "in").unwrap();
        place.ok(&["cp", "in", "cc:/d/in"]);
        place.ok(&["cp", "cc:/etc/shadow", "out"]);
        assert!(fs::read_to_string(place.path("own/out")).unwrap().starts_with("root"));
        let committed = place.ok(&["commit", "cc", "committed"]);
        assert!(committed.starts_with("sha256:"));
        place.ok(&["export", "-o", "c.tar", "cc"]);
        let exported = list(&place.path("own/c.tar"));
        assert_eq!(exported, place.listing("committed"), "{who:?}");
        let imported = place.ok(&["import", "c.tar", "imported"]);
        assert!(imported.starts_with("sha256:"));
        assert_eq!(place.listing("imported"), exported, "{who:?}");
        let mut listing = exported.clone();
        // Whoever is outside owns what comes in.
        listing.retain(|line| !line.ends_with(" d/in"));
        listings.push((who, listing));
        assert!(place.ok(&["images"]).contains("committed"));
        assert!(place.ok(&["system", "df"]).contains("Containers"));
        assert!(place.ok(&["logs", "cc"]).starts_with("out\n"));
        place.ok(&["system", "check"]);
        place.ok(&["rm", "-f", "cc"]);
        place.ok(&["system", "prune", "-af"]);
        assert_eq!(place.ok(&["images", "-q"]), "");
        for dir in ["snapshots", "containers", "work"] {
            let left = fs::read_dir(place.path("own/store").join(dir)).map_or(0, Iterator::count);
            assert_eq!(left, 0, "{who:?} {dir}");
        }
    }
    let (_, roots) = &listings[0];
    assert!(roots.iter().any(|line| line.contains(" 5/6 f")), "{roots:?}");
    assert!(roots.iter().any(|line| line.contains(" 0/42 etc/shadow")), "{roots:?}");
    for (who, listing) in &listings[1..] {
        assert_eq!(listing, roots, "{who:?}");
    }
}

#[test]
fn inside_user_namespaces_of_others() {
    if !can_be_others() {
        return;
    }
    let place = Place::with_base(Who::Ranged);
    for unshare in [&["-Ur"][..], &["-Urm"], &["-Urn"], &["-Urmp", "--fork", "--mount-proc"]] {
        let run = ran(place.command("unshare").args(unshare).args([
            "../strake",
            "--root",
            "inner",
            "import",
            "../base.tar",
            "b",
        ]));
        assert_eq!(run.code, 0, "{unshare:?}: {run:?}");
        let script = "busybox chown 5:6 /etc && echo $(busybox ls /proc/1/comm) $(busybox hostname)";
        let run = ran(place
            .command("unshare")
            .args(unshare)
            .args([
                "../strake",
                "--root",
                "inner",
                "run",
                "--name",
                "cc",
                "--hostname",
                "h",
                "b",
                "/bin/sh",
                "-c",
            ])
            .arg(format!("export PATH=/bin; {script}")));
        assert_eq!((run.stdout.as_str(), run.code), ("/proc/1/comm h\n", 0), "{unshare:?}: {run:?}");
        assert_eq!(run.stderr.matches("only one id is mapped").count(), 1, "{run:?}");
        let run =
            ran(place.command("unshare").args(unshare).args(["../strake", "--root", "inner", "rm", "cc"]));
        assert_eq!(run.code, 0, "{run:?}");
        let doctor = ran(place.command("unshare").args(unshare).args([
            "../strake",
            "--root",
            "inner",
            "system",
            "doctor",
        ]));
        assert_eq!(doctor.code, 0, "{doctor:?}");
        assert!(doctor.stdout.contains("only one id can be mapped"), "{doctor:?}");
    }
    // Root there, and nobody outside: the store is the user's own.
    let run =
        ran(place.command("unshare").env_remove("STRAKE_ROOT").args(["-Ur", "../strake", "images", "-q"]));
    assert_eq!((run.stderr.as_str(), run.code), ("", 0));
    assert!(place.path("own/.local/share/strake").exists());
}

/// A script, by root in a mount namespace of its own, in which the user then is: `as_user COMMAND…`.
fn in_mounts(place: &Place, script: &str) -> Ran {
    let name = place.who.name().unwrap_or("root");
    let script = format!("set -e; as_user() {{ runuser -u {name} -- \"$@\"; }}; {script}");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script]).current_dir(place.path("own"));
    ran(command.env("STRAKE_ROOT", "store").env("HOME", place.path("own")).stdin(Stdio::null()))
}

#[test]
fn without_newuidmap() {
    if !can_be_others() {
        return;
    }
    let place = Place::with_base(Who::Ranged);
    let hide = "for d in /usr/bin /bin /usr/sbin; do for n in newuidmap newgidmap; do \
                if [ -f $d/$n ]; then mount --bind /dev/null $d/$n; fi; done; done; ";
    let store = place.path("own/single");
    let run = in_mounts(
        &place,
        &format!(
            "{hide} as_user ../strake --root {0} import ../base.tar b; \
             as_user ../strake --root {0} run --rm b /bin/busybox chown 3:4 /etc; \
             as_user ../strake --root {0} system doctor",
            store.display()
        ),
    );
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("newuidmap is not installed (Debian's package uidmap)"), "{run:?}");
    assert!(run.stdout.contains("newuidmap is not installed (Debian's package uidmap)"), "{run:?}");
}

#[test]
fn under_a_masked_proc() {
    if !can_be_others() {
        return;
    }
    for who in [Who::Ranged, Who::Rangeless] {
        let place = Place::with_base(who);
        let run = in_mounts(
            &place,
            "mount --bind /dev/null /proc/kallsyms; \
             as_user ../strake run --rm busybox busybox sh -c 'busybox ls /proc/self/comm'; \
             as_user ../strake system doctor",
        );
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.stdout.starts_with("/proc/self/comm\n"), "{run:?}");
        assert!(run.stderr.contains("/proc shows the processes outside of the container too"), "{run:?}");
        assert!(run.stdout.contains("degraded  /proc"), "{run:?}");
        assert!(run.stdout.contains("--security-opt unmask=ALL"), "{run:?}");
    }
}

#[test]
fn with_the_store_on_overlayfs() {
    if !can_be_others() {
        return;
    }
    let place = Place::with_base(Who::Ranged);
    let run = in_mounts(
        &place,
        "mkdir ../l ../u ../w ../m; mount -t overlay none -o lowerdir=../l,upperdir=../u,workdir=../w ../m; \
         chmod 777 ../m; as_user ../strake --root ../m/store import ../base.tar b; \
         as_user ../strake --root ../m/store run --rm b /bin/busybox true || echo code $?; \
         as_user ../strake --root ../m/store system doctor || echo doctor $?",
    );
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("code 125\n") && run.stdout.contains("doctor 1\n"), "{run:?}");
    let why =
        "overlayfs cannot hold a writable overlayfs layer; put the store on another file system with --root";
    assert!(run.stderr.contains(why), "{run:?}");
    assert!(run.stdout.contains("missing   store's file system"), "{run:?}");
}

#[test]
fn where_user_namespaces_are_refused() {
    if !can_be_others() {
        return;
    }
    // An id that is not mapped makes none.
    let place = Place::new(Who::Ranged);
    let run = ran(place.command("unshare").args(["-U", "../strake", "run", "x"]));
    assert_ne!(run.code, 0);
    assert!(run.stderr.contains("user namespace"), "{run:?}");
    let doctor = ran(place.command("unshare").args(["-U", "../strake", "system", "doctor"]));
    assert_eq!(doctor.code, 1, "{doctor:?}");
    assert!(doctor.stdout.contains("missing   user namespaces"), "{doctor:?}");
}
