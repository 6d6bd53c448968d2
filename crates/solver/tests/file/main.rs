//! What COPY, ADD and WORKDIR do, rule by rule: contexts and images as text, the resulting layer as text.

mod archives;
mod bed;
mod contexts;
mod rules;

use bed::*;
use runtime::Mode;

#[test]
fn in_a_user_namespace_with_one_id() {
    if mode() == Mode::SingleId {
        return;
    }
    let exe = std::env::current_exe().unwrap();
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount"]).arg(exe).args(["--test-threads=1", "--quiet"]);
    match unshare.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let all = String::from_utf8_lossy(&output.stdout);
            assert!(text.contains("unshare"), "{all}{text}");
            eprintln!("no user namespaces here: skipped");
        }
        Err(_) => eprintln!("no unshare here: skipped"),
    }
}
