//! BuildKit's checks of the file as a whole, for which nothing need be expanded: how keywords are
//! written, how stages are called, what comments say.

use std::collections::BTreeSet;

use crate::ast::{Dockerfile, Instruction, Kind, Stage};
use crate::check::Rule;
use crate::diagnostic::Diagnostic;
use crate::span::Text;

/// Stage names that mean something else already.
const RESERVED: [&str; 2] = ["context", "scratch"];

/// All of them, rule by rule.
pub(crate) fn check(dockerfile: &Dockerfile, warnings: &mut Vec<Diagnostic>) {
    stage_names(&dockerfile.stages, warnings);
    casing(&dockerfile.stages, warnings);
    for stage in &dockerfile.stages {
        describe_stage(stage, warnings);
    }
    let stages = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    for instruction in dockerfile.global_args.iter().chain(stages) {
        describe_arguments(instruction, warnings);
    }
}

/// `ReservedStageName` and `DuplicateStageName`
fn stage_names(stages: &[Stage], warnings: &mut Vec<Diagnostic>) {
    let mut seen = BTreeSet::new();
    for stage in stages {
        let Some(name) = &stage.name else { continue };
        if RESERVED.contains(&name.as_str()) {
            let message = format!("Stage name should not use the same name as reserved stage {:?}", name.raw);
            warnings.push(Diagnostic::warning(Rule::ReservedStageName, message, name.span).of(stage.span));
        }
        if !seen.insert(name.as_str()) {
            let message = format!("Duplicate stage name {:?}, stage names should be unique", name.raw);
            warnings.push(Diagnostic::warning(Rule::DuplicateStageName, message, name.span).of(stage.span));
        }
    }
}

/// Whether most of the keywords that are written in one case are in lower case.
pub(crate) fn is_mostly_lower(stages: &[Stage]) -> bool {
    let (mut lower, mut upper) = (0, 0);
    for keyword in stages.iter().flat_map(keywords) {
        match case(&keyword.raw) {
            Some(Case::Lower) => lower += 1,
            Some(Case::Upper) => upper += 1,
            None => {}
        }
    }
    lower > upper
}

/// `ConsistentInstructionCasing`
fn casing(stages: &[Stage], warnings: &mut Vec<Diagnostic>) {
    let (wanted, name) = match is_mostly_lower(stages) {
        true => (Case::Lower, "lowercase"),
        false => (Case::Upper, "uppercase"),
    };
    let mut check = |keyword: &Text, instruction| {
        if case(&keyword.raw) != Some(wanted) {
            let message =
                format!("Command '{keyword}' should match the case of the command majority ({name})");
            let warning = Diagnostic::warning(Rule::ConsistentInstructionCasing, message, keyword.span);
            warnings.push(warning.of(instruction));
        }
    };
    for stage in stages {
        check(&stage.keyword, stage.span);
        for instruction in &stage.instructions {
            check(&instruction.keyword, instruction.span);
        }
    }
}

/// The keywords of a stage, its `FROM` first.
fn keywords(stage: &Stage) -> impl Iterator<Item = &Text> {
    std::iter::once(&stage.keyword).chain(stage.instructions.iter().map(|it| &it.keyword))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Lower,
    Upper,
}

/// The case that a keyword is written in; none if in both.
pub(crate) fn case(keyword: &str) -> Option<Case> {
    if !keyword.contains(|c: char| c.is_ascii_uppercase()) {
        Some(Case::Lower)
    } else if !keyword.contains(|c: char| c.is_ascii_lowercase()) {
        Some(Case::Upper)
    } else {
        None
    }
}

/// `InvalidDefinitionDescription` of a stage
fn describe_stage(stage: &Stage, warnings: &mut Vec<Diagnostic>) {
    if let Some(name) = &stage.name
        && let Some(message) = description("FROM", &[name.as_str()], &stage.comments)
    {
        let rule = Rule::InvalidDefinitionDescription;
        warnings.push(Diagnostic::warning(rule, message, stage.keyword.span).of(stage.span));
    }
}

/// `InvalidDefinitionDescription` of an `ARG`
fn describe_arguments(instruction: &Instruction, warnings: &mut Vec<Diagnostic>) {
    let Kind::Arg(arguments) = &instruction.kind else { return };
    let names: Vec<&str> = arguments.iter().map(|argument| argument.name.as_str()).collect();
    if let Some(message) = description("ARG", &names, &instruction.comments) {
        let rule = Rule::InvalidDefinitionDescription;
        warnings.push(Diagnostic::warning(rule, message, instruction.keyword.span).of(instruction.span));
    }
}

/// What is wrong with the comment above something that defines `names`.
fn description(keyword: &str, names: &[&str], comments: &[String]) -> Option<String> {
    let first = comments.last()?.split(' ').next()?;
    if names.is_empty() || names.contains(&first) {
        return None;
    }
    let shown = if let [name] = names { name } else { "<arg_key>" };
    Some(format!("Comment for {keyword} should follow the format: `# {shown} <description>`"))
}
