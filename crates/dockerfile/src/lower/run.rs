//! `RUN`: a command line, its environment, its here-documents.

use graph::{Exec, InlineFile, MountKind, Op};

use crate::ast::{self, Command, Heredoc, Instruction, Run};
use crate::diagnostic::Diagnostic;
use crate::expand::{Expander, NoVariables, Variables};
use crate::lower::env::Env;
use crate::lower::state::{Building, Lowering, Tree, input, refuse_nul};
use crate::lower::text;
use crate::span::Span;

/// Where a here-document that is a script with its own interpreter is put for the step.
const SCRIPTS: &str = "/dev/pipes";

impl Lowering<'_> {
    pub(crate) fn run(
        &mut self,
        it: &mut Building,
        instruction: &Instruction,
        run: &Run,
        trees: &[Option<Tree>],
    ) -> Result<(), Diagnostic> {
        let span = instruction.span;
        if let Some(device) = run.devices.first() {
            return Err(Diagnostic::error(
                "RUN --device is not supported: strake gives steps no devices, by CDI or otherwise",
                device.name.span,
            )
            .with_help("do what needs the device in a container: strake run --device, then strake commit"));
        }
        let (args, files) = self.arguments(it, run)?;
        if args.is_empty() {
            return Err(Diagnostic::error("RUN needs a command", span));
        }
        args.iter().try_for_each(|arg| refuse_nul(arg, span))?;
        refuse_inherited_nul(it, span)?;

        let mut inputs = Vec::new();
        input(&mut inputs, it.state.vertex);
        let (mounts, socket) = self.mounts(it, run, trees, &mut inputs)?;
        let mut env = it.state.env.to_vec();
        if let Some(socket) = socket.filter(|_| it.state.env.get("SSH_AUTH_SOCK").is_none()) {
            env.push(format!("SSH_AUTH_SOCK={socket}"));
        }

        let shown = self.shown_run(it, instruction, run, &mounts);
        let name = self.name_step(it, &shown);
        let created_by = created_by(&args, it);
        self.budget.spend(it.state.env.size() + args.iter().map(String::len).sum::<usize>(), span)?;
        let exec = Exec {
            args,
            env,
            proxy_env: self.proxy_env.clone(),
            cwd: it.state.cwd.clone(),
            user: it.state.config.config.user.clone(),
            network: match run.network {
                None | Some(ast::Network::Default) => self.options.network,
                Some(ast::Network::None) => graph::Network::None,
                Some(ast::Network::Host) => graph::Network::Host,
            },
            security: match run.security {
                None | Some(ast::Security::Sandbox) => graph::Security::Sandbox,
                Some(ast::Security::Insecure) => graph::Security::Insecure,
            },
            mounts,
            files,
            extra_hosts: self.options.add_hosts.clone(),
            hostname: self.hostname(),
        };
        it.runs = true;
        it.state.vertex = self.vertex(it, Op::Exec(exec), inputs, name, span)?;
        self.commit(it, created_by, true, span)
    }

    /// The arguments of the process, and the files that it needs.
    fn arguments(&self, it: &Building, run: &Run) -> Result<(Vec<String>, Vec<InlineFile>), Diagnostic> {
        let Command::Shell(line) = &run.command else {
            return Ok((self.command_line(it, &run.command), Vec::new()));
        };
        let Some(first) = run.heredocs.first() else {
            return Ok((self.command_line(it, &run.command), Vec::new()));
        };
        for heredoc in &run.heredocs {
            refuse_foreign_bytes(heredoc)?;
        }
        if !is_heredoc_alone(&line.raw, first) {
            // The shell gets all of it, as it would read it from a script.
            let mut script = line.raw.clone();
            for heredoc in &run.heredocs {
                script.push('\n');
                script.push_str(&String::from_utf8_lossy(&heredoc.content));
                script.push_str(&heredoc.name);
            }
            return Ok((self.with_shell(it, &script), Vec::new()));
        }
        let script = first.text();
        if it.state.config.os == "windows" || !script.starts_with("#!") {
            // So that it works for shells without here-documents, too.
            return Ok((self.with_shell(it, &script), Vec::new()));
        }
        refuse_path(first)?;
        let path = format!("{SCRIPTS}/{}", first.name);
        let file = InlineFile { path: path.clone(), data: script, mode: 0o755 };
        Ok((self.with_shell(it, &path), vec![file]))
    }

    fn shown_run(
        &self,
        it: &Building,
        instruction: &Instruction,
        run: &Run,
        mounts: &[graph::Mount],
    ) -> String {
        let mut source = instruction.source.clone();
        if let (Command::Shell(line), Some(first)) = (&run.command, run.heredocs.first())
            && is_heredoc_alone(&line.raw, first)
        {
            let content = String::from_utf8_lossy(&first.content);
            source.push_str(&format!(" ({})", text::summary(&content)));
        }
        let secrets = mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Secret { env: Some(name), .. } => Some(name.as_str()),
            _ => None,
        });
        let hidden = Hidden { env: &it.state.env, secrets: secrets.collect() };
        self.shown_command(&hidden, &source)
    }

    fn hostname(&self) -> String {
        let given = self.options.hostname.as_str();
        let other = self.build_args.get("BUILDKIT_SANDBOX_HOSTNAME").map(String::as_str);
        if given.is_empty() { other.unwrap_or_default().to_owned() } else { given.to_owned() }
    }
}

/// What the image config says was not looked at yet.
fn refuse_inherited_nul(it: &Building, span: Span) -> Result<(), Diagnostic> {
    let variables = it.state.env.iter().flat_map(|(name, value)| [name, value]);
    let user = it.state.config.config.user.as_str();
    variables.chain([user, it.state.cwd.as_str()]).try_for_each(|text| refuse_nul(text, span))
}

/// What stands for the value of a secret in the name of a step.
const MASK: &str = "****";

/// The environment of a step that gets secrets by variables.
struct Hidden<'a> {
    env: &'a Env,
    secrets: Vec<&'a str>,
}

impl Variables for Hidden<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        if self.secrets.contains(&name) { Some(MASK) } else { self.env.get(name) }
    }
    fn names(&self) -> Vec<&str> {
        self.env.names()
    }
}

/// `RUN |2 a=1 b=2 /bin/sh -c make # buildkit`: the declared arguments with their values first.
fn created_by(args: &[String], it: &Building) -> String {
    let mut words = Vec::new();
    let declared = it.state.args.iter();
    if declared.len() > 0 {
        words.push(format!("|{}", declared.len()));
    }
    for (name, value) in declared {
        let value = it.state.env.get(name).or(value).unwrap_or_default();
        words.push(format!("{name}={value}"));
    }
    words.extend(args.iter().cloned());
    format!("RUN {} # buildkit", words.join(" "))
}

/// Whether the whole command is the word that begins `heredoc`.
fn is_heredoc_alone(line: &str, heredoc: &Heredoc) -> bool {
    let rest = line.trim().trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(rest) = rest.strip_prefix("<<") else { return false };
    let word = rest.strip_prefix('-').unwrap_or(rest).trim_start();
    if word.contains('<') {
        return false;
    }
    let expander = Expander { keep_unset: true, ..Expander::new('\\') };
    expander.words(word, &NoVariables).is_ok_and(|words| words == [heredoc.name.as_str()])
}

/// Text goes into the graph and into history: other bytes would not arrive as they are.
pub(crate) fn refuse_foreign_bytes(heredoc: &Heredoc) -> Result<(), Diagnostic> {
    match std::str::from_utf8(&heredoc.content) {
        Ok(text) if !text.contains('\0') => Ok(()),
        Ok(_) => {
            Err(Diagnostic::error(format!("the heredoc {} holds a NUL byte", heredoc.name), heredoc.span))
        }
        Err(_) => Err(Diagnostic::error(format!("the heredoc {} is not UTF-8", heredoc.name), heredoc.span)
            .with_help("copy such content from a file")),
    }
}

/// The name of a here-document that becomes a file must be the name of a file.
pub(crate) fn refuse_path(heredoc: &Heredoc) -> Result<(), Diagnostic> {
    let name = heredoc.name.as_str();
    match name.is_empty() || name.contains(['/', '\0']) || matches!(name, "." | "..") {
        false => Ok(()),
        true => {
            Err(Diagnostic::error(format!("the heredoc {name:?} can't be the name of a file"), heredoc.span)
                .with_help("use a name without slashes, such as EOF"))
        }
    }
}
