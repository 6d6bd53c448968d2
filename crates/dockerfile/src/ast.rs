//! The syntax tree of a Dockerfile: what is written, typed, with places; nothing expanded.
//!
//! Every string that Docker expands variables in is a [`Text`], kept as written. What is fixed by
//! the grammar (flags that are booleans, durations, network modes) is typed already. Whether a
//! stage, an image or a file exists is not asked here.

use std::borrow::Cow;
use std::time::Duration;

pub use crate::mount::{Device, Mount};
pub use crate::span::{Span, Text};

use crate::heredoc;
use crate::span::TextBuilder;

/// A whole Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dockerfile {
    /// The parser directives at the top (`# syntax=`, `# escape=`, `# check=`).
    pub directives: Directives,
    /// The `ARG` instructions before the first `FROM`, in order; each of kind [`Kind::Arg`].
    pub global_args: Vec<Instruction>,
    /// The stages in order; at least one.
    pub stages: Vec<Stage>,
}

/// The parser directives of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`: the frontend image asked for. Noted, never fetched.
    pub syntax: Option<Text>,
    /// `# escape=`: the escape character, a backslash or a backtick.
    pub escape: char,
    /// `# check=`: which build checks to skip, and whether their warnings are errors.
    pub check: Option<Check>,
}

/// The settings of `# check=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Names of build checks to leave out.
    pub skip: Vec<String>,
    /// `skip=all`.
    pub skip_all: bool,
    /// `error=true`: a warning fails the build.
    pub error: bool,
    /// Names of experimental checks to run.
    pub experimental: Vec<String>,
    /// `experimental=all`.
    pub experimental_all: bool,
    /// Where it is written.
    pub span: Span,
}

/// One stage: a `FROM` and the instructions up to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The name given by `AS`, in lower case as Docker compares it; not expanded.
    pub name: Option<Text>,
    /// The word `AS` as written, where there is a name.
    pub as_keyword: Option<Text>,
    /// What it is built on: an image reference, an earlier stage's name, or `scratch`; expanded with
    /// global arguments only.
    pub base: Text,
    /// `--platform=`; expanded with global arguments only.
    pub platform: Option<Text>,
    /// Its keyword as written, not case-folded.
    pub keyword: Text,
    /// The `FROM` instruction.
    pub span: Span,
    /// The `FROM` line as written, continuations joined, trimmed.
    pub source: String,
    /// The comment lines right above the `FROM`, without `#`, trimmed.
    pub comments: Vec<String>,
    /// The instructions of the stage, in order.
    pub instructions: Vec<Instruction>,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// From its keyword to its last byte, heredocs included.
    pub span: Span,
    /// Its keyword as written, not case-folded.
    pub keyword: Text,
    /// Its text as written, continuations joined, trimmed, without the bodies of heredocs: what
    /// progress shows.
    pub source: String,
    /// The comment lines right above it, without `#`, trimmed.
    pub comments: Vec<String>,
    /// What it says.
    pub kind: Kind,
}

/// The instructions of the Dockerfile language, `FROM` excepted, which begins a [`Stage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `ADD`
    Add(Add),
    /// `ARG`
    Arg(Vec<ArgDeclaration>),
    /// `CMD`
    Cmd(Command),
    /// `COPY`
    Copy(Copy),
    /// `ENTRYPOINT`
    Entrypoint(Command),
    /// `ENV`; at least one
    Env(Vec<KeyValue>),
    /// `EXPOSE`: ports as written (`80`, `80/udp`, `3000-3010`), in the order written; at least
    /// one. Docker sorts them before it makes the history entry.
    Expose(Vec<Text>),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
    /// `LABEL`; at least one
    Label(Vec<KeyValue>),
    /// `MAINTAINER` (deprecated); not expanded
    Maintainer(Text),
    /// `ONBUILD`
    Onbuild(Onbuild),
    /// `RUN`
    Run(Run),
    /// `SHELL`: at least one element; not expanded
    Shell(Vec<Text>),
    /// `STOPSIGNAL`
    Stopsignal(Text),
    /// `USER`
    User(Text),
    /// `VOLUME`: paths in the image, trimmed; at least one
    Volume(Vec<Text>),
    /// `WORKDIR`
    Workdir(Text),
}

/// One name of an `ARG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// The name; Docker expands it too.
    pub name: Text,
    /// The default; `ARG x=` has an empty one.
    pub default: Option<Text>,
}

/// One pair of an `ENV` or `LABEL`; both halves are expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// Left of the `=`; not empty.
    pub key: Text,
    /// Right of it, quotes kept.
    pub value: Text,
    /// Written as `ENV key value`, without `=`.
    pub legacy: bool,
}

/// A command line in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `["a", "b"]`: the arguments decoded from JSON, run as they are; may be empty.
    Exec(Vec<Text>),
    /// Anything else: one line for the shell in force, not expanded by us; may be empty.
    Shell(Text),
}

/// A file given inline, by `<<NAME` or `<<-NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter, quotes removed; for COPY and ADD also the file's name.
    pub name: String,
    /// The `<<NAME` word.
    pub span: Span,
    /// The file descriptor written before `<<`, 0 if none.
    pub descriptor: u32,
    /// Whether variables in it are expanded (the delimiter was not quoted).
    pub expand: bool,
    /// Written with `<<-`: leading tabs go, see [`Heredoc::data`].
    pub chomp: bool,
    /// The lines up to the delimiter as they stand in the source, line ends and tabs included.
    pub content: Vec<u8>,
    /// The place of `content` in the source.
    pub content_span: Span,
}

impl Heredoc {
    /// The content of the file: `content`, with leading tabs removed from each line for `<<-`.
    pub fn data(&self) -> Cow<'_, [u8]> {
        if !self.chomp {
            return Cow::Borrowed(&self.content);
        }
        let mut data = Vec::with_capacity(self.content.len());
        for line in self.content.split_inclusive(|byte| *byte == b'\n') {
            let tabs = line.iter().take_while(|byte| **byte == b'\t').count();
            data.extend_from_slice(&line[tabs..]);
        }
        Cow::Owned(data)
    }

    /// The same as text, invalid UTF-8 replaced, as expansion and shells take it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.data()).into_owned()
    }

    /// The same with its places, so that an error in expanding it can be shown where it is.
    pub fn located(&self) -> Text {
        let mut offset = self.content_span.start;
        let mut builder = TextBuilder::at(offset);
        for line in self.content.split_inclusive(|byte| *byte == b'\n') {
            let tabs = line.iter().take_while(|byte| self.chomp && **byte == b'\t').count();
            let end = offset + Span::at(line.len()).start;
            builder.push_bytes(&line[tabs..], offset + Span::at(tabs).start);
            offset = end;
        }
        builder.finish()
    }
}

/// One source of a COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path or pattern in the context or in `--from`; for ADD also a URL or Git repository.
    Path(Text),
    /// A file given inline. Docker copies these after all the paths.
    Inline(Heredoc),
}

/// `COPY`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// At least one, in the order written.
    pub sources: Vec<Source>,
    /// Path in the image.
    pub dest: Text,
    /// `--from=`: an earlier stage by name or index, a named context, or an image. Docker does not
    /// expand it.
    pub from: Option<Text>,
    /// `--chown=`: `user[:group]`, names or numbers.
    pub chown: Option<Text>,
    /// `--chmod=`: octal or symbolic.
    pub chmod: Option<Text>,
    /// `--link`: a layer of its own, whatever is below it.
    pub link: bool,
    /// `--parents`: keep the sources' directories.
    pub parents: bool,
    /// `--exclude=`: patterns to leave out, in order.
    pub exclude: Vec<Text>,
}

/// `ADD`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// At least one, in the order written.
    pub sources: Vec<Source>,
    /// Path in the image.
    pub dest: Text,
    /// `--chown=`
    pub chown: Option<Text>,
    /// `--chmod=`
    pub chmod: Option<Text>,
    /// `--link`
    pub link: bool,
    /// `--exclude=`, in order
    pub exclude: Vec<Text>,
    /// `--checksum=`: the digest a download must have.
    pub checksum: Option<Text>,
    /// `--keep-git-dir`; none if not written
    pub keep_git_dir: Option<bool>,
    /// `--unpack`: unpack archives also when downloaded, or not even when local; none if not
    /// written.
    pub unpack: Option<bool>,
}

/// `RUN`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What to run. The shell does the expansion.
    pub command: Command,
    /// The heredocs of a shell-form command, in order. If the whole command is one `<<NAME`, its
    /// content is the script; else the shell gets them as written.
    pub heredocs: Vec<Heredoc>,
    /// `--mount=`, in order
    pub mounts: Vec<Mount>,
    /// `--network=`; none if not written
    pub network: Option<Network>,
    /// `--security=`; none if not written
    pub security: Option<Security>,
    /// `--device=`, in order
    pub devices: Vec<Device>,
}

impl Run {
    /// The heredoc that is the whole command (`RUN <<EOF`): its content is the script then. With
    /// anything else in the command, the shell gets the heredocs as they are written.
    pub fn script(&self) -> Option<&Heredoc> {
        match &self.command {
            Command::Shell(line) => {
                heredoc::mark(&line.raw).ok().flatten()?;
                self.heredocs.first()
            }
            Command::Exec(_) => None,
        }
    }
}

/// `RUN --network=`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// `default`: what the build was given
    Default,
    /// `none`: loopback only
    None,
    /// `host`: the host's
    Host,
}

/// `RUN --security=`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// `sandbox`
    Sandbox,
    /// `insecure`: no confinement
    Insecure,
}

/// `HEALTHCHECK`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// `HEALTHCHECK NONE`: drop the base image's.
    None,
    /// `HEALTHCHECK [flags] CMD command`
    Cmd {
        /// The command; not empty. In shell form the image keeps it as `CMD-SHELL`.
        command: Command,
        /// The flags; zero where not written.
        timing: HealthTiming,
    },
}

/// The flags of `HEALTHCHECK`; zero means Docker's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HealthTiming {
    /// `--interval=`
    pub interval: Duration,
    /// `--timeout=`
    pub timeout: Duration,
    /// `--start-period=`
    pub start_period: Duration,
    /// `--start-interval=`
    pub start_interval: Duration,
    /// `--retries=`
    pub retries: u32,
}

/// `ONBUILD`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onbuild {
    /// The trigger's own keyword, in upper case.
    pub keyword: String,
    /// What goes into the image config: the trigger as written, heredocs included. A build on that
    /// image reads it back with [`crate::parse_trigger`].
    pub expression: String,
}
