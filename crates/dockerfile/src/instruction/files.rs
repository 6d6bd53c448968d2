//! `COPY` and `ADD`.

use std::collections::{HashMap, VecDeque};

use super::Reader;
use crate::ast::{Add, Copy, Heredoc, Kind, Source};
use crate::diagnostic::Diagnostic;
use crate::flags::Takes;
use crate::heredoc;
use crate::span::Text;

impl Reader<'_> {
    pub(super) fn copy(&mut self) -> Result<Kind, Diagnostic> {
        let arguments = self.sources_and_dest()?;
        let mut flags = self.flags(&[
            ("from", Takes::Value),
            ("chown", Takes::Value),
            ("chmod", Takes::Value),
            ("link", Takes::Bool),
            ("parents", Takes::Bool),
            ("exclude", Takes::Values),
        ])?;
        let (sources, dest) = self.sources(arguments)?;
        Ok(Kind::Copy(Copy {
            sources,
            dest,
            from: flags.value("from"),
            chown: flags.value("chown"),
            chmod: flags.value("chmod"),
            link: flags.switch("link").unwrap_or(false),
            parents: flags.switch("parents").unwrap_or(false),
            exclude: flags.values("exclude"),
        }))
    }

    pub(super) fn add(&mut self) -> Result<Kind, Diagnostic> {
        let arguments = self.sources_and_dest()?;
        let mut flags = self.flags(&[
            ("chown", Takes::Value),
            ("chmod", Takes::Value),
            ("link", Takes::Bool),
            ("exclude", Takes::Values),
            ("checksum", Takes::Value),
            ("keep-git-dir", Takes::Bool),
            ("unpack", Takes::Bool),
        ])?;
        let (sources, dest) = self.sources(arguments)?;
        Ok(Kind::Add(Add {
            sources,
            dest,
            chown: flags.value("chown"),
            chmod: flags.value("chmod"),
            link: flags.switch("link").unwrap_or(false),
            keep_git_dir: flags.switch("keep-git-dir"),
            unpack: flags.switch("unpack"),
            checksum: flags.value("checksum"),
            exclude: flags.values("exclude"),
        }))
    }

    /// The arguments, two at least.
    fn sources_and_dest(&self) -> Result<Vec<Text>, Diagnostic> {
        let arguments = self.list()?;
        if arguments.len() < 2 {
            let found = if arguments.is_empty() { "none" } else { "only one" };
            return self.error(format!(
                "{} requires at least two arguments, but {found} was provided. \
                 Destination could not be determined",
                self.keyword
            ));
        }
        Ok(arguments)
    }

    fn sources(&mut self, mut arguments: Vec<Text>) -> Result<(Vec<Source>, Text), Diagnostic> {
        let dest = arguments.pop().expect("because two arguments at least have been asked for");
        let is_mark = |text: &Text| heredoc::mark(&text.raw).ok().flatten();
        if is_mark(&dest).is_some() {
            let message = format!("{} cannot accept a heredoc as a destination", self.keyword);
            return Err(Diagnostic::error(message, dest.span));
        }
        let mut bodies: HashMap<String, VecDeque<Heredoc>> = HashMap::new();
        for heredoc in std::mem::take(&mut self.heredocs) {
            bodies.entry(heredoc.name.clone()).or_default().push_back(heredoc);
        }
        let sources = arguments.into_iter().map(|argument| {
            let body = is_mark(&argument).and_then(|mark| bodies.get_mut(&mark.name)?.pop_front());
            match body {
                Some(heredoc) => Source::Inline(heredoc),
                None => Source::Path(argument),
            }
        });
        Ok((sources.collect(), dest))
    }
}
