//! `DeletedLater`: what one layer brings and a later one deletes is in the image all the same.

use super::{Commands, Reviewed, is_within};
use crate::ast::{Instruction, Kind, Source};
use crate::check::Rule;
use crate::check::shell::Call;
use crate::diagnostic::Diagnostic;
use crate::lower::path;
use crate::span::{LineIndex, Span};

/// More files than these are not kept in mind.
const MOST: usize = 100;

/// A file that is in a layer.
struct Present {
    path: String,
    /// The instruction that brought it.
    from: Span,
}

pub(super) fn review(it: &Reviewed<'_>, warnings: &mut Vec<Diagnostic>) {
    let index = LineIndex::new(it.source);
    let mut present: Vec<Present> = Vec::new();
    let mut directory = Some("/".to_owned());
    // The base image's own working directory is not known.
    let mut known = false;
    let mut is_unix = true;
    for stage in it.chain(it.target) {
        for instruction in &it.dockerfile.stages[stage].instructions {
            match &instruction.kind {
                Kind::Workdir(text) if text.raw.contains(['$', '"', '\'']) => directory = None,
                Kind::Workdir(text) => {
                    known |= text.raw.starts_with('/');
                    directory = match known {
                        true => directory.map(|directory| path::resolve(&directory, &text.raw)),
                        false => None,
                    };
                    if text.raw.starts_with('/') {
                        directory = Some(path::clean(&text.raw));
                    }
                }
                Kind::Shell(words) => is_unix = super::is_unix_shell(words),
                Kind::Copy(copy) => {
                    let dest = &copy.dest.raw;
                    bring(&mut present, instruction, &copy.sources, dest, directory.as_deref(), known);
                }
                Kind::Add(add) => {
                    bring(&mut present, instruction, &add.sources, &add.dest.raw, directory.as_deref(), known)
                }
                Kind::Run(run) if is_unix => {
                    let commands = Commands::of(it, instruction, run);
                    let directory = directory.as_deref().filter(|_| known);
                    step(&mut present, &commands, directory, &index, warnings);
                }
                _ => {}
            }
            present.truncate(MOST);
        }
    }
}

/// The files of a COPY or ADD.
fn bring(
    present: &mut Vec<Present>,
    instruction: &Instruction,
    sources: &[Source],
    dest: &str,
    directory: Option<&str>,
    known: bool,
) {
    if dest.contains(['$', '"', '\'']) {
        return;
    }
    let absolute = dest.starts_with('/');
    let Some(directory) = directory.filter(|_| known || absolute) else { return };
    let target = path::destination(directory, dest);
    for source in sources {
        let name = match source {
            Source::Path(text) if text.raw.contains(['$', '*', '?', '[', '"', '\'']) => continue,
            Source::Path(text) => path::base(text.raw.trim_end_matches('/')).to_owned(),
            Source::Inline(heredoc) => heredoc.name.clone(),
        };
        let path = match target.strip_suffix('/') {
            // The contents of a directory have other names than its own.
            Some(_) if !name.contains('.') || name.starts_with('.') => continue,
            Some(parent) => format!("{parent}/{name}"),
            None if sources.len() == 1 => target.clone(),
            None => continue,
        };
        present.push(Present { path, from: instruction.span });
    }
}

/// What a RUN deletes of what is there, and what it brings.
fn step(
    present: &mut Vec<Present>,
    commands: &Commands<'_>,
    directory: Option<&str>,
    index: &LineIndex,
    warnings: &mut Vec<Diagnostic>,
) {
    let mut own: Vec<Present> = Vec::new();
    let mut at = directory.map(str::to_owned);
    for call in &commands.script.calls {
        match call.program() {
            "cd" | "pushd" => {
                at = match call.arguments() {
                    [word] if word.literal && word.text.starts_with('/') => Some(path::clean(&word.text)),
                    [word] if word.literal && !word.text.starts_with('-') => {
                        at.map(|at| path::resolve(&at, &word.text))
                    }
                    _ => None,
                };
            }
            "rm" => {
                for word in call.arguments().iter().filter(|word| word.literal && !word.text.starts_with('-'))
                {
                    let Some(target) = resolve(at.as_deref(), &word.text) else { continue };
                    let gone = |it: &Present| matches(&target, &it.path);
                    own.retain(|it| !gone(it));
                    if let Some(found) = present.iter().find(|it| gone(it) && !commands.is_kept_out(&it.path))
                    {
                        let line = index.line(found.from.start);
                        let message = format!(
                            "{} came into a layer in line {line} and stays in the image: to delete it here makes the image no smaller",
                            found.path
                        );
                        let help =
                            "fetch, use and delete it in one RUN, or mount it there: RUN --mount=type=bind";
                        warnings.push(commands.warn(Rule::DeletedLater, message, word).with_help(help));
                    }
                    present.retain(|it| !gone(it));
                }
            }
            _ => own.extend(
                made(call, at.as_deref()).map(|path| Present { path, from: commands.instruction.span }),
            ),
        }
    }
    own.retain(|it| !commands.is_kept_out(&it.path));
    present.extend(own);
}

fn resolve(directory: Option<&str>, path: &str) -> Option<String> {
    match (path.starts_with('/'), directory) {
        (true, _) => Some(path::clean(path)),
        (false, Some(directory)) => Some(path::resolve(directory, path)),
        (false, None) => None,
    }
}

/// Whether deleting `target`, whose last part may be `*` or a pattern with one, deletes `path`.
fn matches(target: &str, path: &str) -> bool {
    if target == "/" {
        return false;
    }
    match target.rsplit_once('/') {
        Some((parent, name)) if name.contains('*') => {
            let Some(rest) = path.strip_prefix(parent).and_then(|rest| rest.strip_prefix('/')) else {
                return false;
            };
            let first = rest.split('/').next().unwrap_or_default();
            let (head, tail) = name.split_once('*').unwrap_or((name, ""));
            !tail.contains('*')
                && first.len() >= head.len() + tail.len()
                && first.starts_with(head)
                && first.ends_with(tail)
        }
        _ => !target.contains(['?', '[']) && is_within(path, target),
    }
}

/// The file that a call fetches, where its name is plain.
fn made(call: &Call, directory: Option<&str>) -> Option<String> {
    let words = call.arguments();
    let value = |options: &[&str]| {
        words.iter().enumerate().find_map(|(at, word)| {
            if options.contains(&word.text.as_str()) {
                return words.get(at + 1);
            }
            None
        })
    };
    let bundle = |letter: char| {
        words.iter().any(|word| {
            word.text.starts_with('-') && !word.text.starts_with("--") && word.text.contains(letter)
        })
    };
    let address = || words.iter().rev().find(|word| word.text.contains("://") && word.literal);
    let named = |word: &crate::check::shell::Word| {
        let name = word.text.split(['?', '#']).next().unwrap_or_default();
        let name = path::base(name);
        (!name.is_empty() && name != "/").then(|| name.to_owned())
    };
    let file = match call.program() {
        "curl" => match value(&["-o", "--output"]).or_else(|| {
            value(&["-fsSLo", "-sSLo", "-Lo", "-fLo", "-sLo", "-fsSL0", "-sSfLo", "-fsLo", "-fSLo", "-SLo"])
        }) {
            Some(word) => word.literal.then(|| word.text.clone()),
            None if bundle('O') || words.iter().any(|word| word.text == "--remote-name") => {
                address().and_then(named)
            }
            None => None,
        },
        "wget" => match value(&["-O", "--output-document", "-qO", "-nvO", "-cO"]) {
            Some(word) => (word.literal && word.text != "-").then(|| word.text.clone()),
            None if bundle('P')
                || bundle('O')
                || words.iter().any(|word| {
                    word.text.starts_with("--directory") || word.text.starts_with("--output")
                }) =>
            {
                None
            }
            None => address().and_then(named),
        },
        _ => None,
    }?;
    if file.starts_with("/dev/") {
        return None;
    }
    resolve(directory, &file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_deletion_takes_along() {
        for (target, path) in
            [("/a", "/a"), ("/a", "/a/b"), ("/a/*", "/a/b"), ("/a/*.gz", "/a/x.gz"), ("/a/x*", "/a/xy/z")]
        {
            assert!(matches(target, path), "{target} {path}");
        }
        for (target, path) in
            [("/a/b", "/a"), ("/ab", "/a"), ("/a/*.gz", "/a/x"), ("/", "/a"), ("/a/?", "/a/b")]
        {
            assert!(!matches(target, path), "{target} {path}");
        }
    }
}
