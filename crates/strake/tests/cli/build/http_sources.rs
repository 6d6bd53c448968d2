//! ADD of URLs, and contexts and Dockerfiles at URLs.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use oci::Digest;

use crate::harness::ran;
use crate::project::Project;
use crate::web::{Answer, Body, Web};

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A file with an ETag that is its digest.
fn tagged(text: &str, asked: &crate::web::Asked) -> Answer {
    let tag = format!("\"{}\"", Digest::sha256(text.as_bytes()).short());
    let same = asked.header("if-none-match") == Some(tag.as_str());
    let answer = if same { Answer::new(304, "") } else { Answer::new(200, text) };
    answer.header("ETag", &tag).header("Last-Modified", MODIFIED)
}

#[test]
fn a_file_is_downloaded_once_while_it_stays_the_same() {
    let text = std::sync::Arc::new(Mutex::new("first\n".to_owned()));
    let served = text.clone();
    let web = Web::serve(move |asked| tagged(&served.lock().unwrap(), asked));
    let project = Project::new(&[]);
    let url = web.url("/dir/a%20file.txt?x=1");
    project.write(
        "Dockerfile",
        &format!(
            "FROM busybox\nADD {url} /in/\nADD --chown=app:app --chmod=644 {url} /other\nRUN stat -c '%n %a %u %g %Y' /in/* /other > /out\n"
        ),
    );
    project.built(&[]);
    assert_eq!(project.sh("cat /out"), "/in/a file.txt 600 0 0 784111777\n/other 644 1000 1001 784111777\n");
    assert_eq!(web.asked(), ["GET /dir/a%20file.txt?x=1"]);
    // Asked for, and not sent again; all steps are cached.
    let said = project.built(&[]);
    assert_eq!(web.asked(), ["HEAD /dir/a%20file.txt?x=1"]);
    assert!(!said.contains(" DONE 0.0s\n#6") && said.matches("CACHED").count() >= 4, "{said}");
    "second\n".clone_into(&mut text.lock().unwrap());
    project.built(&[]);
    assert_eq!(web.asked().last().unwrap(), "GET /dir/a%20file.txt?x=1");
    assert_eq!(project.sh("cat /other"), "second\n");
}

#[test]
fn the_server_may_say_what_a_file_is_called() {
    let web = Web::serve(|asked| {
        let answer = Answer::new(200, "x");
        match asked.path() {
            "/" => answer.header("Content-Disposition", "attachment; filename=\"../../etc/said.txt\""),
            _ => answer,
        }
    });
    let project = Project::new(&[]);
    let (named, star) = (web.url("/"), web.url("/a%2A%5Bb"));
    project
        .write("Dockerfile", &format!("FROM busybox\nADD {named} /in/\nADD {star} /in/\nADD {named} /f\n"));
    project.built(&[]);
    assert_eq!(project.sh("ls /in; ls -d /f"), "a*[b\nsaid.txt\n/f\n");
}

#[test]
fn checksums_are_verified_and_spare_the_question() {
    let web = Web::serve(|_| Answer::new(200, "known\n"));
    let right = Digest::sha256(b"known\n");
    let project = Project::new(&[]);
    let url = web.url("/f");
    project.write("Dockerfile", &format!("FROM busybox\nARG SUM={right}\nADD --checksum=$SUM {url} /f\n"));
    project.built(&[]);
    assert_eq!(web.asked().len(), 1);
    project.built(&["--no-cache"]);
    assert_eq!(web.asked().len(), 0, "what is known by its digest need not be asked for");
    let wrong = Digest::sha256(b"other");
    let said = project.refused(&["--build-arg", &format!("SUM={wrong}")]);
    assert!(said.contains(&format!("digest mismatch {right}: {wrong}")), "{said}");
    assert!(said.contains("3 | >>> ADD"), "{said}");
    let said = project.refused(&["--build-arg", "SUM=md5:12"]);
    assert!(said.contains("neither sha256 nor sha512"), "{said}");
}

#[test]
fn archives_are_unpacked_where_that_is_asked_for() {
    let project = Project::new(&[("f", "x\n")]);
    let tar = project.path("a.tar.gz");
    let mut command = std::process::Command::new("tar");
    command.arg("-czf").arg(&tar).arg("-C").arg(project.path("")).arg("f");
    assert!(command.status().unwrap().success());
    let bytes = std::fs::read(tar).unwrap();
    let web = Web::serve(move |_| Answer::new(200, bytes.clone()));
    let url = web.url("/a.tar.gz");
    project.write(
        "Dockerfile",
        &format!("FROM busybox\nADD {url} /plain/\nADD --unpack=true {url} /in/\nADD --unpack=false a.tar.gz /local/\nADD a.tar.gz /unpacked/\n"),
    );
    project.built(&[]);
    assert_eq!(
        project.sh("ls /plain /in /local /unpacked"),
        "/in:\nf\n\n/local:\na.tar.gz\n\n/plain:\na.tar.gz\n\n/unpacked:\nf\n"
    );
    assert_eq!(web.asked().len(), 1, "one URL is one download");
}

#[test]
fn redirects_are_followed_without_credentials_for_others() {
    let storage = Web::serve(|_| Answer::new(200, "far\n"));
    let far = storage.url("/object");
    let web = Web::serve(move |asked| match (asked.path(), asked.header("authorization")) {
        ("/circle", _) => Answer::new(302, "").header("Location", "/circle"),
        (_, Some("Bearer tok")) => Answer::new(302, "").header("Location", &far),
        _ => Answer::new(401, ""),
    });
    let project = Project::new(&[("token", "tok\n")]);
    project.write("Dockerfile", &format!("FROM busybox\nADD {} /f\n", web.url("/f")));
    let said = project.refused(&[]);
    assert!(
        said.contains("invalid response status 401") && said.contains("HTTP_AUTH_TOKEN_127.0.0.1"),
        "{said}"
    );
    project.built(&["--secret", "id=HTTP_AUTH_TOKEN_127.0.0.1,src=token"]);
    assert_eq!(project.sh("cat /f"), "far\n");
    let far = storage.requests();
    assert_eq!(far.len(), 1);
    assert_eq!(far[0].header("authorization"), None, "a token for one host went to another");
    project.write("Dockerfile", &format!("FROM busybox\nADD {} /f\n", web.url("/circle")));
    assert!(project.refused(&[]).contains("in a circle"));
}

#[test]
fn a_password_in_a_url_is_sent_and_not_shown() {
    let web = Web::serve(|asked| match asked.header("authorization") {
        Some("Basic bWU6aHVudGVyMg==") => Answer::new(200, "x"),
        _ => Answer::new(401, ""),
    });
    let project = Project::new(&[]);
    let url = format!("http://me:hunter2@{}/f", web.address);
    project.write("Dockerfile", &format!("FROM busybox\nADD {url} /f\n"));
    let said = project.built(&[]);
    let history = project.store.ok(&["history", "--no-trunc", "t"]);
    assert!(said.contains("me:xxxxx@") && !said.contains("hunter2"), "{said}");
    assert!(history.contains("me:xxxxx@") && !history.contains("hunter2"), "{history}");
    let stored =
        std::process::Command::new("grep").args(["-rl", "hunter2"]).arg(project.store.root()).output();
    assert_eq!(String::from_utf8_lossy(&stored.unwrap().stdout), "", "the store holds the password");
}

#[test]
fn bodies_are_bounded_and_what_breaks_is_tried_again() {
    let tries = std::sync::Arc::new(AtomicU32::new(0));
    let counted = tries.clone();
    let web = Web::serve(move |asked| match asked.path() {
        "/endless" => Answer { status: 200, headers: Vec::new(), body: Body::Endless },
        "/large" => Answer::new(200, vec![b'x'; 3 << 20]),
        "/shaky" => match counted.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::new(503, "").header("Retry-After", "0"),
            1 => Answer { status: 200, headers: Vec::new(), body: Body::Cut(vec![b'x'; 1 << 16]) },
            _ => Answer::new(200, "at last\n"),
        },
        _ => Answer::new(404, ""),
    });
    let project = Project::new(&[]);
    for path in ["/endless", "/large"] {
        project.write("Dockerfile", &format!("FROM busybox\nADD {} /f\n", web.url(path)));
        let said = project.refused(&["--max-download", "2m"]);
        assert!(said.contains("more than 2097152 bytes") && said.contains("--max-download"), "{said}");
    }
    project.write("Dockerfile", &format!("FROM busybox\nADD {} /f\n", web.url("/shaky")));
    project.built(&[]);
    assert_eq!(project.sh("cat /f"), "at last\n");
    project.write("Dockerfile", &format!("FROM busybox\nADD {} /f\n", web.url("/none")));
    let said = project.refused(&[]);
    assert!(said.contains("invalid response status 404"), "{said}");
}

#[test]
fn contexts_and_dockerfiles_at_urls() {
    let project = Project::new(&[
        ("in/Dockerfile", "FROM busybox\nCOPY . /ctx\n"),
        ("in/other/D", "FROM busybox\nCOPY f /from-other\n"),
        ("in/f", "x\n"),
        ("in/.dockerignore", "left-out\n"),
        ("in/left-out", ""),
    ]);
    let tar = std::process::Command::new("tar").args(["-cz", "-C"]).arg(project.path("in")).arg(".").output();
    let tar = tar.unwrap().stdout;
    let web = Web::serve(move |asked| match asked.path() {
        "/context.tar.gz" => Answer::new(200, tar.clone()).header("ETag", "\"1\""),
        "/Dockerfile" => Answer::new(200, "FROM busybox\nRUN echo alone > /f\n"),
        "/elsewhere" => Answer::new(200, "FROM busybox\nCOPY f /remote\n"),
        _ => Answer::new(404, ""),
    });
    let build = |args: &[&str]| {
        let ran = ran(project
            .store
            .command()
            .args(["build", "-t", "t"])
            .args(args)
            .current_dir(project.path("in")));
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.stderr);
    };
    build(&[&web.url("/context.tar.gz")]);
    assert_eq!(project.sh("ls -A /ctx"), ".dockerignore\nDockerfile\nf\nother\n");
    build(&["-f", "other/D", &web.url("/context.tar.gz")]);
    assert_eq!(project.sh("cat /from-other"), "x\n");
    assert_eq!(web.asked(), ["GET /context.tar.gz", "HEAD /context.tar.gz"]);
    build(&[&web.url("/Dockerfile")]);
    assert_eq!(project.sh("cat /f"), "alone\n");
    build(&["-f", &web.url("/elsewhere"), "."]);
    assert_eq!(project.sh("cat /remote"), "x\n");
}

#[test]
fn an_archive_does_not_lead_out_of_its_context() {
    let project = Project::new(&[("secret", "host\n")]);
    let out = project.path("secret");
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, link: Option<&std::path::Path>, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        let bytes = name.as_bytes();
        header.as_gnu_mut().unwrap().name[..bytes.len()].copy_from_slice(bytes);
        if let Some(link) = link {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_link_name(link).unwrap();
        }
        header.set_cksum();
        tar.append(&header, text.as_bytes()).unwrap();
    };
    add("Dockerfile", None, "FROM busybox\nCOPY . /ctx/\nCOPY link /taken\n");
    add("link", Some(&out), "");
    add(".dockerignore", Some(&out), "");
    add("D", Some(&out), "");
    let bytes = tar.into_inner().unwrap();
    let ran = project.store.run_with(&["build", "-t", "t", "-"], &bytes);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("not found") && !ran.stderr.contains("host\n"), "{}", ran.stderr);
    let ran = project.store.run_with(&["build", "-f", "D", "-"], &bytes);
    assert!(ran.code != 0 && !ran.stderr.contains("host"), "{}", ran.stderr);
    let mut climbing = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.as_gnu_mut().unwrap().name[..10].copy_from_slice(b"../climbed");
    header.set_cksum();
    climbing.append(&header, &b"x"[..]).unwrap();
    let ran = project.store.run_with(&["build", "-"], &climbing.into_inner().unwrap());
    assert_ne!(ran.code, 0);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}
