//! `RUN --mount`: what each mount is of.

use graph::{CacheMount, Mount, MountKind};

use crate::ast::Run;
use crate::diagnostic::Diagnostic;
use crate::lower::path;
use crate::lower::state::{Building, Lowering, MAIN_CONTEXT, Tree, input};
use crate::mount::{MountOptions, MountType, Sharing};
use crate::span::Span;

impl Lowering<'_> {
    /// The mounts of a RUN by target, and the socket of the first agent among them. Trees that they
    /// read are added to `inputs`.
    pub(crate) fn mounts(
        &mut self,
        it: &Building,
        run: &Run,
        trees: &[Option<Tree>],
        inputs: &mut Vec<graph::VertexId>,
    ) -> Result<(Vec<Mount>, Option<String>), Diagnostic> {
        let mut all = Vec::with_capacity(run.mounts.len());
        let mut socket = None;
        let mut sockets = 0;
        for (number, mount) in run.mounts.iter().enumerate() {
            let span = mount.text.span;
            let options = mount.resolve(&mut |text| self.expand(it, text))?;
            let tree = trees.get(number).copied().flatten();
            all.push(match options.kind {
                MountType::Bind => {
                    let tree = tree.unwrap_or_else(|| self.context(MAIN_CONTEXT));
                    Mount {
                        target: target(it, &options, span)?,
                        kind: MountKind::Bind {
                            input: input(inputs, tree.vertex),
                            source: path::rooted(options.source.as_deref().unwrap_or_default()),
                            writable: !options.read_only,
                        },
                    }
                }
                MountType::Cache => self.cache(it, &options, tree, inputs, span)?,
                MountType::Tmpfs => Mount {
                    target: target(it, &options, span)?,
                    kind: MountKind::Tmpfs { size: Some(options.size).filter(|size| *size > 0) },
                },
                MountType::Secret => secret(&options, span)?,
                MountType::Ssh => {
                    let mount = ssh(&options, sockets, span)?;
                    sockets += 1;
                    socket.get_or_insert_with(|| mount.target.clone());
                    mount
                }
            });
        }
        // Their order in the Dockerfile means nothing, and must not miss the cache.
        all.sort_by(|a, b| a.target.cmp(&b.target));
        Ok((all, socket))
    }

    fn cache(
        &mut self,
        it: &Building,
        options: &MountOptions,
        tree: Option<Tree>,
        inputs: &mut Vec<graph::VertexId>,
        span: Span,
    ) -> Result<Mount, Diagnostic> {
        let source = path::rooted(options.source.as_deref().unwrap_or_default());
        let scratch = self.scratch_if_any();
        let tree = tree.filter(|tree| Some(tree.vertex) != scratch);
        if tree.is_none() && source != "/" {
            return Err(Diagnostic::error("a cache mount with source= needs from=", span)
                .with_help("source= is a path in what the cache is first filled from"));
        }
        let id = match options.id.as_deref().filter(|id| !id.is_empty()) {
            Some(id) => id.to_owned(),
            None => path::clean(options.target.as_deref().unwrap_or_default()),
        };
        let id = match self.build_args.get("BUILDKIT_CACHE_MOUNT_NS").filter(|space| !space.is_empty()) {
            Some(space) => format!("{space}/{id}"),
            None => id,
        };
        Ok(Mount {
            target: target(it, options, span)?,
            kind: MountKind::Cache(CacheMount {
                id,
                from: tree.map(|tree| (input(inputs, tree.vertex), source)),
                sharing: match options.sharing {
                    None | Some(Sharing::Shared) => graph::Sharing::Shared,
                    Some(Sharing::Private) => graph::Sharing::Private,
                    Some(Sharing::Locked) => graph::Sharing::Locked,
                },
                read_only: options.read_only,
                mode: options.mode.unwrap_or(0o755),
                uid: options.uid.unwrap_or(0),
                gid: options.gid.unwrap_or(0),
            }),
        })
    }
}

/// The path in the container, seen from the working directory.
fn target(it: &Building, options: &MountOptions, span: Span) -> Result<String, Diagnostic> {
    let target = path::resolve(&it.state.cwd, options.target.as_deref().unwrap_or_default());
    match target.as_str() {
        "/" => Err(Diagnostic::error(format!("invalid mount target {target:?}"), span)
            .with_help("give a directory below the root: target=/path")),
        _ => Ok(target),
    }
}

fn secret(options: &MountOptions, span: Span) -> Result<Mount, Diagnostic> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let target = given(&options.target);
    let id = given(&options.source).or_else(|| given(&options.id));
    let Some(id) = id.or_else(|| target.as_deref().map(|target| path::base(target).to_owned())) else {
        return Err(Diagnostic::error("invalid secret mount. one of source, target required", span));
    };
    let path = match &target {
        Some(target) => path::rooted(target),
        None => path::rooted(&format!("run/secrets/{}", path::base(&id))),
    };
    if path == "/" {
        return Err(Diagnostic::error(format!("invalid mount target {path:?}"), span));
    }
    Ok(Mount {
        target: path,
        kind: MountKind::Secret {
            id,
            required: options.required,
            mode: options.mode.unwrap_or(0o400),
            uid: options.uid.unwrap_or(0),
            gid: options.gid.unwrap_or(0),
            file: target.is_some() || options.env.is_none(),
            env: options.env.clone(),
        },
    })
}

fn ssh(options: &MountOptions, number: u32, span: Span) -> Result<Mount, Diagnostic> {
    if options.source.as_deref().is_some_and(|source| !source.is_empty()) {
        return Err(Diagnostic::error("ssh does not support source", span));
    }
    let target = match options.target.as_deref().filter(|target| !target.is_empty()) {
        Some(target) => path::rooted(target),
        None => format!("/run/buildkit/ssh_agent.{number}"),
    };
    if target == "/" {
        return Err(Diagnostic::error(format!("invalid mount target {target:?}"), span));
    }
    Ok(Mount {
        target,
        kind: MountKind::Ssh {
            id: options.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(|| "default".to_owned()),
            required: options.required,
            mode: options.mode.unwrap_or(0o600),
            uid: options.uid.unwrap_or(0),
            gid: options.gid.unwrap_or(0),
        },
    })
}
