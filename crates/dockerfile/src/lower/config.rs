//! The instructions, and what those do that change the config alone.

use oci::{Empty, Healthcheck};

use crate::ast::{self, ArgDeclaration, Command, Instruction, KeyValue, Kind};
use crate::check::Rule;
use crate::diagnostic::Diagnostic;
use crate::expand::Variables;
use crate::lower::env::pair;
use crate::lower::state::{Building, Lowering, Tree, input, refuse_nul};
use crate::lower::{expose, globals, path, signal, text};
use crate::span::{Span, Text};

impl Lowering<'_> {
    /// Carries one instruction out. `trees` are what it takes files from.
    pub(crate) fn instruction(
        &mut self,
        it: &mut Building,
        instruction: &Instruction,
        trees: &[Option<Tree>],
    ) -> Result<(), Diagnostic> {
        let span = instruction.span;
        match &instruction.kind {
            Kind::Add(add) => self.add(it, instruction, add),
            Kind::Copy(copy) => self.copy(it, instruction, copy, trees.first().copied().flatten()),
            Kind::Run(run) => self.run(it, instruction, run, trees),
            Kind::Workdir(text) => self.workdir(it, instruction, text),
            Kind::Arg(args) => self.arg(it, args, span),
            Kind::Env(pairs) => self.env(it, pairs, span),
            Kind::Label(pairs) => self.label(it, pairs, span),
            Kind::Cmd(command) => self.cmd(it, command, span),
            Kind::Entrypoint(command) => self.entrypoint(it, command, span),
            Kind::Healthcheck(healthcheck) => self.healthcheck(it, healthcheck, span),
            Kind::Expose(ports) => self.expose(it, ports, span),
            Kind::Volume(paths) => self.volume(it, paths, span),
            Kind::Shell(words) => {
                let shell: Vec<String> = words.iter().map(|word| word.raw.clone()).collect();
                shell.iter().try_for_each(|word| refuse_nul(word, span))?;
                let created_by = format!("SHELL {}", text::plain_list(&shell));
                it.state.config.config.shell = Some(shell);
                self.commit(it, created_by, false, span)
            }
            Kind::User(user) => {
                let user = self.expand(it, user)?;
                it.state.config.config.user.clone_from(&user);
                self.commit(it, format!("USER {user}"), false, span)
            }
            Kind::Stopsignal(text) => {
                let name = self.expand(it, text)?;
                if !signal::is_signal(&name) {
                    return Err(Diagnostic::error(format!("invalid signal: {name}"), text.span)
                        .with_help("give a name such as SIGTERM or a number"));
                }
                it.state.config.config.stop_signal.clone_from(&name);
                self.commit(it, format!("STOPSIGNAL {name}"), false, span)
            }
            Kind::Maintainer(author) => {
                it.state.config.author.clone_from(&author.raw);
                self.commit(it, format!("MAINTAINER {author}"), false, span)
            }
            // Docker makes no history entry for it.
            Kind::Onbuild(onbuild) => {
                self.budget.spend(onbuild.expression.len(), span)?;
                it.state.config.config.onbuild.push(onbuild.expression.clone());
                Ok(())
            }
        }
    }

    fn arg(&mut self, it: &mut Building, args: &[ArgDeclaration], span: Span) -> Result<(), Diagnostic> {
        let mut created_by = "ARG".to_owned();
        for arg in args {
            let name = arg.name.raw.as_str();
            self.warnings.secret_name("ARG", name, it.span(arg.name.span));
            // A build argument wins over the default here, which wins over the global one.
            let value = match (self.build_args.get(name), &arg.default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => Some(self.expand(it, default)?),
                (None, None) => Variables::get(&self.globals, name).map(str::to_owned),
            };
            created_by.push(' ');
            created_by.push_str(name);
            if let Some(value) = &value {
                refuse_nul(value, arg.name.span)?;
                self.budget.variable(value, 0, arg.name.span)?;
                self.budget.spend(value.len(), span)?;
                created_by.push('=');
                created_by.push_str(value);
                if !globals::NOT_ENVIRONMENT.contains(&name) {
                    it.state.env.set(name, value.clone());
                }
            }
            it.state.args.declare(name, value);
        }
        self.commit(it, created_by, false, span)
    }

    fn env(&mut self, it: &mut Building, pairs: &[KeyValue], span: Span) -> Result<(), Diagnostic> {
        let expanded = self.pairs(it, "ENV", pairs)?;
        let mut created_by = "ENV".to_owned();
        for ((name, value), at) in expanded.into_iter().zip(pairs.iter().map(|pair| pair.key.span)) {
            self.warnings.secret_name("ENV", &name, it.span(at));
            created_by.push_str(&format!(" {name}={value}"));
            let env = &mut it.state.config.config.env;
            let variable = format!("{name}={value}");
            match env.iter().position(|it| pair(it).0 == name) {
                Some(at) => {
                    env[at] = variable;
                    // Of a name that the base image has twice the second would win at run time.
                    let mut index = 0;
                    env.retain(|it| {
                        index += 1;
                        index <= at + 1 || pair(it).0 != name
                    });
                }
                None => env.push(variable),
            }
            self.budget.variable(&value, env.len(), span)?;
            self.budget.spend(name.len() + value.len(), span)?;
            it.state.env.set(name, value);
        }
        self.commit(it, created_by, false, span)
    }

    fn label(&mut self, it: &mut Building, pairs: &[KeyValue], span: Span) -> Result<(), Diagnostic> {
        let pairs = self.pairs(it, "LABEL", pairs)?;
        let mut created_by = "LABEL".to_owned();
        let labels = it.state.config.config.labels.get_or_insert_default();
        for (name, value) in pairs {
            created_by.push_str(&format!(" {name}={value}"));
            labels.insert(name, value);
        }
        self.commit(it, created_by, false, span)
    }

    /// Expands pairs with the variables as they were before the instruction.
    fn pairs(
        &mut self,
        it: &Building,
        keyword: &str,
        pairs: &[KeyValue],
    ) -> Result<Vec<(String, String)>, Diagnostic> {
        let mut all = Vec::with_capacity(pairs.len());
        for KeyValue { key, value, legacy } in pairs {
            if *legacy {
                let message = format!(
                    "\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"
                );
                self.warnings.add(Rule::LegacyKeyValueFormat, message, it.span(key.span.to(value.span)));
            }
            let name = self.expand(it, key)?;
            if name.is_empty() {
                return Err(Diagnostic::error(format!("{keyword} names can not be blank"), key.span));
            }
            all.push((name, self.expand(it, value)?));
        }
        Ok(all)
    }

    /// The arguments of a command, with the shell in force for the shell form.
    pub(crate) fn command_line(&self, it: &Building, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => words.iter().map(|word| word.raw.clone()).collect(),
            Command::Shell(line) => self.with_shell(it, &line.raw),
        }
    }

    /// A line for the shell in force.
    pub(crate) fn with_shell(&self, it: &Building, line: &str) -> Vec<String> {
        let config = &it.state.config;
        let shell = match &config.config.shell {
            Some(shell) if !shell.is_empty() => shell.clone(),
            _ if config.os == "windows" => ["cmd", "/S", "/C"].map(str::to_owned).to_vec(),
            _ => ["/bin/sh", "-c"].map(str::to_owned).to_vec(),
        };
        shell.into_iter().chain([line.to_owned()]).collect()
    }

    /// `JSONArgsRecommended` and `MultipleInstructionsDisallowed`; returns the arguments.
    fn default_command(
        &mut self,
        it: &Building,
        keyword: &str,
        command: &Command,
        span: Span,
        before: Option<Span>,
    ) -> Result<Vec<String>, Diagnostic> {
        self.check_once(it, keyword, before);
        let has_shell = it.state.config.config.shell.as_ref().is_some_and(|shell| !shell.is_empty());
        if matches!(command, Command::Shell(_)) && !has_shell {
            let message = format!(
                "JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
            );
            self.warnings.add(Rule::JSONArgsRecommended, message, it.span(span));
        }
        let args = self.command_line(it, command);
        args.iter().try_for_each(|arg| refuse_nul(arg, span))?;
        Ok(args)
    }

    /// The earlier one is at fault: it has no effect.
    fn check_once(&mut self, it: &Building, keyword: &str, before: Option<Span>) {
        if let Some(before) = before {
            let message = format!(
                "Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
            );
            self.warnings.add_of(Rule::MultipleInstructionsDisallowed, message, it.span(before));
        }
    }

    fn cmd(&mut self, it: &mut Building, command: &Command, span: Span) -> Result<(), Diagnostic> {
        let args = self.default_command(it, "CMD", command, span, it.cmd)?;
        it.cmd = Some(it.span(span));
        let created_by = format!("CMD {}", text::quoted_list(&args));
        let config = &mut it.state.config.config;
        config.cmd = Some(args).filter(|args| !args.is_empty());
        // As BuildKit does on every platform.
        config.args_escaped = true;
        self.commit(it, created_by, false, span)
    }

    fn entrypoint(&mut self, it: &mut Building, command: &Command, span: Span) -> Result<(), Diagnostic> {
        let args = self.default_command(it, "ENTRYPOINT", command, span, it.entrypoint)?;
        it.entrypoint = Some(it.span(span));
        let created_by = format!("ENTRYPOINT {}", text::quoted_list(&args));
        let config = &mut it.state.config.config;
        config.entrypoint = Some(args).filter(|args| !args.is_empty());
        if it.cmd.is_none() {
            // A CMD of the base image was meant for its own entry point.
            config.cmd = None;
        }
        self.commit(it, created_by, false, span)
    }

    fn healthcheck(
        &mut self,
        it: &mut Building,
        healthcheck: &ast::Healthcheck,
        span: Span,
    ) -> Result<(), Diagnostic> {
        self.check_once(it, "HEALTHCHECK", it.healthcheck);
        it.healthcheck = Some(it.span(span));
        let nanoseconds = |time: std::time::Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let check = match healthcheck {
            ast::Healthcheck::None => Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() },
            ast::Healthcheck::Cmd { command, timing } => Healthcheck {
                test: match command {
                    Command::Exec(words) => {
                        ["CMD"].into_iter().chain(words.iter().map(Text::as_str)).map(str::to_owned).collect()
                    }
                    Command::Shell(line) => vec!["CMD-SHELL".to_owned(), line.raw.clone()],
                },
                interval: nanoseconds(timing.interval),
                timeout: nanoseconds(timing.timeout),
                start_period: nanoseconds(timing.start_period),
                start_interval: nanoseconds(timing.start_interval),
                retries: timing.retries.into(),
            },
        };
        check.test.iter().try_for_each(|word| refuse_nul(word, span))?;
        let created_by = format!(
            "HEALTHCHECK {{Test:{} Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
            text::plain_list(&check.test),
            text::duration(check.interval),
            text::duration(check.timeout),
            text::duration(check.start_period),
            text::duration(check.start_interval),
            check.retries,
        );
        it.state.config.config.healthcheck = Some(check);
        self.commit(it, created_by, false, span)
    }

    fn expose(&mut self, it: &mut Building, ports: &[Text], span: Span) -> Result<(), Diagnostic> {
        let mut ports: Vec<&Text> = ports.iter().collect();
        ports.sort_by(|a, b| a.raw.cmp(&b.raw));
        let mut all = Vec::new();
        for text in ports {
            let words = self.expander.words(&text.raw, &it.state.env).map_err(|error| error.at(text))?;
            for word in words {
                let exposed =
                    expose::parse(&word).map_err(|message| Diagnostic::error(message, text.span))?;
                let at = it.span(text.span);
                if !exposed.lower_case {
                    let message =
                        format!("Defined protocol '{word}' in EXPOSE instruction should be lowercase");
                    self.warnings.add(Rule::ExposeProtoCasing, message, at);
                }
                if exposed.host {
                    let message = format!(
                        "EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
                    );
                    self.warnings.add(Rule::ExposeInvalidFormat, message, at);
                }
                let list = exposed.list();
                self.budget.spend(word.len() + 64 * list.len(), text.span)?;
                all.extend(list);
            }
        }
        if !all.is_empty() {
            let exposed = it.state.config.config.exposed_ports.get_or_insert_default();
            exposed.extend(all.iter().map(|port| (port.clone(), Empty {})));
        }
        self.commit(it, format!("EXPOSE {}", text::plain_list(&all)), false, span)
    }

    fn volume(&mut self, it: &mut Building, paths: &[Text], span: Span) -> Result<(), Diagnostic> {
        let mut all = Vec::with_capacity(paths.len());
        for text in paths {
            let path = self.expand(it, text)?;
            if path.is_empty() {
                return Err(Diagnostic::error("VOLUME specified can not be an empty string", text.span));
            }
            all.push(path);
        }
        let volumes = it.state.config.config.volumes.get_or_insert_default();
        volumes.extend(all.iter().map(|path| (path.clone(), Empty {})));
        self.commit(it, format!("VOLUME {}", text::plain_list(&all)), false, span)
    }

    fn workdir(
        &mut self,
        it: &mut Building,
        instruction: &Instruction,
        text: &Text,
    ) -> Result<(), Diagnostic> {
        let span = instruction.span;
        let wanted = self.expand(it, text)?;
        if !it.state.workdir_set && !wanted.starts_with('/') {
            self.warnings.add(
                Rule::WorkdirRelativePath,
                format!("Relative workdir {wanted:?} can have unexpected results if the base image changes"),
                it.span(text.span),
            );
        }
        it.state.workdir_set = true;
        // An absolute path stays as it is written, as in Docker's config and history.
        let shown = if wanted.starts_with('/') { wanted } else { path::resolve(&it.state.cwd, &wanted) };
        it.state.cwd = path::clean(&shown);
        it.state.config.config.working_dir.clone_from(&shown);
        let layer = it.state.cwd != "/";
        if layer {
            let user = &it.state.config.config.user;
            let action = graph::FileAction::MakeDir(graph::MakeDir {
                path: it.state.cwd.clone(),
                mode: 0o755,
                owner: (!user.is_empty()).then(|| user.clone()),
            });
            let name = self.shown(it, &instruction.source);
            let name = self.name_step(it, &name);
            let mut inputs = Vec::new();
            input(&mut inputs, it.state.vertex);
            let op = graph::Op::File(graph::FileOp { actions: vec![action] });
            it.state.vertex = self.vertex(it, op, inputs, name, span)?;
        }
        self.commit(it, format!("WORKDIR {shown}"), layer, span)
    }
}
