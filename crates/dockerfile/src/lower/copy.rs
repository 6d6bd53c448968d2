//! `COPY` and `ADD`: files from a context, a stage, an image or the Dockerfile itself.

use graph::{Copy, FileAction, FileOp, MakeFile, Op, Unpack, VertexId, redacted};

use crate::ast::{self, Instruction, Source};
use crate::check::Rule;
use crate::diagnostic::Diagnostic;
use crate::expand::Expander;
use crate::lower::remote::{Taken, described};
use crate::lower::run::{refuse_foreign_bytes, refuse_path};
use crate::lower::state::{Building, Lowering, MAIN_CONTEXT, Tree, input};
use crate::lower::{mode, path};
use crate::remote::{self, Remote};
use crate::span::{Span, Text};

/// What COPY and ADD share, not expanded.
struct Request<'a> {
    keyword: &'static str,
    add: Option<&'a ast::Add>,
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
            add: None,
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
        self.check_checksum(it, add)?;
        let request = Request {
            keyword: "ADD",
            add: Some(add),
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

    /// Only a single download has a checksum.
    fn check_checksum(&mut self, it: &Building, add: &ast::Add) -> Result<(), Diagnostic> {
        let Some(text) = &add.checksum else { return Ok(()) };
        let Some(checksum) = self.expand_optional(it, Some(text))? else { return Ok(()) };
        let [Source::Path(only)] = add.sources.as_slice() else {
            return Err(Diagnostic::error("checksum can't be specified for multiple sources", text.span));
        };
        let source = self.expand(it, only)?;
        match remote::parse(&source).map_err(|message| Diagnostic::error(message, only.span))? {
            Some(Remote::Git(git)) if git.looks_local => {}
            Some(_) => return Ok(()),
            None => {}
        }
        Err(Diagnostic::error("checksum requires HTTP(S) or Git sources", text.span)
            .with_help(format!("{source:?} is a local path, and {checksum} is checked by nothing")))
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
        let taken = self.taken(it, request)?;
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
        let shown = without_secrets(self.shown(it, &instruction.source), &taken);
        let name = self.name_step(it, &shown);

        // BuildKit makes a layer of its own only where no mode is asked for.
        let link = request.link && chmod.is_none();
        let mut inputs = vec![if link { self.scratch() } else { it.state.vertex }];
        let target = path::destination(&it.state.cwd, &dest);
        let mut actions = Vec::new();
        let several =
            taken.len() + request.sources.iter().filter(|s| matches!(s, Source::Inline(_))).count() > 1;
        let downloads = taken.iter().any(|taken| !matches!(taken, Taken::Path(_)));
        if several && downloads && !target.ends_with('/') {
            let message = format!(
                "when using {} with more than one source file, the destination must be a directory and end with a /: {dest:?}",
                request.keyword
            );
            return Err(Diagnostic::error(message, request.dest.span));
        }
        let copy = |from, sources, unpack, keep_owner| Copy {
            from,
            sources,
            dest: target.clone(),
            keep_owner,
            owner: owner.clone(),
            mode: mode.clone(),
            exclude: exclude.clone(),
            parents: request.parents,
            unpack,
        };
        for taken in &taken {
            match taken {
                Taken::Path(path) => {
                    created_by.push_str(&format!(" {path}"));
                    let tree = request.tree.unwrap_or_else(|| self.context(MAIN_CONTEXT));
                    let from = input(&mut inputs, tree.vertex);
                    let path = path::source(path, request.parents);
                    // Paths side by side are one copy.
                    match actions.last_mut() {
                        Some(FileAction::Copy(last)) if last.from == from => last.sources.push(path),
                        _ => {
                            let keep_owner = owner.is_none() && !tree.local;
                            let one = copy(from, vec![path], request.unpack, keep_owner);
                            actions.push(FileAction::Copy(one));
                        }
                    }
                }
                Taken::Remote { source, path, shown } => {
                    created_by.push_str(&format!(" {shown}"));
                    let from = self.download(it, &mut inputs, source, span);
                    // Downloads are unpacked only where that is asked for.
                    let unpack = match (source, request.add.and_then(|add| add.unpack)) {
                        (graph::Source::Http(_), Some(true)) => Unpack::IfArchive,
                        _ => Unpack::No,
                    };
                    actions.push(FileAction::Copy(copy(from, vec![path.clone()], unpack, false)));
                }
            }
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

    /// The sources that are no here-documents, expanded, in order.
    fn taken(&mut self, it: &Building, request: &Request<'_>) -> Result<Vec<Taken>, Diagnostic> {
        let mut all = Vec::new();
        for source in request.sources {
            let Source::Path(text) = source else { continue };
            let path = self.expand(it, text)?;
            if let Some(add) = request.add {
                if let Some(taken) = self.take_remote(it, add, text, &path)? {
                    all.push(taken);
                    continue;
                }
            } else {
                refuse_remote(&path, text.span)?;
            }
            if request.tree.is_none_or(|tree| tree.local) && path::climbs_out(&path) {
                let taken = path::source(&path, request.parents);
                self.warnings.add(
                    Rule::CopyOutOfContext,
                    format!(
                        "Source {path:?} leads out of the build context; as in Docker, {taken:?} in the context is taken"
                    ),
                    it.span(text.span),
                );
            }
            if request.tree.is_none() {
                self.check_ignored(it, request.keyword, &path, text);
            }
            all.push(Taken::Path(path));
        }
        Ok(all)
    }

    /// The number of a download's tree among the inputs.
    fn download(
        &mut self,
        it: &Building,
        inputs: &mut Vec<VertexId>,
        remote: &graph::Source,
        span: Span,
    ) -> u32 {
        let location = self.location(it.span(span));
        let vertex = self.remote(remote, described(remote), location);
        input(inputs, vertex)
    }

    /// `CopyIgnoredFile`. With patterns that take files back in nobody knows without a look at the
    /// files, as in BuildKit.
    fn check_ignored(&mut self, it: &Building, keyword: &str, path: &str, text: &Text) {
        let ignore = &self.options.ignore;
        if ignore.is_empty() || ignore.has_exceptions() {
            return;
        }
        let path = path::clean(path);
        if ignore.decide(path.as_bytes()).excluded {
            let verb = if keyword == "ADD" { "Add" } else { "Copy" };
            let message = format!("Attempting to {verb} file {path:?} that is excluded by .dockerignore");
            self.warnings.add(Rule::CopyIgnoredFile, message, it.span(text.span));
        }
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
        let expanded = Expander::raw().text(&heredoc.located(), &it.state.env)?;
        self.report_unset(it, &expanded.unset, heredoc.content_span);
        Ok(expanded.text)
    }
}

/// COPY takes from trees alone.
fn refuse_remote(path: &str, span: Span) -> Result<(), Diagnostic> {
    match remote::parse(path) {
        Ok(Some(Remote::Git(git))) if !git.looks_local => {
            Err(Diagnostic::error("source can't be a git ref for COPY", span).with_help("use ADD"))
        }
        Ok(Some(Remote::Http(_))) => Err(Diagnostic::error("source can't be a URL for COPY", span)
            .with_help("use ADD, or RUN with curl or wget")),
        Err(message) => Err(Diagnostic::error(message, span)),
        Ok(_) => Ok(()),
    }
}

/// An instruction's text with the passwords of its URLs left out.
fn without_secrets(mut text: String, taken: &[Taken]) -> String {
    for taken in taken {
        let Taken::Remote { source, .. } = taken else { continue };
        let url = match source {
            graph::Source::Http(http) => http.url.as_str(),
            graph::Source::Git(git) => git.remote.as_str(),
            _ => continue,
        };
        let redacted = redacted(url);
        if redacted != url {
            text = text.replace(url, &redacted);
        }
    }
    text
}
