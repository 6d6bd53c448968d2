//! Sources, destinations, owners and permissions.

use graph::{Copy, FileAction, FileOp, MakeDir, MakeFile};
use runtime::Mode;
use solver::file::Input;

use crate::bed::*;

#[test]
fn destinations() {
    let context = "a = 1\n dir/b = 2\n 700 dir/sub/\n dir/sub/c = 3";
    // A file to a name, to a directory that has to be made, to one that is there.
    check("", context, [copy(&["/a"], "/x")], "x = 1");
    check("", context, [copy(&["/a"], "/x/")], "x/\n x/a = 1");
    check("", context, [copy(&["/a"], "/x/.")], "x/\n x/a = 1");
    check("", context, [copy(&["/a"], "/x/y")], "x/\n x/y = 1");
    check("x/", context, [copy(&["/a"], "/x")], "x/\n x/a = 1");
    check("", context, [copy(&["/a"], "/")], "a = 1");
    // A directory's content, never itself.
    check("", context, [copy(&["/dir"], "/x")], "x/\n x/b = 2\n 700 x/sub/\n x/sub/c = 3");
    check("", context, [copy(&["/dir"], "/x/")], "x/\n x/b = 2\n 700 x/sub/\n x/sub/c = 3");
    check("", context, [copy(&["/dir"], "/")], "b = 2\n 700 sub/\n sub/c = 3");
    check(
        "",
        context,
        [copy(&["/"], "/x")],
        "x/\n x/a = 1\n x/dir/\n x/dir/b = 2\n 700 x/dir/sub/\n x/dir/sub/c = 3",
    );
    check("", context, [copy(&["/dir/sub"], "/x/y/z")], "x/\n x/y/\n x/y/z/\n x/y/z/c = 3");
    // Several.
    check("", context, [copy(&["/a", "/dir/b"], "/x/")], "x/\n x/a = 1\n x/b = 2");
    check(
        "",
        context,
        [copy(&["/a", "/dir/b"], "/x")],
        "error: when using COPY with more than one source file, the destination must be a directory and end with a /: \"/x\"",
    );
    // The last one wins.
    check("", context, [copy(&["/a"], "/x"), copy(&["/dir/b"], "/x")], "x = 2");
}

#[test]
fn what_is_there() {
    let context = "f = new\n dir/f = new\n dir/sub/f = new\n link -> f\n file/x = new";
    let base = "700 5:6 app/\n app/f = old\n 700 5:6 app/sub/\n app/sub/f = old\n app/sub/g = old\n app/file = old\n l -> app";
    if mode() != Mode::SingleId {
        check(
            base,
            context,
            [copy(&["/dir"], "/app")],
            "5:6 700 app/\n app/f = new\n app/sub/\n app/sub/f = new",
        );
        check(
            base,
            context,
            [copy(&["/dir"], "/l")],
            "5:6 700 app/\n app/f = new\n app/sub/\n app/sub/f = new",
        );
        check(base, context, [copy(&["/f"], "/l/")], "5:6 700 app/\n app/f = new");
        check(
            base,
            context,
            [copy(&["/f"], "/l/sub/new/x")],
            "5:6 700 app/\n 5:6 700 app/sub/\n app/sub/new/\n app/sub/new/x = new",
        );
    }
    let base =
        "app/f = old\n app/sub/f = old\n app/file = old\n to -> app/f\n gone -> not/here\n loop -> loop";
    check(base, context, [copy(&["/file"], "/app/file")], "error: cannot copy to non-directory: /app/file");
    check(base, context, [copy(&["/"], "/app")], "error: cannot copy to non-directory: /app/file");
    check(base, "sub = 1", [copy(&["/"], "/app")], "error: cannot replace to directory /app/sub with file");
    check(base, context, [copy(&["/f"], "/app/file/x")], "error: mkdir /app/file: not a directory");
    check(base, context, [copy(&["/f"], "/loop")], "error: /loop: too many levels of symbolic links");
    // A destination that is a link is written where it leads; a link in the way of a copied file is replaced.
    check(base, context, [copy(&["/f"], "/to")], "app/\n app/f = new");
    check(base, context, [copy(&["/f"], "/gone")], "not/\n not/here = new");
    check(base, "to = new", [copy(&["/"], "/")], "to = new");
}

#[test]
fn sources_that_are_links() {
    let context = "real/f = 1\n real/in -> f\n dir -> real\n file -> real/f\n abs -> /real/f\n out -> /etc/hostname\n up -> ../../../real\n loop -> loop\n deep/er -> ../dir";
    // A source is followed, as if the context were the root; what is below it is not.
    check("", context, [copy(&["/dir"], "/x")], "x/\n x/f = 1\n x/in -> f");
    check("", context, [copy(&["/file"], "/x/")], "x/\n x/file = 1");
    check("", context, [copy(&["/abs"], "/x")], "x = 1");
    check("", context, [copy(&["/up/f"], "/x")], "x = 1");
    check("", context, [copy(&["/deep/er/in"], "/x")], "x = 1");
    check("", context, [copy(&["/deep"], "/x")], "x/\n x/er -> ../dir");
    // Nothing outside is ever read: the link leads to a file that the context does not have.
    check("", context, [copy(&["/out"], "/x")], "error: \"/out\" not found in the build context");
    check(
        "",
        context,
        [copy(&["/loop"], "/x")],
        "error: \"loop\" in the build context: too many levels of symbolic links",
    );
    // `..` stops at the root.
    check("", context, [copy(&["../../real/f"], "/x")], "x = 1");
}

#[test]
fn wildcards() {
    let context =
        "a.txt = 1\n b.txt = 2\n c.md = 3\n d/a.txt = 4\n d/e/a.txt = 5\n l -> d\n txt/x = 6\n [ab].txt = 7";
    check("", context, [copy(&["/*.txt"], "/x/")], "x/\n x/[ab].txt = 7\n x/a.txt = 1\n x/b.txt = 2");
    check("", context, [copy(&["/[ab].txt"], "/x/")], "x/\n x/a.txt = 1\n x/b.txt = 2");
    check("", context, [copy(&["/[[]ab].txt"], "/x/")], "x/\n x/[ab].txt = 7");
    check("", context, [copy(&["/?.md"], "/x")], "x = 3");
    check("", context, [copy(&["/*/a.txt"], "/x/")], "x/\n x/a.txt = 4");
    check("", context, [copy(&["/d/*/a.txt"], "/x/")], "x/\n x/a.txt = 5");
    // Directories give their content, links among what fits are followed.
    check("", context, [copy(&["/[dt]*"], "/x/")], "x/\n x/a.txt = 4\n x/e/\n x/e/a.txt = 5\n x/x = 6");
    check("", context, [copy(&["/l*"], "/x/")], "x/\n x/a.txt = 4\n x/e/\n x/e/a.txt = 5");
    check("", context, [copy(&["/l/*.txt"], "/x/")], "x/\n x/a.txt = 4");
    // Nothing that fits is no error; a malformed pattern is one.
    check("", context, [copy(&["/c.md", "/no*"], "/x/")], "x/\n x/c.md = 3");
    check("", context, [copy(&["/no*"], "/x/")], "");
    check("", context, [copy(&["/[a"], "/x/")], "error: syntax error in pattern: \"[a\"");
}

#[test]
fn left_out() {
    let exclude = |sources: &[&str], exclude: &[&str]| Copy {
        exclude: exclude.iter().map(|p| (*p).to_owned()).collect(),
        ..copy(sources, "/x/")
    };
    let context = "a.txt = 1\n a.md = 2\n d/a.txt = 3\n d/a.md = 4\n d/e/a.txt = 5\n g/a.txt = 6";
    check(
        "",
        context,
        [exclude(&["/"], &["*.txt"])],
        "x/\n x/a.md = 2\n x/d/\n x/d/a.md = 4\n x/d/a.txt = 3\n x/d/e/\n x/d/e/a.txt = 5\n x/g/\n x/g/a.txt = 6",
    );
    check(
        "",
        context,
        [exclude(&["/"], &["**/*.txt"])],
        "x/\n x/a.md = 2\n x/d/\n x/d/a.md = 4\n x/d/e/\n x/g/",
    );
    check(
        "",
        context,
        [exclude(&["/"], &["d", "g", "!d/e"])],
        "x/\n x/a.md = 2\n x/a.txt = 1\n x/d/\n x/d/e/\n x/d/e/a.txt = 5",
    );
    check("", context, [exclude(&["/d"], &["e", "*.md"])], "x/\n x/a.txt = 3");
    check("", context, [exclude(&["/a.*"], &["*.md"])], "x/\n x/a.txt = 1");
    check("", context, [exclude(&["/a.md"], &["*.md"])], "");
    check("", context, [exclude(&["/"], &["["])], "error: syntax error in pattern: \"[\"");
}

#[test]
fn with_parents() {
    let parents = |sources: &[&str], dest: &str| Copy { parents: true, ..copy(sources, dest) };
    let context = "p/a/pkg = 1\n 700 p/b/\n p/b/pkg = 2\n p/b/src = 3\n q/c/pkg = 4\n top = 5";
    check(
        "",
        context,
        [parents(&["/p/*/pkg"], "/x/")],
        "x/\n x/p/\n x/p/a/\n x/p/a/pkg = 1\n 700 x/p/b/\n x/p/b/pkg = 2",
    );
    check("", context, [parents(&["/p/b"], "/x/")], "x/\n x/p/\n 700 x/p/b/\n x/p/b/pkg = 2\n x/p/b/src = 3");
    check("", context, [parents(&["/p/./a/pkg"], "/x/")], "x/\n x/a/\n x/a/pkg = 1");
    check("", context, [parents(&["/./q/c/pkg", "/top"], "/")], "q/\n q/c/\n q/c/pkg = 4\n top = 5");
    check(
        "",
        context,
        [parents(&["/**/pkg"], "/x/")],
        "x/\n x/p/\n x/p/a/\n x/p/a/pkg = 1\n 700 x/p/b/\n x/p/b/pkg = 2\n x/q/\n x/q/c/\n x/q/c/pkg = 4",
    );
    check("", context, [parents(&["/no/*/pkg"], "/x/")], "");
    check("", context, [parents(&["/p/c/pkg"], "/x/")], "error: \"/p/c/pkg\" not found in the build context");
}

#[test]
fn owners_and_permissions() {
    let context = "755 run = 1\n 600 dir/secret = 2\n 711 dir/sub/\n l -> run";
    let with = |sources: &[&str], dest: &str, owner: Option<&str>, mode: Option<&str>| Copy {
        owner: owner.map(str::to_owned),
        mode: mode.map(str::to_owned),
        ..copy(sources, dest)
    };
    let base = "etc/passwd = root:x:0:0::/root:/bin/sh\\napp:x:7:8::/:/bin/sh\n etc/group = root:x:0:\\naudio:x:29:app";
    check(base, context, [with(&["/run"], "/new/x", Some("app"), None)], "7:8 new/\n 7:8 755 new/x = 1");
    check(base, context, [with(&["/run"], "/x", Some("app:audio"), None)], "7:29 755 x = 1");
    check(base, context, [with(&["/run"], "/x", Some("5"), None)], "5:5 755 x = 1");
    check("", context, [with(&["/run"], "/x", Some("root:3"), None)], "0:3 755 x = 1");
    check(
        base,
        context,
        [with(&["/"], "/x", Some("5:6"), Some("640"))],
        "5:6 640 x/\n 5:6 640 x/dir/\n 5:6 640 x/dir/secret = 2\n 5:6 640 x/dir/sub/\n 5:6 x/l -> run\n 5:6 640 x/run = 1",
    );
    check(base, context, [with(&["/dir"], "/x", None, Some("u=rwX,go=rX"))], "x/\n x/secret = 2\n x/sub/");
    check(base, context, [with(&["/run"], "/x", None, Some("g=u,o="))], "770 x = 1");
    let unknown = "error: unable to convert uid/gid chown string to host mapping: unable to find";
    for (owner, what) in [("who", "user who"), ("app:none", "group none")] {
        let expected = format!(
            "{unknown} {what}: no matching entries in {} file of the image",
            if owner == "who" { "passwd" } else { "group" }
        );
        check(base, context, [with(&["/run"], "/x", Some(owner), None)], &expected);
    }
}

#[test]
fn from_a_stage() {
    if !is_root() || mode() == Mode::SingleId {
        return;
    }
    let place = Place::new();
    let stage = place.tree("stage", "755 5:6 bin/tool = 1\n 700 5:6 data/\n data/f = 2\n l -> bin/tool");
    let copied = |copy: Copy| {
        let out = place.layer();
        let input = Input::Image { lowers: vec![stage.clone()], label: "stage build".to_owned() };
        run(&op([copy]), &[], input, &out).map(|_| text_of(&out)).map_err(|error| error.to_string())
    };
    let keep = |copy: Copy| Copy { keep_owner: true, ..copy };
    assert_eq!(copied(keep(copy(&["/bin/tool"], "/x/"))).unwrap(), "x/\n5:6 755 x/tool = 1\n");
    assert_eq!(
        copied(keep(copy(&["/"], "/x"))).unwrap(),
        "x/\nx/bin/\n5:6 755 x/bin/tool = 1\n5:6 700 x/data/\nx/data/f = 2\nx/l -> bin/tool\n"
    );
    assert_eq!(copied(keep(copy(&["/l"], "/x"))).unwrap(), "5:6 755 x = 1\n");
    let chown = Copy { owner: Some("7:8".to_owned()), ..copy(&["/bin/tool"], "/x") };
    assert_eq!(copied(chown).unwrap(), "7:8 755 x = 1\n");
    let text = copied(copy(&["/bin/tol"], "/x")).unwrap_err();
    assert_eq!(text, "\"/bin/tol\" not found in stage build: did you mean \"bin/tool\"?");
}

#[test]
fn directories_and_files_made() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let base = place.tree("base", "etc/passwd = app:x:7:8::/:/bin/sh\n srv -> var/srv\n 700 var/\n file = 1");
    let made = |actions: Vec<FileAction>| {
        let out = place.layer();
        let context = everything(&base);
        let done = run(&FileOp { actions }, std::slice::from_ref(&base), Input::Context(&context), &out);
        done.map(|done| (text_of(&out), done.stat.inodes)).map_err(|error| error.to_string())
    };
    let dir = |path: &str, owner: Option<&str>| {
        FileAction::MakeDir(MakeDir { path: path.into(), mode: 0o755, owner: owner.map(str::to_owned) })
    };
    let file = |dest: &str, mode: Option<&str>| {
        FileAction::MakeFile(MakeFile {
            dest: dest.into(),
            name: "EOF".into(),
            data: "text".into(),
            mode: mode.map(str::to_owned),
            owner: None,
        })
    };
    assert_eq!(made(vec![dir("/a/b", Some("app"))]).unwrap().0, "7:8 a/\n7:8 a/b/\n");
    assert_eq!(made(vec![dir("/srv/x", Some("nobody-here"))]).unwrap().0, "700 var/\nvar/srv/\nvar/srv/x/\n");
    assert_eq!(made(vec![dir("/var", None)]).unwrap(), (String::new(), 0));
    assert_eq!(made(vec![dir("/file", None)]).unwrap_err(), "mkdir /file: not a directory");
    assert_eq!(made(vec![file("/x", None)]).unwrap().0, "x = text\n");
    assert_eq!(made(vec![file("/x/", Some("755"))]).unwrap().0, "x/\n755 x/EOF = text\n");
    assert_eq!(
        made(vec![file("/srv/", Some("+x"))]).unwrap().0,
        "700 var/\nvar/srv/\n755 var/srv/EOF = text\n"
    );
    assert_eq!(
        made(vec![file("/file", None), dir("/d", None), file("/d", None)]).unwrap().0,
        "d/\nd/EOF = text\nfile = text\n"
    );
    assert_eq!(made(vec![file("/var", None), file("/var", None)]).unwrap().0, "700 var/\nvar/EOF = text\n");
}

#[test]
fn times_are_of_no_consequence_under_an_epoch() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let mut seen = Vec::new();
    for name in ["first", "second"] {
        let root = place.tree(name, "a = 1\n d/b = 2\n l -> a");
        let context = everything(&root);
        let stop = std::sync::atomic::AtomicBool::new(false);
        let out = place.layer();
        let options = solver::file::Options {
            base: &[],
            out: &out,
            mode: mode(),
            epoch: Some(1_000_000),
            previous: None,
            search: None,
            keep_digests: false,
            stop: &[&stop],
        };
        let op = op([copy(&["/"], "/made/here"), copy(&["/a"], "/made/too/")]);
        let inputs = vec![Input::Unused, Input::Context(&context)];
        seen.push(solver::file::run(&op, inputs, &options).unwrap().stat);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(seen[0], seen[1]);
}
