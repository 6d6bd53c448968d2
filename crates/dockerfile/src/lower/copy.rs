//! `COPY` and `ADD`: files from a context, a stage, an image or the Dockerfile itself.

use graph::{Copy, FileAction, FileOp, MakeFile, Op, Unpack};

use crate::ast::{self, Instruction, Source};
use crate::diagnostic::Diagnostic;
use crate::expand::Expander;
use crate::lower::run::{refuse_foreign_bytes, refuse_path};
use crate::lower::state::{Building, Lowering, MAIN_CONTEXT, Tree, input};
use crate::lower::{mode, path};
use crate::span::{Span, Text};

/// What COPY and ADD share, not expanded.
struct Request<'a> {
    keyword: &'static str,
    sources: &'a [Source],
    dest: &'a Text,
    chown: Option<&'a Text>,
    chmod: Option<&'a Text>,
    exclude: &'a [Text],
    link: bool,
    parents: bool,
    unpack: Unpack,
    tree: Option<Tree>,
}

impl Lowering<'_> {
    pub(crate) fn copy(
        &mut self,
        it: &mut Building,
        instruction: &Instruction,
        copy: &ast::Copy,
        tree: Option<Tree>,
    ) -> Result<(), Diagnostic> {
        let request = Request {
            keyword: "COPY",
            sources: &copy.sources,
            dest: &copy.dest,
            chown: copy.chown.as_ref(),
            chmod: copy.chmod.as_ref(),
            exclude: &copy.exclude,
            link: copy.link,
            parents: copy.parents,
            unpack: Unpack::No,
            tree,
        };
        self.transfer(it, instruction, &request)
    }

    pub(crate) fn add(
        &mut self,
        it: &mut Building,
        instruction: &Instruction,
        add: &ast::Add,
    ) -> Result<(), Diagnostic> {
        if let Some(checksum) = self.expand_optional(it, add.checksum.as_ref())? {
            let at = add.checksum.as_ref().map_or(instruction.span, |text| text.span);
            return Err(self.check_checksum(it, add, &checksum, at));
        }
        let request = Request {
            keyword: "ADD",
            sources: &add.sources,
            dest: &add.dest,
            chown: add.chown.as_ref(),
            chmod: add.chmod.as_ref(),
            exclude: &add.exclude,
            link: add.link,
            parents: false,
            unpack: if add.unpack == Some(false) { Unpack::No } else { Unpack::IfArchive },
            tree: None,
        };
        self.transfer(it, instruction, &request)
    }

    /// Why an ADD with `--checksum` can't be: only downloads have checksums, and those come later.
    fn check_checksum(&mut self, it: &Building, add: &ast::Add, checksum: &str, at: Span) -> Diagnostic {
        let [Source::Path(only)] = add.sources.as_slice() else {
            return Diagnostic::error("checksum can't be specified for multiple sources", at);
        };
        match self.expand(it, only) {
            Err(error) => error,
            Ok(source) => match remote(&source) {
                Some(kind) => not_yet(kind, only),
                None => Diagnostic::error("checksum requires HTTP(S) or Git sources", at)
                    .with_help(format!("{source:?} is a local path, and {checksum} is checked by nothing")),
            },
        }
    }

    fn transfer(
        &mut self,
        it: &mut Building,
        instruction: &Instruction,
        request: &Request<'_>,
    ) -> Result<(), Diagnostic> {
        let span = instruction.span;
        let owner = self.expand_optional(it, request.chown)?;
        let chmod = self.expand_optional(it, request.chmod)?;
        let mode = match (&chmod, request.chmod) {
            (Some(chmod), Some(text)) => {
                Some(mode::parse(chmod).map_err(|message| Diagnostic::error(message, text.span))?)
            }
            _ => None,
        };
        let paths = self.paths(it, request)?;
        let dest = self.expand(it, request.dest)?;
        let exclude = self.excluded(it, request.exclude)?;

        let mut created_by = request.keyword.to_owned();
        if request.parents {
            created_by.push_str(" --parents");
        }
        for (flag, value) in [("chown", &owner), ("chmod", &chmod)] {
            if let Some(value) = value {
                created_by.push_str(&format!(" --{flag}={value}"));
            }
        }
        let shown = self.shown(it, &instruction.source);
        let name = self.name_step(it, &shown);

        // BuildKit makes a layer of its own only where no mode is asked for.
        let link = request.link && chmod.is_none();
        let mut inputs = vec![if link { self.scratch() } else { it.state.vertex }];
        let target = path::destination(&it.state.cwd, &dest);
        let mut actions = Vec::new();
        for path in &paths {
            created_by.push_str(&format!(" {path}"));
        }
        if !paths.is_empty() {
            let tree = request.tree.unwrap_or_else(|| self.context(MAIN_CONTEXT));
            actions.push(FileAction::Copy(Copy {
                from: input(&mut inputs, tree.vertex),
                sources: paths.iter().map(|path| path::source(path, request.parents)).collect(),
                dest: target.clone(),
                keep_owner: owner.is_none() && !tree.local,
                owner: owner.clone(),
                mode: mode.clone(),
                exclude,
                parents: request.parents,
                unpack: request.unpack,
            }));
        }
        for source in request.sources {
            let Source::Inline(heredoc) = source else { continue };
            created_by.push_str(&format!(" <<{}", heredoc.name));
            let data = self.inline(it, heredoc)?;
            self.budget.spend(data.len(), span)?;
            actions.push(FileAction::MakeFile(MakeFile {
                dest: target.clone(),
                name: heredoc.name.clone(),
                data,
                mode: mode.clone(),
                owner: owner.clone(),
            }));
        }
        created_by.push_str(&format!(" {dest} # buildkit"));

        let op = Op::File(FileOp { actions });
        let made = self.vertex(it, op, inputs, name, span)?;
        it.state.vertex = if link && it.state.vertex != self.scratch() {
            let name = self.name_part(it, &format!("LINK {shown}"));
            self.vertex(it, Op::Merge, vec![it.state.vertex, made], name, span)?
        } else {
            made
        };
        self.commit(it, created_by, true, span)
    }

    /// The sources that are paths, expanded. Anything else that they may be is refused.
    fn paths(&mut self, it: &Building, request: &Request<'_>) -> Result<Vec<String>, Diagnostic> {
        let mut paths = Vec::new();
        for source in request.sources {
            let Source::Path(text) = source else { continue };
            let path = self.expand(it, text)?;
            match remote(&path) {
                Some(kind) if request.keyword == "ADD" => return Err(not_yet(kind, text)),
                Some(Remote::Git) => {
                    return Err(Diagnostic::error("source can't be a git ref for COPY", text.span)
                        .with_help("use ADD"));
                }
                Some(Remote::Http) => {
                    return Err(Diagnostic::error("source can't be a URL for COPY", text.span)
                        .with_help("use ADD, or RUN with curl or wget"));
                }
                None => {}
            }
            if request.tree.is_none_or(|tree| tree.local) && path::climbs_out(&path) {
                let taken = path::source(&path, request.parents);
                self.warnings.add(
                    "CopyOutOfContext",
                    format!(
                        "Source {path:?} leads out of the build context; as in Docker, {taken:?} in the context is taken"
                    ),
                    it.span(text.span),
                );
            }
            paths.push(path);
        }
        Ok(paths)
    }

    /// Patterns as they are written, but for their variables: backslashes are the pattern's.
    fn excluded(&mut self, it: &Building, patterns: &[Text]) -> Result<Vec<String>, Diagnostic> {
        let mut all = Vec::with_capacity(patterns.len());
        for text in patterns {
            all.push(match text.raw.contains('$') {
                true => self.expand(it, text)?,
                false => text.raw.clone(),
            });
        }
        Ok(all)
    }

    /// The content of a file given inline.
    fn inline(&mut self, it: &Building, heredoc: &ast::Heredoc) -> Result<String, Diagnostic> {
        refuse_path(heredoc)?;
        refuse_foreign_bytes(heredoc)?;
        let data = heredoc.text();
        if !heredoc.expand {
            return Ok(data);
        }
        let expanded = Expander::raw().word(&data, &it.state.env).map_err(|error| {
            // Tabs removed by `<<-` shift the places: then the whole content is to blame.
            let start = heredoc.content_span.start as usize;
            let at = match heredoc.chomp {
                true => heredoc.content_span,
                false => Span::new(start + error.range.start, start + error.range.end),
            };
            Diagnostic::error(error.message, at)
        })?;
        self.report_unset(it, &expanded.unset, heredoc.content_span);
        Ok(expanded.text)
    }
}

/// A source that is no path.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Remote {
    Http,
    Git,
}

/// What kind of download `source` is, if it is one.
fn remote(source: &str) -> Option<Remote> {
    let web = ["http://", "https://"].iter().find_map(|scheme| source.strip_prefix(scheme));
    if let Some(rest) = web {
        let path = rest.split(['#', '?']).next().unwrap_or(rest);
        return Some(if path.ends_with(".git") { Remote::Git } else { Remote::Http });
    }
    if source.starts_with("git://") || source.starts_with("ssh://") {
        return Some(Remote::Git);
    }
    // `user@host:path`, as scp writes it.
    let (user, rest) = source.split_once('@')?;
    let (host, _) = rest.split_once(':')?;
    let word = |text: &str, others: &[char]| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(&c))
    };
    (word(user, &['-', '_']) && word(host, &['-', '_', '.'])).then_some(Remote::Git)
}

/// The source is shown as it is written: its variables may hold a password.
fn not_yet(kind: Remote, source: &Text) -> Diagnostic {
    let what = match kind {
        Remote::Http => "a URL",
        Remote::Git => "a Git repository",
    };
    Diagnostic::error(format!("ADD of {what} is not supported yet: {source}"), source.span)
        .with_help("download it beforehand and COPY it, or use RUN with curl, wget or git")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes() {
        for (source, kind) in [
            ("http://a/b", Some(Remote::Http)),
            ("https://a/b.tar.gz?x=y.git", Some(Remote::Http)),
            ("https://a/b.git", Some(Remote::Git)),
            ("https://a/b.git#main:dir", Some(Remote::Git)),
            ("git://a/b", Some(Remote::Git)),
            ("ssh://git@a/b", Some(Remote::Git)),
            ("git@github.com:a/b.git", Some(Remote::Git)),
            ("github.com/a/b", None),
            ("./a@b:c", None),
            ("a:b", None),
            ("a@b", None),
            ("ftp://a/b", None),
            ("a", None),
        ] {
            assert_eq!(remote(source), kind, "{source}");
        }
    }
}
