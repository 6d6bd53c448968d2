//! The syntax tree as text, one instruction a line, each string with line and column.

use std::fmt::Write;

use dockerfile::ast::*;
use dockerfile::{LineIndex, Span};

pub fn dump(dockerfile: &Dockerfile, source: &[u8]) -> String {
    let mut dump = Dump { index: LineIndex::new(source), source, text: String::new() };
    dump.dockerfile(dockerfile);
    dump.text
}

struct Dump<'a> {
    index: LineIndex,
    source: &'a [u8],
    text: String,
}

impl Dump<'_> {
    fn at(&self, span: Span) -> String {
        let position = self.index.position(self.source, span.start);
        format!("{}:{}", position.line, position.column)
    }

    fn text(&self, text: &Text) -> String {
        format!("{:?}@{}", text.raw, self.at(text.span))
    }

    fn texts(&self, texts: &[Text]) -> String {
        let texts: Vec<String> = texts.iter().map(|text| self.text(text)).collect();
        texts.join(" ")
    }

    fn dockerfile(&mut self, dockerfile: &Dockerfile) {
        let directives = &dockerfile.directives;
        if let Some(syntax) = &directives.syntax {
            let _ = writeln!(self.text, "# syntax {}", self.text(syntax));
        }
        if directives.escape != '\\' {
            let _ = writeln!(self.text, "# escape {}", directives.escape);
        }
        if let Some(check) = &directives.check {
            let _ = writeln!(self.text, "# check {check:?}");
        }
        for arg in &dockerfile.global_args {
            self.instruction(arg);
        }
        for stage in &dockerfile.stages {
            let _ = write!(self.text, "from {}", self.text(&stage.base));
            if let Some(name) = &stage.name {
                let _ = write!(self.text, " as {}", self.text(name));
            }
            if let Some(platform) = &stage.platform {
                let _ = write!(self.text, " platform {}", self.text(platform));
            }
            let _ = writeln!(self.text, " | {} {}", self.at(stage.span), stage.source);
            self.comments(&stage.comments);
            for instruction in &stage.instructions {
                self.instruction(instruction);
            }
        }
    }

    fn comments(&mut self, comments: &[String]) {
        for comment in comments {
            let _ = writeln!(self.text, "    # {comment}");
        }
    }

    fn instruction(&mut self, instruction: &Instruction) {
        let (first, last) = self.index.lines(instruction.span);
        let (kind, details) = self.kind(&instruction.kind);
        let _ = write!(self.text, "  {kind}");
        for detail in &details {
            let _ = write!(self.text, " {detail}");
        }
        let lines = if first == last { first.to_string() } else { format!("{first}-{last}") };
        let _ = writeln!(self.text, " | {lines} {}", instruction.source);
        self.comments(&instruction.comments);
        match &instruction.kind {
            Kind::Run(run) => run.heredocs.iter().for_each(|heredoc| self.heredoc(heredoc)),
            Kind::Copy(Copy { sources, .. }) | Kind::Add(Add { sources, .. }) => {
                for source in sources {
                    if let Source::Inline(heredoc) = source {
                        self.heredoc(heredoc);
                    }
                }
            }
            _ => {}
        }
    }

    fn heredoc(&mut self, heredoc: &Heredoc) {
        let content = &self.source[heredoc.content_span.range()];
        assert_eq!(content, heredoc.content, "the span of a heredoc is that of its content");
        let _ = writeln!(
            self.text,
            "    <<{:?}@{} fd={} expand={} chomp={} {}: {:?}",
            heredoc.name,
            self.at(heredoc.span),
            heredoc.descriptor,
            heredoc.expand,
            heredoc.chomp,
            self.at(heredoc.content_span),
            String::from_utf8_lossy(&heredoc.data()),
        );
    }

    fn kind(&self, kind: &Kind) -> (&'static str, Vec<String>) {
        let one = |text: &Text| vec![self.text(text)];
        match kind {
            Kind::Add(add) => {
                let mut details = self.sources(&add.sources, &add.dest);
                self.option(&mut details, "chown", &add.chown);
                self.option(&mut details, "chmod", &add.chmod);
                self.option(&mut details, "checksum", &add.checksum);
                details.extend(add.exclude.iter().map(|text| format!("exclude={}", self.text(text))));
                details.extend(add.link.then(|| "link".to_owned()));
                details.extend(add.keep_git_dir.map(|keep| format!("keep-git-dir={keep}")));
                details.extend(add.unpack.map(|unpack| format!("unpack={unpack}")));
                ("add", details)
            }
            Kind::Copy(copy) => {
                let mut details = self.sources(&copy.sources, &copy.dest);
                self.option(&mut details, "from", &copy.from);
                self.option(&mut details, "chown", &copy.chown);
                self.option(&mut details, "chmod", &copy.chmod);
                details.extend(copy.exclude.iter().map(|text| format!("exclude={}", self.text(text))));
                details.extend(copy.link.then(|| "link".to_owned()));
                details.extend(copy.parents.then(|| "parents".to_owned()));
                ("copy", details)
            }
            Kind::Arg(declarations) => {
                let show = |arg: &ArgDeclaration| match &arg.default {
                    Some(default) => format!("{}={}", self.text(&arg.name), self.text(default)),
                    None => self.text(&arg.name),
                };
                ("arg", declarations.iter().map(show).collect())
            }
            Kind::Cmd(command) => ("cmd", vec![self.command(command)]),
            Kind::Entrypoint(command) => ("entrypoint", vec![self.command(command)]),
            Kind::Env(pairs) => ("env", self.pairs(pairs)),
            Kind::Label(pairs) => ("label", self.pairs(pairs)),
            Kind::Expose(ports) => ("expose", vec![self.texts(ports)]),
            Kind::Healthcheck(Healthcheck::None) => ("healthcheck", vec!["none".to_owned()]),
            Kind::Healthcheck(Healthcheck::Cmd { command, timing }) => {
                ("healthcheck", vec![self.command(command), format!("{timing:?}")])
            }
            Kind::Maintainer(author) => ("maintainer", one(author)),
            Kind::Onbuild(onbuild) => {
                ("onbuild", vec![onbuild.keyword.clone(), format!("{:?}", onbuild.expression)])
            }
            Kind::Run(run) => ("run", self.run(run)),
            Kind::Shell(arguments) => ("shell", vec![self.texts(arguments)]),
            Kind::Stopsignal(signal) => ("stopsignal", one(signal)),
            Kind::User(user) => ("user", one(user)),
            Kind::Volume(paths) => ("volume", vec![self.texts(paths)]),
            Kind::Workdir(path) => ("workdir", one(path)),
        }
    }

    fn option(&self, details: &mut Vec<String>, name: &str, value: &Option<Text>) {
        details.extend(value.as_ref().map(|value| format!("{name}={}", self.text(value))));
    }

    fn sources(&self, sources: &[Source], dest: &Text) -> Vec<String> {
        let show = |source: &Source| match source {
            Source::Path(path) => self.text(path),
            Source::Inline(heredoc) => format!("<<{}", heredoc.name),
        };
        let mut details: Vec<String> = sources.iter().map(show).collect();
        details.push(format!("-> {}", self.text(dest)));
        details
    }

    fn command(&self, command: &Command) -> String {
        match command {
            Command::Exec(arguments) => format!("[{}]", self.texts(arguments)),
            Command::Shell(line) => format!("shell {}", self.text(line)),
        }
    }

    fn pairs(&self, pairs: &[KeyValue]) -> Vec<String> {
        let show = |pair: &KeyValue| {
            let sign = if pair.legacy { " " } else { "=" };
            format!("{}{sign}{}", self.text(&pair.key), self.text(&pair.value))
        };
        pairs.iter().map(show).collect()
    }

    fn run(&self, run: &Run) -> Vec<String> {
        let mut details = vec![self.command(&run.command)];
        for mount in &run.mounts {
            let fields: Vec<String> = mount
                .fields
                .iter()
                .map(|field| match &field.value {
                    Some(value) => format!("{}={}", field.key, self.text(value)),
                    None => field.key.clone(),
                })
                .collect();
            details.push(format!("mount({})", fields.join(", ")));
        }
        for device in &run.devices {
            details.push(format!("device({}, required={})", self.text(&device.name), device.required));
        }
        details.extend(run.network.map(|network| format!("network={network:?}")));
        details.extend(run.security.map(|security| format!("security={security:?}")));
        details
    }
}
