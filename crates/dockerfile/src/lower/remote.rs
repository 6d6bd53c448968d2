//! Trees that are downloaded, and trees of contexts that become layers.

use graph::{Copy, FileAction, FileOp, Op, Source, Unpack, VertexId, redacted};
use oci::{Digest, History};

use crate::ast;
use crate::diagnostic::Diagnostic;
use crate::lower::state::{Building, Lowering, State, source};
use crate::remote::{self, Remote};
use crate::span::{Span, Text};

/// What a source of COPY or ADD is.
pub(crate) enum Taken {
    /// A path in a tree, as written but for its variables.
    Path(String),
    /// A download: the file at `path` of its tree, or the whole of a checkout.
    Remote {
        source: Source,
        path: String,
        /// As it is written, without passwords.
        shown: String,
    },
}

impl Lowering<'_> {
    /// The source of an ADD that is on another machine; `None` where it is a path.
    pub(crate) fn take_remote(
        &mut self,
        it: &Building,
        add: &ast::Add,
        text: &Text,
        expanded: &str,
    ) -> Result<Option<Taken>, Diagnostic> {
        let fail = |message: String| Diagnostic::error(message, text.span);
        let checksum = self.expand_optional(it, add.checksum.as_ref())?;
        let at = add.checksum.as_ref().map_or(text.span, |checksum| checksum.span);
        match remote::parse(expanded).map_err(fail)? {
            Some(Remote::Git(git)) if git.looks_local => Ok(None),
            None => Ok(None),
            Some(Remote::Http(url)) => {
                let checksum = checksum.map(|checksum| sha256(&checksum, at)).transpose()?;
                let name = remote::file_name(&url);
                // What the server calls the file is not known before; there is no other in the tree.
                let plain = name.as_deref().filter(|name| !name.contains(['*', '?', '[', '\\']));
                let path = plain.map_or_else(|| "/*".to_owned(), |name| format!("/{name}"));
                let source = graph::HttpSource { url, name, checksum };
                Ok(Some(Taken::Remote { source: Source::Http(source), path, shown: redacted(expanded) }))
            }
            Some(Remote::Git(git)) => {
                if let (Some(flag), Some(query)) = (add.keep_git_dir, git.keep_git_dir)
                    && flag != query
                {
                    return Err(fail("inconsistent keep-git-dir configuration".to_owned()));
                }
                let mut source = git.source(add.keep_git_dir.unwrap_or(false));
                if let Some(checksum) = checksum {
                    remote::check_commit(&checksum).map_err(|message| Diagnostic::error(message, at))?;
                    if let Some(other) = source.checksum.filter(|other| *other != checksum) {
                        let message = format!("checksum mismatch {checksum:?} != {other:?}");
                        return Err(Diagnostic::error(message, at));
                    }
                    source.checksum = Some(checksum);
                }
                let (source, path) = (Source::Git(source), "/".to_owned());
                Ok(Some(Taken::Remote { source, path, shown: redacted(expanded) }))
            }
        }
    }

    /// The vertex of a download; the same one wherever the same is downloaded.
    pub(crate) fn remote(
        &mut self,
        remote: &Source,
        title: String,
        location: Option<graph::Location>,
    ) -> VertexId {
        if let Some((_, vertex)) = self.remotes.iter().find(|(known, _)| known == remote) {
            return *vertex;
        }
        let vertex = self.graph.add(source(Source::clone(remote), title, location));
        self.remotes.push((remote.clone(), vertex));
        vertex
    }

    /// Makes a layer of the context that a stage is, so that there can be more on it.
    pub(crate) fn settle(&mut self, state: &mut State, span: Span) {
        let Some(name) = self.context_name(state.vertex).map(str::to_owned) else { return };
        let context = state.vertex;
        state.vertex = match self.settled.get(&context) {
            Some(vertex) => *vertex,
            None => {
                let action = FileAction::Copy(Copy {
                    from: 1,
                    sources: vec!["/".to_owned()],
                    dest: "/".to_owned(),
                    owner: None,
                    mode: None,
                    exclude: Vec::new(),
                    parents: false,
                    unpack: Unpack::No,
                    keep_owner: false,
                });
                let op = Op::File(FileOp { actions: vec![action] });
                let inputs = vec![self.scratch(), context];
                let name = format!("[context {name}] load from client");
                let location = self.location(span);
                let vertex = self.graph.add(graph::Vertex {
                    op,
                    inputs,
                    name,
                    location,
                    ignore_cache: false,
                    place: None,
                });
                self.settled.insert(context, vertex);
                vertex
            }
        };
        state.config.history.push(self.told(format!("local source for {name}")));
    }

    /// The history entry of a layer that no instruction made, as BuildKit's exporter adds it.
    pub(crate) fn told(&self, created_by: String) -> History {
        History {
            created: Some(self.created.clone()),
            created_by,
            author: String::new(),
            comment: "buildkit.exporter.image.v0".to_owned(),
            empty_layer: false,
        }
    }

    fn context_name(&self, vertex: VertexId) -> Option<&str> {
        self.contexts.iter().find(|(_, context)| **context == vertex).map(|(name, _)| name.as_str())
    }
}

/// A download as people see it.
pub(crate) fn described(remote: &Source) -> String {
    match remote {
        Source::Http(http) => http.redacted(),
        Source::Git(git) => git.redacted(),
        _ => String::new(),
    }
}

fn sha256(text: &str, span: Span) -> Result<Digest, Diagnostic> {
    let digest: Digest = text.parse().map_err(|error| {
        Diagnostic::error(format!("{error}"), span).with_help("write --checksum=sha256: and 64 hex digits")
    })?;
    match digest.algorithm() {
        "sha256" => Ok(digest),
        other => Err(Diagnostic::error(format!("checksum by {other} is not supported for a URL"), span)
            .with_help("give its SHA-256: --checksum=sha256:…")),
    }
}
