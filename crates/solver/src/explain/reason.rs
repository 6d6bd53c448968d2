//! Reasons as values, and in words.

use std::fmt;

use serde::{Deserialize, Serialize};
use snapshot::content::FileChange;

/// Why a step had to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Every reason; at least one.
    pub reasons: Vec<Reason>,
    /// How many files differ besides those that are named.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_files: u64,
    /// When the build that it was compared with had this step, in nanoseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
}

/// One reason. `from` is what was, `to` what is now; `None`: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Reason {
    /// It was asked for.
    NoCache,
    /// No earlier build of this step is known.
    Unknown,
    /// Its result was there once.
    Pruned,
    /// The step below has another result than it had.
    Parent {
        /// That step.
        step: String,
        /// Whether it was run in this build: else it was found, but is another one than it was.
        rebuilt: bool,
    },
    /// The base image is another one.
    Base {
        /// Name and digest.
        from: Option<String>,
        /// Name and digest.
        to: Option<String>,
    },
    /// The instruction says something else.
    Command {
        /// Its text.
        from: String,
        /// Its text.
        to: String,
    },
    /// An environment variable or build argument.
    Variable {
        /// Its name.
        name: String,
        /// Whether the Dockerfile declares it by `ARG`.
        argument: bool,
        /// Its value; hidden where the name sounds like a secret's.
        from: Option<String>,
        /// Its value; hidden where the name sounds like a secret's.
        to: Option<String>,
    },
    /// Anything else that the step's operation says: the user, the working directory, …
    Setting {
        /// What it is.
        name: String,
        /// Its value.
        from: Option<String>,
        /// Its value.
        to: Option<String>,
    },
    /// A mount is there or not, or mounts something else.
    Mount {
        /// Where.
        target: String,
        /// What is mounted.
        from: Option<String>,
        /// What is mounted.
        to: Option<String>,
    },
    /// A stage or image that is mounted or copied from has another content.
    Tree {
        /// The mount that shows it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mount: Option<String>,
        /// What made it, or the image.
        from: String,
        /// What made it, or the image.
        to: String,
    },
    /// A file that the step takes.
    File {
        /// The mount that shows it; none for copies.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mount: Option<String>,
        /// Which file, and how it differs.
        #[serde(flatten)]
        file: FileChange,
    },
    /// Files that the step takes; which is not known any more.
    Files {
        /// The mount that shows them; none for copies.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mount: Option<String>,
    },
    /// The key differs in something that has no name here.
    Other,
}

impl Explanation {
    /// One reason alone.
    pub fn of(reason: Reason) -> Explanation {
        Explanation { reasons: vec![reason], more_files: 0, since: None }
    }

    /// The reasons in words, a line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.reasons.iter().map(ToString::to_string).collect();
        match self.more_files {
            0 => {}
            1 => lines.push("one more file".to_owned()),
            more => lines.push(format!("{more} more files")),
        }
        lines
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoCache => f.write_str("it was asked to run without cache"),
            Reason::Unknown => f.write_str("no earlier build of this step is known"),
            Reason::Pruned => f.write_str("its result was pruned"),
            Reason::Parent { step, rebuilt: true } => {
                write!(f, "parent step {step} was rebuilt with another result")
            }
            Reason::Parent { step, rebuilt: false } => {
                write!(f, "parent step {step} is not the one that it was built on before")
            }
            Reason::Base { from, to } => write!(f, "base image {} -> {}", or_none(from), or_none(to)),
            Reason::Command { from, to } => write!(f, "instruction {} -> {}", short(from), short(to)),
            Reason::Variable { name, argument, from, to } => {
                let what = if *argument { "ARG" } else { "ENV" };
                write!(f, "{what} {name}: {} -> {}", quoted(from), quoted(to))?;
                let hidden = from.as_deref() == Some(HIDDEN) && to.as_deref() == Some(HIDDEN);
                f.write_str(if hidden { " (another value)" } else { "" })
            }
            Reason::Setting { name, from, to } => write!(f, "{name}: {} -> {}", quoted(from), quoted(to)),
            Reason::Mount { target, from, to } => match (from, to) {
                (None, Some(to)) => write!(f, "mount {target}: added, {}", short(to)),
                (Some(from), None) => write!(f, "mount {target}: removed, was {}", short(from)),
                _ => write!(f, "mount {target}: {} -> {}", or_none(from), or_none(to)),
            },
            Reason::Tree { mount, from, to } => {
                of_mount(f, mount)?;
                match from == to {
                    true => write!(f, "{to} was rebuilt with another result"),
                    false => write!(f, "{from} -> {to}"),
                }
            }
            Reason::File { mount, file } => {
                of_mount(f, mount)?;
                file.fmt(f)
            }
            Reason::Files { mount } => {
                of_mount(f, mount)?;
                f.write_str("files changed; which of them is not known any more")
            }
            Reason::Other => f.write_str("something in its key that has no name"),
        }
    }
}

/// What stands for a value that is not shown.
pub(super) const HIDDEN: &str = "****";

fn of_mount(f: &mut fmt::Formatter<'_>, mount: &Option<String>) -> fmt::Result {
    match mount {
        Some(target) => write!(f, "mount {target}: "),
        None => Ok(()),
    }
}

fn quoted(value: &Option<String>) -> String {
    match value {
        Some(text) => format!("{:?}", short(text)),
        None => "not set".to_owned(),
    }
}

fn or_none(value: &Option<String>) -> String {
    value.as_deref().map_or_else(|| "none".to_owned(), short)
}

/// The text in one line of reasonable length.
fn short(text: &str) -> String {
    const MOST: usize = 200;
    let line = text.replace('\n', " ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
