//! `build --check`, and the other calls to a Dockerfile that build nothing.
//!
//! Printed as buildx does it; `--check` says more in text than `--call=check`, which is buildx's byte
//! for byte. Also how an ordinary build shows what its checks found.

use std::io;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use engine::build::check::{self, Checked, Detail, Origin, Rule, Target};
use engine::build::{BuildRequest, ContextSource};
use engine::{Engine, Event, Events};

use super::Args;
use crate::cli::{CliError, Global, Outcome, output};

/// The options of `build` that ask something of the Dockerfile.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CheckArgs {
    /// Check the Dockerfile, and build nothing; exit code 1 where there are warnings
    #[arg(long, help_heading = "Checks")]
    pub check: bool,
    /// What to do with the Dockerfile: `build`, `check`, `outline` or `targets`, and `,format=json`
    #[arg(long, value_name = "METHOD", conflicts_with = "check", help_heading = "Checks")]
    pub call: Option<String>,
    /// How the result of a check is printed
    #[arg(long, value_parser = ["text", "json", "sarif"], help_heading = "Checks")]
    pub format: Option<String>,
    /// Make the safe changes that the check proposes in the Dockerfile, then check it
    #[arg(long, requires = "check", help_heading = "Checks")]
    pub fix: bool,
    /// Explain a rule of the checks and build nothing; `all` lists the rules
    #[arg(long, value_name = "RULE", help_heading = "Checks")]
    pub explain_rule: Option<String>,
}

/// A call that builds nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Call {
    /// The page of a rule, or the list of all.
    Explain(Option<Rule>),
    /// `check`
    Check { format: Format, fix: bool, ignore_status: bool },
    /// `outline`
    Outline { json: bool },
    /// `targets`
    Targets { json: bool },
}

/// How the result of a check is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text(Detail),
    Json,
    Sarif,
}

impl CheckArgs {
    /// The call that is asked for; none for a build.
    pub(super) fn call(&self) -> Result<Option<Call>, CliError> {
        if let Some(name) = &self.explain_rule {
            if name == "all" {
                return Ok(Some(Call::Explain(None)));
            }
            let unknown = || {
                CliError::new(format!("there is no rule {name:?}"))
                    .hint("strake build --explain-rule all lists the rules")
            };
            return Ok(Some(Call::Explain(Some(Rule::find(name).ok_or_else(unknown)?))));
        }
        let written = self.call.as_deref().unwrap_or(if self.check { "check" } else { "build" });
        let mut fields = written.split(',');
        let method = fields.next().unwrap_or_default();
        let (mut format, mut ignore_status) = (self.format.clone(), false);
        for field in fields {
            match field.split_once('=') {
                Some(("format", value)) if matches!(value, "text" | "json" | "sarif") => {
                    format = Some(value.to_owned());
                }
                Some(("ignorestatus", value)) if matches!(value, "true" | "false") => {
                    ignore_status = value == "true";
                }
                _ => return Err(CliError::new(format!("invalid field {field:?} of --call={written}"))),
            }
        }
        let json = format.as_deref() == Some("json");
        match method {
            "check" | "lint" => {
                let detail =
                    if self.call.is_some() && self.format.is_none() { Detail::Buildx } else { Detail::More };
                let format = match format.as_deref() {
                    Some("json") => Format::Json,
                    Some("sarif") => Format::Sarif,
                    _ => Format::Text(detail),
                };
                Ok(Some(Call::Check { format, fix: self.fix, ignore_status }))
            }
            "build" if format.is_some() => Err(CliError::new("--format is of checks")
                .hint("add --check, or --call=outline or --call=targets")),
            "build" => Ok(None),
            _ if format.as_deref() == Some("sarif") => {
                Err(CliError::new("sarif is the format of checks alone"))
            }
            "outline" => Ok(Some(Call::Outline { json })),
            "targets" => Ok(Some(Call::Targets { json })),
            other => Err(CliError::new(format!(
                "unknown call {other:?}: --call takes build, check, outline and targets"
            ))),
        }
    }
}

/// Carries a call out.
pub(super) fn run(call: &Call, args: &Args, global: &Global) -> Outcome {
    if let Call::Explain(rule) = call {
        output::text(&match rule {
            Some(rule) => rule.page().to_owned(),
            None => list(),
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let tags = args.tags.iter().map(|text| super::tag(text)).collect::<Result<Vec<_>, _>>()?;
    let outputs = args.output.outputs(&tags, args.platform.len())?;
    let request = super::request(args, tags, outputs, global)?;
    let engine = engine(&request, global)?;
    let engine = engine.as_ref();
    let mut stream = io::stdin();
    match call {
        Call::Explain(_) => {}
        Call::Check { format, fix, ignore_status } => {
            if *fix {
                let made = check::fix(engine, &request)?;
                for title in &made {
                    output::say(&format!("fixed: {title}"));
                }
            }
            let checked = check::check(engine, &request, &mut stream)?;
            return print(&checked, *format, *ignore_status);
        }
        Call::Outline { json } => {
            let (outline, source) = check::outline(engine, &request, &mut stream)?;
            match json {
                true => output::text(&pretty(&outline.json(&source)))?,
                false => output::text(&outline.text())?,
            }
        }
        Call::Targets { json } => {
            let (targets, source) = check::targets(engine, &request, &mut stream)?;
            match json {
                true => output::text(&pretty(&Target::json(&targets, &source)))?,
                false => output::text(&Target::text(&targets))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The store's engine, where there is a store: a check makes none, unless its context must be unpacked.
fn engine(request: &BuildRequest, global: &Global) -> Result<Option<Engine>, CliError> {
    match &request.context {
        ContextSource::Directory(_) => match global.root()?.exists() {
            // One that cannot be opened just knows no images.
            true => Ok(global.engine().ok()),
            false => Ok(None),
        },
        _ => global.engine_in_namespace().map(Some),
    }
}

fn print(checked: &Checked, format: Format, ignore_status: bool) -> Outcome {
    let detail = match format {
        Format::Text(detail) => detail,
        Format::Json | Format::Sarif => Detail::Buildx,
    };
    match format {
        Format::Text(detail) => output::text(&checked.text(detail))?,
        Format::Json => output::text(&pretty(&checked.json()))?,
        Format::Sarif => {
            output::text(&pretty(&checked.sarif(&path(checked), env!("CARGO_PKG_VERSION"))))?;
        }
    }
    if !checked.is_sound() {
        let blank = if checked.warnings() > 0 && matches!(format, Format::Text(_)) { "\n" } else { "" };
        output::text(blank)?;
        return Err(CliError::new(checked.errors(detail)));
    }
    match checked.warnings() > 0 && !ignore_status {
        true => Err(CliError::silent(1)),
        false => Ok(ExitCode::SUCCESS),
    }
}

/// The Dockerfile's path as seen from here.
fn path(checked: &Checked) -> String {
    let Some(path) = &checked.path else { return checked.name.clone() };
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
    let seen = path.strip_prefix(&here).or_else(|_| path.strip_prefix(".")).unwrap_or(path);
    seen.display().to_string()
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

/// A line for each rule.
fn list() -> String {
    let width = Rule::ALL.iter().map(|rule| rule.id().len()).max().unwrap_or_default();
    let line = |rule: &Rule| {
        let note = match (rule.origin(), rule.is_experimental()) {
            (_, true) => " (experimental)",
            (Origin::Review, _) => " (--check)",
            _ => "",
        };
        format!("{:width$}  {}{note}\n", rule.id(), rule.description())
    };
    Rule::ALL.iter().map(line).collect()
}

/// Passes events on and keeps what checks found, for the end of a build.
pub(super) struct Found<'a> {
    events: &'a dyn Events,
    all: Mutex<Vec<String>>,
}

impl<'a> Found<'a> {
    pub(super) fn new(events: &'a dyn Events) -> Found<'a> {
        Found { events, all: Mutex::new(Vec::new()) }
    }

    /// Says on stderr what was found, as buildx does it.
    pub(super) fn tell(&self) {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let count = match all.len() {
            0 => return,
            1 => "1 warning".to_owned(),
            count => format!("{count} warnings"),
        };
        let lines: Vec<String> = all.iter().map(|short| format!("\n - {short}")).collect();
        output::say(&format!("\n {count} found (use --check to expand):{}", lines.concat()));
    }
}

impl Events for Found<'_> {
    fn event(&self, event: Event) {
        if let Event::Check(short) = &event {
            self.all.lock().unwrap_or_else(PoisonError::into_inner).push(short.clone());
        }
        self.events.event(event);
    }
}
