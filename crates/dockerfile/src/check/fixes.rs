//! The safe changes that mend what BuildKit's checks find. Our own rules bring theirs themselves.
//!
//! Safe is a change after which the Dockerfile builds the same, but for what the rule is about. Where
//! that is not sure (values that are quoted, lines that are folded), there is no fix.

use std::collections::HashMap;

use crate::ast::{Command, Dockerfile, Instruction, KeyValue, Kind, Stage};
use crate::check::fix::{Edit, Fix};
use crate::check::{Rule, file};
use crate::diagnostic::Diagnostic;
use crate::expand::{Expander, NoVariables};
use crate::span::{Span, Text};
use crate::words;

/// What a warning is about.
#[derive(Clone, Copy)]
enum Subject<'a> {
    Stage(&'a Stage),
    Instruction(&'a Instruction),
}

/// Adds their fixes to warnings that have none.
pub(crate) fn attach(dockerfile: &Dockerfile, source: &[u8], warnings: &mut [Diagnostic]) {
    let mut subjects: HashMap<Span, Subject<'_>> = HashMap::new();
    for stage in &dockerfile.stages {
        subjects.insert(stage.span, Subject::Stage(stage));
        subjects.extend(stage.instructions.iter().map(|it| (it.span, Subject::Instruction(it))));
    }
    subjects.extend(dockerfile.global_args.iter().map(|it| (it.span, Subject::Instruction(it))));
    let fixes = Fixes { dockerfile, source, mostly_lower: file::is_mostly_lower(&dockerfile.stages) };
    for warning in warnings.iter_mut().filter(|warning| warning.fix.is_none()) {
        let (Some(rule), Some(span)) = (warning.rule, warning.span) else { continue };
        if rule == Rule::NoEmptyContinuation {
            warning.fix = fixes.blank_lines(span, warning.instruction.unwrap_or(span)).map(Box::new);
            continue;
        }
        let subject = warning.instruction.and_then(|span| subjects.get(&span));
        let fix = match subject {
            Some(Subject::Stage(stage)) => fixes.of_stage(rule, stage),
            Some(Subject::Instruction(instruction)) => fixes.of_instruction(rule, instruction, span),
            None => None,
        };
        warning.fix = fix.map(Box::new);
    }
}

struct Fixes<'a> {
    dockerfile: &'a Dockerfile,
    source: &'a [u8],
    mostly_lower: bool,
}

impl Fixes<'_> {
    /// The source of a text, where that is the text itself.
    fn plain(&self, text: &Text) -> bool {
        self.source.get(text.span.range()) == Some(text.raw.as_bytes())
    }

    /// What stands between two places, where it is on one line.
    fn between(&self, left: Span, right: Span) -> Option<Span> {
        let gap = Span::new(left.end as usize, right.start as usize);
        let bytes = self.source.get(gap.range())?;
        (left.end <= right.start && bytes.iter().all(|byte| matches!(byte, b' ' | b'\t'))).then_some(gap)
    }

    fn of_stage(&self, rule: Rule, stage: &Stage) -> Option<Fix> {
        match rule {
            Rule::StageNameCasing => {
                let name = stage.name.as_ref()?;
                let same = self.source.get(name.span.range())?.eq_ignore_ascii_case(name.raw.as_bytes());
                same.then(|| {
                    Fix::replace("write the stage's name in lower case", name.span, name.raw.clone())
                })
            }
            Rule::FromAsCasing => {
                let keyword = stage.as_keyword.as_ref().filter(|text| self.plain(text))?;
                let lower = file::case(&stage.keyword.raw)? == file::Case::Lower;
                let written = if lower { "as" } else { "AS" };
                Some(Fix::replace(format!("write {written}"), keyword.span, written))
            }
            Rule::ConsistentInstructionCasing => self.keyword(&stage.keyword),
            Rule::RedundantTargetPlatform => {
                let platform = stage.platform.as_ref().filter(|text| self.plain(text))?;
                let flag =
                    Span::new((platform.span.start as usize).checked_sub(11)?, platform.span.end as usize);
                let written = self.source.get(flag.range())?;
                let gap = self.between(flag, stage.base.span)?;
                let title = "leave the platform out";
                (written.starts_with(b"--platform=") && !gap.is_empty())
                    .then(|| Fix::replace(title, Span::new(flag.start as usize, gap.end as usize), ""))
            }
            Rule::InvalidDefinitionDescription => self.set_apart(stage.span),
            _ => None,
        }
    }

    fn of_instruction(&self, rule: Rule, instruction: &Instruction, span: Span) -> Option<Fix> {
        match (rule, &instruction.kind) {
            (Rule::ConsistentInstructionCasing, _) => self.keyword(&instruction.keyword),
            (Rule::InvalidDefinitionDescription, _) => self.set_apart(instruction.span),
            (Rule::LegacyKeyValueFormat, Kind::Env(pairs) | Kind::Label(pairs)) => {
                let [pair] = pairs.as_slice() else { return None };
                self.key_value(pair)
            }
            (Rule::MaintainerDeprecated, Kind::Maintainer(author)) => self.maintainer(instruction, author),
            (Rule::JSONArgsRecommended, Kind::Cmd(command) | Kind::Entrypoint(command)) => {
                self.exec_form(command)
            }
            (Rule::MultipleInstructionsDisallowed, _) => self.without(instruction),
            (Rule::ExposeProtoCasing | Rule::ExposeInvalidFormat, Kind::Expose(ports)) => {
                let port = ports.iter().find(|port| port.span == span).filter(|port| self.plain(port))?;
                if port.raw.contains(['$', '"', '\'', '\\', '`']) {
                    return None;
                }
                if rule == Rule::ExposeProtoCasing {
                    let lowered = port.raw.to_ascii_lowercase();
                    return Some(Fix::replace("write the protocol in lower case", span, lowered));
                }
                let (_, container) = port.raw.rsplit_once(':')?;
                Some(Fix::replace("leave the host's part out", span, container))
            }
            _ => None,
        }
    }

    /// The blank lines of an instruction, from the first to its last line.
    fn blank_lines(&self, first: Span, last: Span) -> Option<Fix> {
        let mut edits = Vec::new();
        let mut at = first.start as usize;
        let end = (last.start as usize).min(self.source.len());
        while at < end {
            let line = self.source[at..].split_inclusive(|byte| *byte == b'\n').next()?;
            if line.ends_with(b"\n") && String::from_utf8_lossy(line).trim().is_empty() {
                edits.push(Edit { span: Span::new(at, at + line.len()), text: String::new() });
            }
            at += line.len();
        }
        (!edits.is_empty()).then(|| Fix { title: "leave out the empty lines".to_owned(), edits })
    }

    fn keyword(&self, keyword: &Text) -> Option<Fix> {
        let written = match self.mostly_lower {
            true => keyword.raw.to_ascii_lowercase(),
            false => keyword.raw.to_ascii_uppercase(),
        };
        self.plain(keyword).then(|| Fix::replace(format!("write {written}"), keyword.span, written))
    }

    /// A line with nothing but `#` before an instruction, so that the comment above is none of it.
    fn set_apart(&self, instruction: Span) -> Option<Fix> {
        let start = instruction.start as usize;
        let begins = start == 0 || self.source.get(start - 1) == Some(&b'\n');
        begins.then(|| Fix::replace("set the comment apart by an empty one", Span::at(start), "#\n"))
    }

    fn key_value(&self, pair: &KeyValue) -> Option<Fix> {
        let gap = self.between(pair.key.span, pair.value.span)?;
        if gap.is_empty() || !self.plain(&pair.key) || !self.plain(&pair.value) {
            return None;
        }
        if pair.key.raw.contains(['"', '\'', '\\', '`']) {
            return None;
        }
        let value = pair.value.raw.as_str();
        let title = "join key and value by =";
        let escape = self.dockerfile.directives.escape;
        // One word to the reader of pairs is the same value in both forms.
        if let [word] = words::quoted(&pair.value, escape).as_slice()
            && word.raw == value
        {
            return Some(Fix::replace(title, gap, "="));
        }
        if value.is_empty() || value.contains(['"', '\'', '\\', '`', '<', escape]) {
            return None;
        }
        let whole = Span::new(gap.start as usize, pair.value.span.end as usize);
        Some(Fix::replace(title, whole, format!("=\"{value}\"")))
    }

    /// `LABEL org.opencontainers.image.authors="…"` in place of `MAINTAINER …`.
    fn maintainer(&self, instruction: &Instruction, author: &Text) -> Option<Fix> {
        let keyword = &instruction.keyword;
        self.between(keyword.span, author.span)?;
        if !self.plain(author) || author.raw.contains(['"', '\\', '$', '`']) {
            return None;
        }
        let label = if file::case(&keyword.raw) == Some(file::Case::Lower) { "label" } else { "LABEL" };
        let text = format!("{label} org.opencontainers.image.authors=\"{}\"", author.raw);
        Some(Fix::replace(
            "write a label",
            Span::new(keyword.span.start as usize, author.span.end as usize),
            text,
        ))
    }

    /// The JSON form of a command that a shell would run as it stands.
    fn exec_form(&self, command: &Command) -> Option<Fix> {
        let Command::Shell(line) = command else { return None };
        let harmless = |c: char| c.is_ascii_alphanumeric() || " ._/:=@%+,-".contains(c);
        if line.raw.is_empty() || !self.plain(line) || !line.raw.chars().all(harmless) {
            return None;
        }
        let words: Vec<&str> = line.raw.split(' ').filter(|word| !word.is_empty()).collect();
        let program = *words.first()?;
        if program.contains('=') || program.starts_with('-') || is_builtin(program) {
            return None;
        }
        let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        Some(Fix::replace("write it in JSON", line.span, format!("[{}]", quoted.join(", "))))
    }

    /// The lines of an instruction taken out: another one after it makes it void.
    fn without(&self, instruction: &Instruction) -> Option<Fix> {
        // A value that fails to expand would be an error that goes with it: not to be hidden.
        if let Kind::Cmd(Command::Shell(line)) | Kind::Entrypoint(Command::Shell(line)) = &instruction.kind
            && Expander::new('\\').word(&line.raw, &NoVariables).is_err()
        {
            return None;
        }
        let start = instruction.span.start as usize;
        let begins = start == 0 || self.source.get(start - 1) == Some(&b'\n');
        let rest = self.source.get(instruction.span.end as usize..)?;
        let tail = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        let only = rest[..tail].trim_ascii().is_empty();
        let end = instruction.span.end as usize + tail;
        (begins && only).then(|| Fix::replace("take the line out", Span::new(start, end), ""))
    }
}

/// Commands that are the shell's own, and programs that only make sense in one.
fn is_builtin(program: &str) -> bool {
    const BUILTINS: [&str; 24] = [
        ".", ":", "alias", "bg", "break", "cd", "command", "continue", "eval", "exec", "exit", "export",
        "fg", "jobs", "read", "readonly", "return", "set", "shift", "source", "trap", "ulimit", "umask",
        "wait",
    ];
    BUILTINS.contains(&program)
}
