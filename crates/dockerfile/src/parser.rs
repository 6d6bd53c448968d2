//! Bytes to syntax tree: the outermost loop, and which instruction belongs to which stage.

use crate::ast::{Check, Directives, Dockerfile, Instruction, Kind, Stage};
use crate::check::file;
use crate::diagnostic::Diagnostic;
use crate::instruction::{self, Item};
use crate::lines::Lines;
use crate::span::Span;

/// The longest Dockerfile taken, in bytes.
pub const MAX_LENGTH: usize = 64 << 20;

/// After so many errors the rest is not read: it is no Dockerfile.
const MAX_ERRORS: usize = 50;

/// After so many warnings no more are kept.
const MAX_WARNINGS: usize = 1000;

/// A Dockerfile that can be built, and what was odd about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The syntax tree.
    pub dockerfile: Dockerfile,
    /// Warnings, in the order of the source; those that `# check=skip=` names are left out.
    pub warnings: Vec<Diagnostic>,
}

/// All that can be said of a file, Dockerfile or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The syntax tree; where there is none, the errors say why.
    pub dockerfile: Result<Dockerfile, Vec<Diagnostic>>,
    /// The directives, as far as they were read.
    pub directives: Directives,
    /// Warnings, in the order in which BuildKit finds them, those too that `# check=` leaves out.
    pub warnings: Vec<Diagnostic>,
}

/// Reads a Dockerfile. Takes any bytes.
///
/// # Errors
/// All errors found, in the order of the source; at least one.
pub fn parse(source: &[u8]) -> Result<Parsed, Vec<Diagnostic>> {
    let Reading { dockerfile, directives, mut warnings } = read(source);
    let dockerfile = dockerfile?;
    let check = directives.check.unwrap_or_else(Check::all);
    warnings.retain(|warning| check.shows(warning));
    Ok(Parsed { dockerfile, warnings })
}

/// The same, with the warnings where it is no Dockerfile, too.
pub fn read(source: &[u8]) -> Reading {
    let mut warnings = Vec::new();
    let mut lines = Lines::new(source);
    let dockerfile = read_lines(source, &mut lines, &mut warnings);
    let directives = lines.into_directives();
    let dockerfile = dockerfile.map(|(global_args, stages)| Dockerfile {
        directives: directives.clone(),
        global_args,
        stages,
    });
    if let Ok(dockerfile) = &dockerfile {
        file::check(dockerfile, &mut warnings);
        warnings.truncate(MAX_WARNINGS);
    }
    Reading { dockerfile, directives, warnings }
}

/// The global arguments and the stages.
type Parts = (Vec<Instruction>, Vec<Stage>);

fn read_lines(
    source: &[u8],
    lines: &mut Lines<'_>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Parts, Vec<Diagnostic>> {
    if source.len() > MAX_LENGTH {
        let message =
            format!("the Dockerfile has {} bytes, more than the {MAX_LENGTH} that are taken", source.len());
        return Err(vec![Diagnostic::error(message, Span::default())]);
    }
    let mut errors = Vec::new();
    let mut global_args = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    let mut any = false;
    while errors.len() < MAX_ERRORS {
        let item = match lines.next() {
            Ok(None) => break,
            Ok(Some(line)) => {
                any = true;
                instruction::parse(line, lines, warnings)
            }
            Err(error) => Err(error),
        };
        warnings.truncate(MAX_WARNINGS);
        match item {
            Ok(Item::Stage(stage)) => stages.push(stage),
            Ok(Item::Instruction(instruction)) => match stages.last_mut() {
                Some(stage) => stage.instructions.push(instruction),
                None if matches!(instruction.kind, Kind::Arg(_)) => global_args.push(instruction),
                None => errors.push(
                    Diagnostic::error("no build stage in current context", instruction.keyword.span)
                        .with_help("begin with FROM; only ARG may come before it"),
                ),
            },
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() && stages.is_empty() {
        let end = Span::at(source.len());
        errors.push(if any {
            Diagnostic::error("dockerfile contains no stages to build", end).with_help("add a FROM")
        } else {
            Diagnostic { span: None, ..Diagnostic::error("file with no instructions", end) }
        });
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok((global_args, stages))
}

/// Reads one trigger of a base image's `ONBUILD`; a backslash is the escape character, unless it
/// brings a directive of its own.
///
/// # Errors
/// At least one; spans are offsets in `expression`. `FROM`, `ONBUILD` and `MAINTAINER` are no
/// triggers.
pub fn parse_trigger(expression: &str) -> Result<Instruction, Vec<Diagnostic>> {
    trigger(expression).map_err(|error| vec![error])
}

fn trigger(expression: &str) -> Result<Instruction, Diagnostic> {
    let whole = Span::new(0, expression.len());
    if expression.len() > MAX_LENGTH {
        return Err(Diagnostic::error("the onbuild trigger is too long", whole));
    }
    let mut lines = Lines::new(expression.as_bytes());
    let single = || Diagnostic::error("onbuild trigger should be a single expression", whole);
    let line = lines.next()?.ok_or_else(single)?;
    let item = instruction::parse(line, &mut lines, &mut Vec::new())?;
    if lines.next()?.is_some() {
        return Err(single());
    }
    match item {
        Item::Instruction(instruction) => match instruction.kind {
            Kind::Onbuild(_) => {
                let message = "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed";
                Err(Diagnostic::error(message, instruction.keyword.span))
            }
            Kind::Maintainer(_) => Err(Diagnostic::error(
                "MAINTAINER isn't allowed as an ONBUILD trigger",
                instruction.keyword.span,
            )),
            _ => Ok(instruction),
        },
        Item::Stage(_) => Err(Diagnostic::error("FROM isn't allowed as an ONBUILD trigger", whole)),
    }
}
