//! A stable text form of a graph, for tests and for people.

use std::fmt;

use crate::{Exec, FileAction, Graph, Network, Op, Security, Source};

impl fmt::Display for Graph {
    /// One paragraph a vertex: its number, its operation, its inputs, then what it holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, vertex) in self.iter() {
            let inputs: Vec<String> = vertex.inputs.iter().map(|i| i.index().to_string()).collect();
            write!(f, "{}: ", id.index())?;
            match &vertex.op {
                Op::Source(Source::Scratch) => f.write_str("scratch")?,
                Op::Source(Source::Local(name)) => write!(f, "local {name}")?,
                Op::Source(Source::Image(image)) => {
                    let name = image.reference.as_ref().map(|r| r.familiar()).unwrap_or_default();
                    write!(f, "image {name} ({} layers)", image.diff_ids.len())?;
                }
                Op::Source(Source::Http(http)) => {
                    write!(f, "http {}", http.redacted())?;
                    if let Some(name) = &http.name {
                        write!(f, " as {name:?}")?;
                    }
                    if let Some(checksum) = &http.checksum {
                        write!(f, " {checksum}")?;
                    }
                }
                Op::Source(Source::Git(git)) => {
                    write!(f, "git {}", git.redacted())?;
                    if let Some(checksum) = &git.checksum {
                        write!(f, " {checksum}")?;
                    }
                    if git.keep_git_dir {
                        f.write_str(" (with .git)")?;
                    }
                    if !git.submodules {
                        f.write_str(" (without submodules)")?;
                    }
                }
                Op::Exec(_) => f.write_str("exec")?,
                Op::File(_) => f.write_str("file")?,
                Op::Merge => f.write_str("merge")?,
            }
            if !inputs.is_empty() {
                write!(f, " on {}", inputs.join(", "))?;
            }
            if vertex.ignore_cache {
                f.write_str(" (no cache)")?;
            }
            if let Some(location) = vertex.location {
                write!(f, " @{}:{}", location.line, location.column)?;
            }
            writeln!(f, "  # {}", vertex.name)?;
            match &vertex.op {
                Op::Exec(exec) => exec_lines(f, exec)?,
                Op::File(file) => {
                    for action in &file.actions {
                        match action {
                            FileAction::Copy(it) => writeln!(f, "   {it:?}")?,
                            FileAction::MakeDir(it) => writeln!(f, "   {it:?}")?,
                            FileAction::MakeFile(it) => writeln!(f, "   {it:?}")?,
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn exec_lines(f: &mut fmt::Formatter<'_>, exec: &Exec) -> fmt::Result {
    writeln!(f, "   args {:?}", exec.args)?;
    for variable in &exec.env {
        writeln!(f, "   env {variable:?}")?;
    }
    for variable in &exec.proxy_env {
        writeln!(f, "   proxy {variable:?}")?;
    }
    writeln!(f, "   cwd {:?}", exec.cwd)?;
    if !exec.user.is_empty() {
        writeln!(f, "   user {:?}", exec.user)?;
    }
    if exec.network != Network::Default {
        writeln!(f, "   network {:?}", exec.network)?;
    }
    if exec.security != Security::Sandbox {
        writeln!(f, "   security {:?}", exec.security)?;
    }
    for mount in &exec.mounts {
        writeln!(f, "   mount {:?} {:?}", mount.target, mount.kind)?;
    }
    for file in &exec.files {
        writeln!(f, "   file {:?} {:o} {:?}", file.path, file.mode, file.data)?;
    }
    if !exec.hostname.is_empty() {
        writeln!(f, "   hostname {:?}", exec.hostname)?;
    }
    for (name, address) in &exec.extra_hosts {
        writeln!(f, "   host {name:?} {address:?}")?;
    }
    Ok(())
}
