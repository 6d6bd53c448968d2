//! `RootUser`: the image that is built runs as root.

use oci::Reference;

use super::Reviewed;
use crate::ast::Kind;
use crate::check::{Known, Rule};
use crate::diagnostic::Diagnostic;
use crate::lower::LowerOptions;

/// Words in a base image's name by which it says that its user is another, or that root is not who
/// may do everything there.
const OTHERS: [&str; 6] = ["nonroot", "non-root", "rootless", "unprivileged", "windows", "nanoserver"];

pub(super) fn review(
    it: &Reviewed<'_>,
    options: &LowerOptions,
    known: &mut dyn Known,
    warnings: &mut Vec<Diagnostic>,
) {
    let chain = it.chain(it.target);
    let instructions =
        || chain.iter().rev().flat_map(|index| it.dockerfile.stages[*index].instructions.iter().rev());
    // What starts nothing is no image to run: a base for others, or files.
    if !instructions().any(|it| matches!(it.kind, Kind::Cmd(_) | Kind::Entrypoint(_))) {
        return;
    }
    let last = instructions().find_map(|it| match &it.kind {
        Kind::User(user) => Some((it, user)),
        _ => None,
    });
    let help = "make a user in the image and name it, or its number, by USER before CMD";
    if let Some((instruction, user)) = last {
        if is_root(user.raw.trim_matches(['"', '\''])) {
            let message = format!("The image runs as root: its last USER is {user}");
            let warning = Diagnostic::warning(Rule::RootUser, message, user.span).of(instruction.span);
            warnings.push(warning.with_help(help));
        }
        return;
    }
    let bottom = &it.dockerfile.stages[chain[0]];
    let Ok(base) = it.expander.text(&bottom.base, &it.globals) else { return };
    if !base.unset.is_empty() || OTHERS.iter().any(|word| base.text.contains(word)) {
        return;
    }
    if base.text != "scratch" {
        if known.is_context(&base.text) {
            return;
        }
        let Ok(reference) = Reference::parse(&base.text) else { return };
        let image = known.image(&reference.with_default_tag(), &options.platform);
        if image.is_some_and(|image| !is_root(&image.config.config.user)) {
            return;
        }
    }
    let stage = &it.dockerfile.stages[it.target];
    let message = "The image runs as root: no USER says otherwise";
    let warning = Diagnostic::warning(Rule::RootUser, message, stage.base.span).of(stage.span);
    warnings.push(warning.with_help(help));
}

fn is_root(user: &str) -> bool {
    let name = user.split(':').next().unwrap_or_default();
    matches!(name, "" | "root" | "0")
}
