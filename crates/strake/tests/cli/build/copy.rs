//! COPY and ADD: what lands where, whose it is, and how it looks.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use crate::project::Project;

fn context() -> [(&'static str, &'static str); 5] {
    [("f", "f\n"), ("g.txt", "g\n"), ("d/one", "1\n"), ("d/sub/two", "2\n"), ("h.txt", "h\n")]
}

#[track_caller]
fn copied(instructions: &str, script: &str, expected: &str) {
    let project = Project::new(&context());
    project.write("Dockerfile", &format!("FROM busybox\n{instructions}\n"));
    project.built(&[]);
    assert_eq!(project.sh(script), expected, "{instructions}");
}

#[test]
fn destinations() {
    copied("COPY f /x", "cat /x", "f\n");
    copied("COPY f /x/", "cat /x/f", "f\n");
    copied("COPY f /new/dir/x", "cat /new/dir/x", "f\n");
    copied("COPY f g.txt /x/", "cat /x/f /x/g.txt", "f\ng\n");
    copied("COPY *.txt /x/", "ls /x", "g.txt\nh.txt\n");
    copied("COPY d /x", "find /x -type f | sort", "/x/one\n/x/sub/two\n");
    copied("COPY d/ /x/", "find /x -type f | sort", "/x/one\n/x/sub/two\n");
    copied("COPY [\"f\", \"/with space/\"]", "cat '/with space/f'", "f\n");
    copied("WORKDIR /w\nCOPY f rel", "cat /w/rel", "f\n");
    copied("WORKDIR /w\nCOPY f .", "cat /w/f", "f\n");
    copied("COPY f /lib/f", "cat /usr/lib/f; readlink /lib", "f\nusr/lib\n");
    copied("COPY . /all", "ls /all", "Dockerfile\nd\nf\ng.txt\nh.txt\n");
}

#[test]
fn owners_and_modes() {
    copied("COPY f /x", "stat -c '%u:%g' /x", "0:0\n");
    copied("COPY --chown=app f /x", "stat -c '%u:%g' /x", "1000:1001\n");
    copied("COPY --chown=app:extra d /x", "stat -c '%u:%g' /x /x/sub/two", "1000:2000\n1000:2000\n");
    copied("COPY --chown=55:66 f /new/x", "stat -c '%u:%g' /new/x", "55:66\n");
    copied("COPY --chmod=640 f /x", "stat -c '%a' /x", "640\n");
    copied("COPY --chmod=u=rwx,go=r f /x", "stat -c '%a' /x", "744\n");
}

#[test]
fn times_and_links_are_kept() {
    let project = Project::new(&context());
    let file = fs::File::options().write(true).open(project.path("f")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 0)).unwrap();
    symlink("one", project.path("d/link")).unwrap();
    fs::hard_link(project.path("d/one"), project.path("d/hard")).unwrap();
    fs::set_permissions(project.path("g.txt"), fs::Permissions::from_mode(0o4755)).unwrap();
    project.write("Dockerfile", "FROM busybox\nCOPY f g.txt /\nCOPY d /d\n");
    project.built(&[]);
    assert_eq!(project.sh("stat -c %Y /f; readlink /d/link; stat -c %a /g.txt"), "1000000000\none\n4755\n");
    let inodes = project.sh("stat -c %i /d/one /d/hard");
    let inodes: Vec<&str> = inodes.lines().collect();
    assert_eq!(inodes[0], inodes[1]);
}

#[test]
fn what_is_in_the_way() {
    let project = Project::new(&context());
    project.write(
        "Dockerfile",
        "FROM busybox\nRUN mkdir /x && echo old > /f && ln -s /f /to-f\nCOPY f /f\nCOPY g.txt /x\n",
    );
    project.built(&[]);
    assert_eq!(project.sh("cat /f /x/g.txt"), "f\ng\n");
    project.write("Dockerfile", "FROM busybox\nRUN echo > /x\nCOPY d /x\n");
    let said = project.refused(&[]);
    assert!(said.contains("/x"), "{said}");
}

#[test]
fn add_unpacks_archives_and_copy_does_not() {
    let project = Project::new(&context());
    for (flag, name) in [
        ("-c", "plain.tar"),
        ("-cz", "a.tgz"),
        ("-cj", "b.tar.bz2"),
        ("-cJ", "c.tar.xz"),
        ("--zstd", "d.tar.zst"),
    ] {
        let mut tar = Command::new("tar");
        if flag == "--zstd" {
            tar.arg("-c");
        }
        let made =
            tar.arg(flag).arg("-f").arg(project.path(name)).arg("-C").arg(project.path("")).arg("d").status();
        assert!(made.unwrap().success(), "{name}");
        project.write("Dockerfile", &format!("FROM busybox\nADD {name} /into/\nCOPY {name} /as-is\n"));
        project.built(&[]);
        assert_eq!(project.sh("cat /into/d/sub/two; test -s /as-is && echo kept"), "2\nkept\n", "{name}");
    }
    project.write("Dockerfile", "FROM busybox\nADD f /x\n");
    project.built(&[]);
    assert_eq!(project.sh("cat /x"), "f\n");
}

#[test]
fn link_parents_and_exclude() {
    copied("COPY --link f /x/f", "cat /x/f", "f\n");
    copied("COPY --parents d/sub/two f /x/", "cat /x/d/sub/two /x/f", "2\nf\n");
    copied("COPY --exclude=*.txt . /x/", "ls /x", "Dockerfile\nd\nf\n");
}

#[test]
fn volumes_keep_what_is_written_after() {
    copied("RUN mkdir /v\nVOLUME /v\nRUN echo kept > /v/f", "cat /v/f 2>&1 || true", "kept\n");
}
