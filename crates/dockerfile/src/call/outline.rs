//! What a target takes (`--call=outline`): build arguments with their values, secrets, SSH agents.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Place, description, table};
use crate::ast::{Dockerfile, Instruction, Kind};
use crate::check::json::ranges;
use crate::diagnostic::Diagnostic;
use crate::expand::{Expander, Variables};
use crate::lower::LowerOptions;
use crate::lower::env::Env;
use crate::lower::globals;
use crate::mount::{Mount, MountType};
use crate::span::{LineIndex, Span};
use crate::suggest;

/// What a target takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outline {
    /// The target's name; empty where it has none.
    pub name: String,
    /// What the comment above it says of it.
    pub description: String,
    /// Build arguments, in the order of the Dockerfile.
    pub args: Vec<Argument>,
    /// Secrets that steps mount.
    pub secrets: Vec<Taken>,
    /// SSH agents that steps mount.
    pub ssh: Vec<Taken>,
    /// Caches that steps mount.
    pub caches: Vec<Taken>,
}

/// A build argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// What the comment above it says of it.
    pub description: String,
    /// The value that it has in this build.
    pub value: String,
    /// Where it is declared.
    pub span: Place,
    /// The variables that its default takes.
    uses: BTreeSet<String>,
}

/// Something that steps mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its id.
    pub id: String,
    /// A step fails without it.
    pub required: bool,
    /// Where it is first mounted.
    pub span: Place,
}

/// What the target of `options` takes, with what it is built on and what it copies from.
///
/// # Errors
/// The target is none of the stages, or a variable cannot be expanded.
pub fn outline(dockerfile: &Dockerfile, options: &LowerOptions) -> Result<Outline, Diagnostic> {
    let build_args = globals::build_args(options);
    let names = stage_names(dockerfile);
    let target = match options.target.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => *names.get(&name.to_lowercase()).ok_or_else(|| unknown(name, &names))?,
        None => dockerfile.stages.len() - 1,
    };
    let title = dockerfile.stages[target].name.as_ref().map_or("", |name| name.raw.as_str());
    let mut env = globals::predefined(options, &build_args, title);
    let expander = Expander::new(dockerfile.directives.escape);
    let mut declared: BTreeMap<String, Argument> = BTreeMap::new();
    for instruction in &dockerfile.global_args {
        for argument in declare(instruction, &mut env, &build_args, expander, None)? {
            declared.insert(argument.name.clone(), argument);
        }
    }
    let mut walk =
        Walk { dockerfile, names, build_args, expander, globals: env, declared, stages: Vec::new() };
    walk.stages.resize_with(dockerfile.stages.len(), || None);
    let mut outline = Outline {
        name: title.to_owned(),
        description: description(&dockerfile.stages[target].comments, title),
        ..Outline::default()
    };
    for index in walk.needed(target) {
        walk.stage(index, &mut outline)?;
    }
    outline.args.sort_by_key(|argument| argument.span.start);
    outline.args.dedup_by(|a, b| a.name == b.name && a.span == b.span);
    let mut seen = BTreeSet::new();
    outline.args.retain(|argument| seen.insert(argument.name.clone()));
    for list in [&mut outline.secrets, &mut outline.ssh, &mut outline.caches] {
        let mut seen = BTreeSet::new();
        list.sort_by_key(|taken| taken.span.start);
        list.retain(|taken| seen.insert(taken.id.clone()));
    }
    Ok(outline)
}

fn stage_names(dockerfile: &Dockerfile) -> BTreeMap<String, usize> {
    let stages = dockerfile.stages.iter().enumerate();
    stages.filter_map(|(index, stage)| Some((stage.name.as_ref()?.raw.to_lowercase(), index))).collect()
}

fn unknown(name: &str, names: &BTreeMap<String, usize>) -> Diagnostic {
    let message = format!("target stage {name:?} could not be found");
    let error = Diagnostic { span: None, ..Diagnostic::error(message, Span::default()) };
    match suggest::nearest(name, names.keys().map(String::as_str)) {
        Some(near) => error.with_help(format!("did you mean {near}?")),
        None => error,
    }
}

/// The arguments that an `ARG` declares; their values are put into `env`. One without a value takes
/// that of `globals`, and is then the global one.
fn declare(
    instruction: &Instruction,
    env: &mut Env,
    build_args: &BTreeMap<String, String>,
    expander: Expander,
    globals: Option<&Env>,
) -> Result<Vec<Argument>, Diagnostic> {
    let Kind::Arg(args) = &instruction.kind else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for arg in args {
        let name = arg.name.raw.as_str();
        let mut uses = BTreeSet::new();
        let value = match (build_args.get(name), &arg.default) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(default)) => {
                let expanded = expander.text(default, env)?;
                uses = expanded.used;
                Some(expanded.text)
            }
            (None, None) => None,
        };
        let inherited = value.is_none().then(|| globals?.get(name).map(str::to_owned)).flatten();
        if let Some(value) = value.as_ref().or(inherited.as_ref()) {
            env.set(name, value.clone());
        }
        if inherited.is_none() {
            all.push(Argument {
                name: name.to_owned(),
                description: description(&instruction.comments, name),
                value: value.unwrap_or_default(),
                span: instruction.span,
                uses,
            });
        }
    }
    Ok(all)
}

struct Walk<'a> {
    dockerfile: &'a Dockerfile,
    names: BTreeMap<String, usize>,
    build_args: BTreeMap<String, String>,
    expander: Expander,
    /// The global scope.
    globals: Env,
    /// The global arguments.
    declared: BTreeMap<String, Argument>,
    /// The variables at the end of the stages that were gone through.
    stages: Vec<Option<Env>>,
}

impl Walk<'_> {
    /// The base of a stage and what it copies from, as stages.
    fn edges(&self, index: usize) -> (Option<usize>, Vec<usize>) {
        let stage = &self.dockerfile.stages[index];
        let earlier = |name: &str| self.names.get(&name.to_lowercase()).copied().filter(|at| *at < index);
        let base = self.expander.text(&stage.base, &self.globals).ok();
        let base = base.and_then(|base| earlier(&base.text));
        let mut others = Vec::new();
        for instruction in &stage.instructions {
            let named = |name: &str| match name.parse::<usize>() {
                Ok(number) => Some(number).filter(|number| *number < index),
                Err(_) => earlier(name),
            };
            match &instruction.kind {
                Kind::Copy(copy) => others.extend(copy.from.as_ref().and_then(|from| named(&from.raw))),
                Kind::Run(run) => {
                    others.extend(run.mounts.iter().filter_map(|mount| named(&mount.from()?.raw)));
                }
                _ => {}
            }
        }
        (base, others)
    }

    /// The stages that one needs, in order, itself last.
    fn needed(&self, target: usize) -> Vec<usize> {
        let mut needed = BTreeSet::new();
        let mut todo = vec![target];
        while let Some(index) = todo.pop() {
            if needed.insert(index) {
                let (base, others) = self.edges(index);
                todo.extend(base.into_iter().chain(others));
            }
        }
        needed.into_iter().collect()
    }

    fn stage(&mut self, index: usize, outline: &mut Outline) -> Result<(), Diagnostic> {
        let stage = &self.dockerfile.stages[index];
        let (base, _) = self.edges(index);
        let mut env = base.and_then(|base| self.stages[base].clone()).unwrap_or_default();
        let mut used: BTreeSet<String> = BTreeSet::new();
        for text in std::iter::once(&stage.base).chain(&stage.platform) {
            used.extend(self.expander.text(text, &self.globals)?.used);
        }
        for instruction in &stage.instructions {
            match &instruction.kind {
                Kind::Arg(args) => {
                    let globals = Some(&self.globals);
                    let all = declare(instruction, &mut env, &self.build_args, self.expander, globals)?;
                    used.extend(args.iter().map(|arg| arg.name.raw.clone()));
                    outline.args.extend(all);
                }
                Kind::Env(pairs) => {
                    let expand = |text| self.expander.text(text, &env).map(|expanded| expanded.text);
                    let values: Result<Vec<(String, String)>, Diagnostic> =
                        pairs.iter().map(|pair| Ok((expand(&pair.key)?, expand(&pair.value)?))).collect();
                    values?.into_iter().for_each(|(name, value)| env.set(name, value));
                }
                Kind::Run(run) => {
                    run.mounts.iter().for_each(|mount| take(mount, instruction.span, outline));
                }
                _ => {}
            }
        }
        self.use_globals(used, outline);
        self.stages[index] = Some(env);
        Ok(())
    }

    /// Adds the global arguments of these names, and those that their defaults take.
    fn use_globals(&self, names: BTreeSet<String>, outline: &mut Outline) {
        let mut todo: Vec<String> = names.into_iter().collect();
        let mut done = BTreeSet::new();
        while let Some(name) = todo.pop() {
            if let Some(argument) = self.declared.get(&name)
                && done.insert(name)
            {
                todo.extend(argument.uses.iter().cloned());
                outline.args.push(argument.clone());
            }
        }
    }
}

/// Adds what a mount takes from outside.
fn take(mount: &Mount, span: Span, outline: &mut Outline) {
    let field = |names: &[&str]| {
        let field = mount.fields.iter().rfind(|field| names.contains(&field.key.as_str()))?;
        Some(field.value.as_ref().map_or("", |value| value.raw.as_str()))
    };
    let kind = field(&["type"]).unwrap_or_default();
    let required = field(&["required"]).is_some_and(|value| !matches!(value, "false" | "0"));
    let id = field(&["id"]).filter(|id| !id.is_empty());
    let target = field(&["target", "dst", "destination"]).filter(|target| !target.is_empty());
    let (list, id) = if kind == MountType::Secret.name() {
        let source = field(&["source", "src"]);
        let base = target.map(crate::lower::path::base);
        (&mut outline.secrets, id.or(source).or(base))
    } else if kind == MountType::Ssh.name() {
        (&mut outline.ssh, Some(id.unwrap_or("default")))
    } else if kind == MountType::Cache.name() {
        (&mut outline.caches, id.or(target))
    } else {
        return;
    };
    if let Some(id) = id {
        list.push(Taken { id: id.to_owned(), required, span });
    }
}

impl Outline {
    /// As buildx prints it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.name.is_empty() || !self.description.is_empty() {
            let name = if self.name.is_empty() { "(default)" } else { &self.name };
            let mut rows = vec![vec!["TARGET:".to_owned(), name.to_owned()]];
            if !self.description.is_empty() {
                rows.push(vec!["DESCRIPTION:".to_owned(), self.description.clone()]);
            }
            text.push_str(&table(&rows, 1));
            text.push('\n');
        }
        if !self.args.is_empty() {
            let mut rows = vec![["BUILD ARG", "VALUE", "DESCRIPTION"].map(str::to_owned).to_vec()];
            rows.extend(
                self.args.iter().map(|it| vec![it.name.clone(), it.value.clone(), it.description.clone()]),
            );
            text.push_str(&table(&rows, 3));
            text.push('\n');
        }
        for (title, list) in [("SECRET", &self.secrets), ("SSH", &self.ssh)] {
            if list.is_empty() {
                continue;
            }
            let mut rows = vec![vec![title.to_owned(), "REQUIRED".to_owned()]];
            rows.extend(
                list.iter().map(|it| {
                    vec![it.id.clone(), if it.required { "true".to_owned() } else { String::new() }]
                }),
            );
            text.push_str(&table(&rows, 3));
            text.push('\n');
        }
        text
    }

    /// In the JSON of BuildKit.
    pub fn json(&self, source: &[u8]) -> Value {
        let index = LineIndex::new(source);
        let place = |span| ranges(index.lines(span));
        let mut all = Map::new();
        for (name, text) in [("name", &self.name), ("description", &self.description)] {
            if !text.is_empty() {
                all.insert(name.to_owned(), text.as_str().into());
            }
        }
        let args: Vec<Value> = self
            .args
            .iter()
            .map(|it| {
                let mut value = Map::new();
                value.insert("name".into(), it.name.as_str().into());
                for (name, text) in [("description", &it.description), ("value", &it.value)] {
                    if !text.is_empty() {
                        value.insert(name.to_owned(), text.as_str().into());
                    }
                }
                value.insert("location".into(), place(it.span));
                Value::Object(value)
            })
            .collect();
        let taken = |it: &Taken| {
            let mut value = Map::new();
            value.insert("name".into(), it.id.as_str().into());
            if it.required {
                value.insert("required".into(), true.into());
            }
            value.insert("location".into(), place(it.span));
            Value::Object(value)
        };
        let cache = |it: &Taken| json!({ "ID": it.id, "location": place(it.span) });
        let lists = [
            ("args", args),
            ("secrets", self.secrets.iter().map(taken).collect()),
            ("ssh", self.ssh.iter().map(taken).collect()),
            ("cache", self.caches.iter().map(cache).collect::<Vec<Value>>()),
        ];
        for (name, list) in lists {
            if !list.is_empty() {
                all.insert(name.to_owned(), list.into());
            }
        }
        all.insert("sources".into(), json!([BASE64_STANDARD.encode(source)]));
        Value::Object(all)
    }
}
