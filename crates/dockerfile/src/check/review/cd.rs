//! `CdInsteadOfWorkdir`: a RUN that changes the directory where WORKDIR would do.

use super::Commands;
use crate::check::Rule;
use crate::check::shell::{Call, Joint};
use crate::diagnostic::Diagnostic;

/// Directories that a step goes to for itself alone.
const PASSING: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/run"];

pub(super) fn review(it: &Commands<'_>, warnings: &mut Vec<Diagnostic>) {
    let calls = &it.script.calls;
    let Some(first) = calls.first() else { return };
    let Some(directory) = target(first) else { return };
    if calls.len() == 1 {
        let message = format!("cd {directory} has no effect: the next instruction begins where this one did");
        warnings.push(
            it.warn(Rule::CdInsteadOfWorkdir, message, &first.words[0])
                .with_help(format!("write WORKDIR {directory} in its place")),
        );
        return;
    }
    // A script goes here and there; a line that goes to one place at its start, and stays, need not.
    let stays = calls.iter().skip(1).all(|call| !matches!(call.program(), "cd" | "pushd" | "popd"));
    let joined = matches!(calls[1].joint, Joint::And | Joint::Then);
    let removes = calls.iter().any(|call| {
        call.program() == "rm" && call.arguments().iter().any(|word| super::is_within(directory, &word.text))
    });
    let passing = PASSING.iter().any(|passing| super::is_within(directory, passing));
    if it.is_heredoc || !stays || !joined || removes || passing {
        return;
    }
    let message = format!("WORKDIR {directory} says in one place what cd says in each RUN");
    warnings.push(it.warn(Rule::CdInsteadOfWorkdir, message, &first.words[0]).with_help(format!(
        "put WORKDIR {directory} before this RUN, and another after it if others rely on it"
    )));
}

/// Where a call goes to, where it is a `cd` to a directory by its name.
fn target(call: &Call) -> Option<&str> {
    let [directory] = call.arguments() else { return None };
    let good = call.program() == "cd"
        && call.depth == 0
        && directory.literal
        && !directory.text.is_empty()
        && !directory.text.starts_with(['-', '~'])
        && !directory.text.contains(['*', '?', '[']);
    good.then_some(directory.text.as_str())
}
