//! The same as an ordinary user: in a user namespace with one id, whose files of other owners are recorded and not
//! chowned, and in which what belongs to somebody else cannot be read.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;

use graph::{Copy, FileAction, FileOp, MakeDir};
use runtime::Mode;
use snapshot::LayerStat;
use solver::file::{Input, Options};

use crate::bed::*;

/// Tells the test inside of the namespace where to look, and that it is there.
const CONTEXT: &str = "STRAKE_TEST_CONTEXT";

/// Runs tests of this executable in a user namespace with one id; `None` where there are none such.
fn inside(arguments: &[&str], context: &Path) -> Option<Output> {
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount"]).arg(std::env::current_exe().unwrap());
    unshare.args(["--test-threads=1", "--nocapture"]).args(arguments).env(CONTEXT, context);
    let Ok(output) = unshare.output() else {
        eprintln!("no unshare here: skipped");
        return None;
    };
    if String::from_utf8_lossy(&output.stderr).starts_with("unshare:") {
        eprintln!("no user namespaces here: skipped");
        return None;
    }
    Some(output)
}

fn context_of_outside() -> Option<std::path::PathBuf> {
    std::env::var_os(CONTEXT).filter(|_| mode() == Mode::SingleId).map(Into::into)
}

#[test]
fn all_rules_with_one_id() {
    if std::env::var_os(CONTEXT).is_some() {
        return;
    }
    let place = Place::new();
    if let Some(output) = inside(&["--skip", "inside_"], place.dir.path()) {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A layer with files of several owners, and times that are cut.
fn layer(context: &Path) -> LayerStat {
    let place = Place::new();
    let context = everything(context);
    let owned = Copy { owner: Some("7:8".to_owned()), ..copy(&["/"], "/a/b/") };
    let made = MakeDir { path: "/work/dir".into(), mode: 0o755, owner: Some("9".into()) };
    let op = FileOp {
        actions: vec![
            FileAction::Copy(owned),
            FileAction::MakeDir(made),
            FileAction::Copy(copy(&["/f", "/l"], "/work/")),
        ],
    };
    let stop = AtomicBool::new(false);
    let out = place.layer();
    let options = Options {
        base: &[],
        out: &out,
        mode: mode(),
        epoch: Some(1),
        previous: None,
        search: None,
        keep_digests: false,
        stop: &[&stop],
    };
    solver::file::run(&op, vec![Input::Unused, Input::Context(&context)], &options).unwrap().stat
}

#[test]
fn one_layer_from_everyone() {
    if !is_root() || context_of_outside().is_some() {
        return;
    }
    let place = Place::new();
    let context = place.tree("context", "f = 1\n 700 d/\n 4755 d/g = 2\n l -> f");
    rustix::fs::mkfifoat(rustix::fs::CWD, context.join("pipe"), rustix::fs::Mode::RUSR).unwrap();
    let here = layer(&context);
    let Some(output) = inside(&["--exact", "namespaces::inside_one_layer"], &context) else { return };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&here.diff_id.to_string()), "{here:?} is not in {text}");
}

#[test]
fn inside_one_layer() {
    if let Some(context) = context_of_outside() {
        println!("{}", layer(&context).diff_id);
    }
}

#[test]
fn what_belongs_to_somebody_else() {
    if mode() != Mode::Root {
        return;
    }
    let place = Place::new();
    let context = place.tree("context", "mine = 1\n 600 5:5 theirs = 2\n 700 5:5 dir/");
    // The way there must be open to all.
    for dir in [place.dir.path(), context.parent().unwrap(), &context] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let Some(output) = inside(&["--exact", "namespaces::inside_somebody_else"], &context) else { return };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn inside_somebody_else() {
    let Some(root) = context_of_outside() else { return };
    let place = Place::new();
    let context = everything(&root);
    let error = |source: &str| {
        run(&op([copy(&[source], "/x")]), &[], Input::Context(&context), &place.layer())
            .unwrap_err()
            .to_string()
    };
    let begin = format!("opening theirs in the build context {}: Permission denied", root.display());
    assert!(error("/theirs").starts_with(&begin), "{}", error("/theirs"));
    let begin = format!("reading directory dir in the build context {}: Permission denied", root.display());
    assert!(error("/").starts_with(&begin), "{}", error("/"));
    assert!(run(&op([copy(&["/mine"], "/x")]), &[], Input::Context(&context), &place.layer()).is_ok());
}
