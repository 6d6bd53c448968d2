//! What a reviewer would say: rules of our own, for `build --check` alone.
//!
//! Each rule prefers to say nothing where it does not know: a path or an option that a variable
//! makes, a shell that is none of Unix, a file that is not looked into.

mod base;
mod cd;
mod copies;
mod deleted;
mod packages;
mod secrets;
mod user;

use std::collections::BTreeMap;

use crate::ast::{Command, Dockerfile, Instruction, Kind, Run, Stage};
use crate::check::Known;
use crate::check::shell::{self, Script, Word};
use crate::diagnostic::Diagnostic;
use crate::expand::Expander;
use crate::lower::LowerOptions;
use crate::lower::env::Env;
use crate::mount::MountType;
use crate::span::{Span, Text};

/// Longer values of arguments are of no image's name.
const LONGEST: usize = 4096;

/// What the rules look at.
pub(super) struct Reviewed<'a> {
    dockerfile: &'a Dockerfile,
    source: &'a [u8],
    /// The global arguments with the values that they have in this build.
    globals: Env,
    /// Names of stages, in lower case.
    names: BTreeMap<&'a str, usize>,
    /// The `SHELL` that each stage takes over from those it is built on.
    shells: Vec<Option<&'a [Text]>>,
    settings: Settings,
    expander: Expander,
    /// Of each stage the earlier one that it is built on, if it is.
    bases: Vec<Option<usize>>,
    /// Of each stage whether its layers come into the image that is built.
    shipped: Vec<bool>,
    /// The stage that is built.
    target: usize,
}

/// Looks through a Dockerfile by all the rules.
pub(super) fn review(
    dockerfile: &Dockerfile,
    source: &[u8],
    options: &LowerOptions,
    known: &mut dyn Known,
    warnings: &mut Vec<Diagnostic>,
) {
    let Some(reviewed) = Reviewed::new(dockerfile, source, options) else { return };
    base::review(&reviewed, known, warnings);
    user::review(&reviewed, options, known, warnings);
    for (index, stage) in dockerfile.stages.iter().enumerate() {
        let mut is_unix = reviewed.shells[index].is_none_or(is_unix_shell);
        for instruction in &stage.instructions {
            match &instruction.kind {
                Kind::Shell(words) => is_unix = is_unix_shell(words),
                Kind::Run(run) if is_unix => {
                    let commands = Commands::of(&reviewed, instruction, run);
                    packages::review(&reviewed, index, &commands, warnings);
                    cd::review(&commands, warnings);
                }
                Kind::Copy(_) | Kind::Add(_) => copies::review(instruction, warnings),
                _ => {}
            }
        }
    }
    secrets::review(&reviewed, warnings);
    deleted::review(&reviewed, warnings);
}

fn is_unix_shell(words: &[Text]) -> bool {
    let program = words.first().map_or("", |word| word.raw.as_str());
    let name = program.rsplit(['/', '\\']).next().unwrap_or(program);
    matches!(name, "sh" | "bash" | "ash" | "dash" | "zsh" | "ksh" | "busybox")
}

impl<'a> Reviewed<'a> {
    fn new(dockerfile: &'a Dockerfile, source: &'a [u8], options: &LowerOptions) -> Option<Reviewed<'a>> {
        let expander = Expander::new(dockerfile.directives.escape);
        let mut globals = Env::default();
        for instruction in &dockerfile.global_args {
            let Kind::Arg(args) = &instruction.kind else { continue };
            for arg in args {
                let name = arg.name.as_str();
                let value = match (options.build_args.get(name), &arg.default) {
                    (Some(value), _) => Some(value.clone()),
                    (None, Some(default)) => expander.text(default, &globals).ok().map(|it| it.text),
                    (None, None) => None,
                };
                if let Some(value) = value.filter(|value| value.len() < LONGEST) {
                    globals.set(name, value);
                }
            }
        }
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        let mut bases: Vec<Option<usize>> = Vec::with_capacity(dockerfile.stages.len());
        let mut shells: Vec<Option<&[Text]>> = Vec::with_capacity(dockerfile.stages.len());
        for (index, stage) in dockerfile.stages.iter().enumerate() {
            let base = expander.text(&stage.base, &globals).ok().map(|it| it.text.to_lowercase());
            let base = base.and_then(|base| names.get(base.as_str()).copied());
            bases.push(base);
            shells.push(base.and_then(|base| own_shell(&dockerfile.stages[base]).or(shells[base])));
            if let Some(name) = &stage.name {
                names.insert(name.as_str(), index);
            }
        }
        let wanted = options.target.as_deref().filter(|name| !name.is_empty()).map(str::to_lowercase);
        let target = match wanted {
            Some(name) => *names.get(name.as_str())?,
            None => dockerfile.stages.len().checked_sub(1)?,
        };
        let mut shipped = vec![false; bases.len()];
        let mut next = Some(target);
        while let Some(index) = next {
            shipped[index] = true;
            next = bases[index];
        }
        let settings = Settings::of(source);
        Some(Reviewed {
            dockerfile,
            source,
            globals,
            names,
            shells,
            settings,
            expander,
            bases,
            shipped,
            target,
        })
    }

    /// The stages from the one at the bottom up to `index`.
    fn chain(&self, index: usize) -> Vec<usize> {
        let mut chain = vec![index];
        while let Some(base) = self.bases[chain[chain.len() - 1]] {
            chain.push(base);
        }
        chain.reverse();
        chain
    }
}

/// The `SHELL` that holds at the end of a stage, where it says one.
fn own_shell(stage: &Stage) -> Option<&[Text]> {
    stage.instructions.iter().rev().find_map(|it| match &it.kind {
        Kind::Shell(words) => Some(words.as_slice()),
        _ => None,
    })
}

/// Settings of package managers that the Dockerfile makes somewhere, and that make options needless.
struct Settings {
    /// `APT::Get::Assume-Yes`
    assume_yes: bool,
    /// `APT::Install-Recommends`
    recommends: bool,
    /// `PIP_NO_CACHE_DIR`
    pip_cache: bool,
}

impl Settings {
    fn of(source: &[u8]) -> Settings {
        let mentions = |letters: &str| {
            source.windows(letters.len()).any(|window| window.eq_ignore_ascii_case(letters.as_bytes()))
        };
        Settings {
            assume_yes: mentions("assume-yes"),
            recommends: mentions("install-recommends \"")
                || mentions("install-recommends=")
                || mentions("norecommends"),
            pip_cache: mentions("pip_no_cache_dir"),
        }
    }
}

/// The calls of a `RUN`.
pub(super) struct Commands<'a> {
    instruction: &'a Instruction,
    run: &'a Run,
    /// The text that the calls were read from; none for the exec form.
    text: Option<Text>,
    /// The text is a heredoc's.
    is_heredoc: bool,
    script: Script,
    source: &'a [u8],
    escape: char,
    /// Where caches and tmpfs are mounted: what is written there comes into no layer.
    kept_out: Vec<String>,
}

impl<'a> Commands<'a> {
    fn of(it: &Reviewed<'a>, instruction: &'a Instruction, run: &'a Run) -> Commands<'a> {
        let heredoc = run.script();
        let (text, script) = match (&run.command, heredoc) {
            (Command::Exec(words), _) => (None, Script::of_words(words)),
            (Command::Shell(_), Some(heredoc)) => {
                let text = heredoc.located();
                let other = text.raw.starts_with("#!")
                    && !text.raw.lines().next().unwrap_or_default().ends_with("sh");
                let script = if other { Script::default() } else { Script::read(&text.raw) };
                (Some(text), script)
            }
            // Other heredocs are data of the command before them.
            (Command::Shell(line), None) => (Some(line.clone()), Script::read(&line.raw)),
        };
        Commands {
            instruction,
            run,
            text,
            is_heredoc: heredoc.is_some(),
            script,
            source: it.source,
            escape: it.dockerfile.directives.escape,
            kept_out: kept_out(run),
        }
    }

    /// The place of a word; the whole instruction where the word has none.
    fn span(&self, word: &Word) -> Span {
        match &self.text {
            Some(text) => shell::span(text, word),
            None => self.instruction.span,
        }
    }

    /// The place right after a word; none where nothing can be put there.
    fn after(&self, word: &Word) -> Option<Span> {
        let text = self.text.as_ref()?;
        Some(Span::at(shell::span(text, word).end as usize))
    }

    /// What lines of the text that begin with `&&` begin with, where it goes over several lines.
    fn indent(&self, text: &Text) -> Option<String> {
        let source = &self.source[text.span.range()];
        if !source.contains(&b'\n') {
            return None;
        }
        let blanks = |line: &[u8]| line.len() - line.trim_ascii_start().len();
        let lines = source.split(|byte| *byte == b'\n').skip(1);
        let found = lines.filter(|line| line[blanks(line)..].starts_with(b"&&")).last();
        let indent = found.map_or(&b"    "[..], |line| &line[..blanks(line)]);
        Some(String::from_utf8_lossy(indent).into_owned())
    }

    /// Whether what is written to `path` stays out of the layer.
    fn is_kept_out(&self, path: &str) -> bool {
        self.kept_out.iter().any(|target| is_within(path, target))
    }

    fn warn(&self, rule: crate::check::Rule, message: impl Into<String>, word: &Word) -> Diagnostic {
        Diagnostic::warning(rule, message, self.span(word)).of(self.instruction.span)
    }
}

/// Whether `path` is `directory` or in it.
fn is_within(path: &str, directory: &str) -> bool {
    let directory = directory.trim_end_matches('/');
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn kept_out(run: &Run) -> Vec<String> {
    let mut targets = Vec::new();
    for mount in &run.mounts {
        let field = |names: &[&str]| {
            let field = mount.fields.iter().rfind(|field| names.contains(&field.key.as_str()))?;
            field.value.as_ref().map(|value| value.raw.as_str())
        };
        let kind = field(&["type"]).unwrap_or("bind");
        if [MountType::Cache, MountType::Tmpfs, MountType::Bind].iter().any(|it| it.name() == kind)
            && let Some(target) = field(&["target", "dst", "destination"])
        {
            targets.push(target.to_owned());
        }
    }
    targets
}
