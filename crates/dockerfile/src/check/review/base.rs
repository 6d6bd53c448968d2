//! `UnpinnedBaseImage`: images by names that come to mean another one from day to day.

use oci::Reference;

use super::Reviewed;
use crate::ast::Kind;
use crate::check::{Known, Rule};
use crate::diagnostic::Diagnostic;
use crate::span::{Span, Text};

pub(super) fn review(it: &Reviewed<'_>, known: &mut dyn Known, warnings: &mut Vec<Diagnostic>) {
    let stages = &it.dockerfile.stages;
    for (index, stage) in stages.iter().enumerate() {
        if it.bases[index].is_none() {
            judge(it, known, &stage.base, stage.span, warnings);
        }
        for instruction in &stage.instructions {
            let from = match &instruction.kind {
                Kind::Copy(copy) => copy.from.iter().collect(),
                Kind::Run(run) => run.mounts.iter().filter_map(|mount| mount.from()).collect(),
                _ => Vec::new(),
            };
            for name in from {
                let is_stage = it.names.contains_key(name.raw.to_lowercase().as_str());
                if !is_stage && !name.raw.is_empty() && name.raw.parse::<usize>().is_err() {
                    judge(it, known, name, instruction.span, warnings);
                }
            }
        }
    }
}

fn judge(
    it: &Reviewed<'_>,
    known: &mut dyn Known,
    name: &Text,
    instruction: Span,
    warnings: &mut Vec<Diagnostic>,
) {
    let Ok(expanded) = it.expander.text(name, &it.globals) else { return };
    let shown = expanded.text.as_str();
    if !expanded.unset.is_empty() || shown == "scratch" || known.is_context(shown) {
        return;
    }
    let Ok(reference) = Reference::parse(shown) else { return };
    if reference.digest.is_some() {
        return;
    }
    let message = match reference.tag.as_deref() {
        None => format!("Image {shown} has no tag: it is whatever latest means on the day of the build"),
        Some("latest") => format!("Image {shown} is another one after each release"),
        Some(_) => return,
    };
    let repository = reference.familiar_name();
    let help = format!("name a version, as {repository}:1.2, or a digest, as {repository}:1.2@sha256:…");
    let warning = Diagnostic::warning(Rule::UnpinnedBaseImage, message, name.span).of(instruction);
    warnings.push(warning.with_help(help));
}
