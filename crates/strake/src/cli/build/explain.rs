//! Which steps may be found and which must be; why steps ran: `build --explain`, and `build explain` afterwards.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use engine::build::BuildRequest;
use engine::build::explain::{self, BuildReport, Outcome as StepOutcome, StepReport};
use engine::{Event, Events};

use crate::cli::{CliError, Global, Outcome, output, units};

/// Options of `build`.
#[derive(Debug, clap::Args)]
pub(crate) struct CacheArgs {
    /// Do not use the build cache
    #[arg(long)]
    pub no_cache: bool,
    /// Do not use the build cache for these stages
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub no_cache_filter: Vec<String>,
    /// Say of each step whether it was cached, and if not what changed
    #[arg(long)]
    pub explain: bool,
    /// Fail where a step would have to run: any, or those of STAGE
    #[arg(
        long,
        value_name = "STAGE",
        num_args = 0..=1,
        require_equals = true,
        value_delimiter = ',',
        default_missing_value = ""
    )]
    pub require_cached: Option<Vec<String>>,
}

/// Options of `build explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How it is written: text, or json for programs
    #[arg(long, value_parser = ["text", "json"], default_value = "text")]
    pub format: String,
}

/// Fills in what the options ask for.
pub(crate) fn ask(args: &CacheArgs, request: &mut BuildRequest) -> Result<(), CliError> {
    if args.no_cache && !args.no_cache_filter.is_empty() {
        return Err(CliError::new("--no-cache and --no-cache-filter cannot currently be used together"));
    }
    request.no_cache = args.no_cache;
    request.no_cache_filter.clone_from(&args.no_cache_filter);
    request.require_cached = args
        .require_cached
        .as_ref()
        .map(|stages| stages.iter().filter(|stage| !stage.is_empty()).cloned().collect());
    Ok(())
}

/// `build explain`: about the build that ended last.
pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let report = explain::last_build(&global.engine()?)?;
    match args.format.as_str() {
        "json" => {
            let json = serde_json::to_string_pretty(&report)
                .map_err(|e| CliError::new(format!("cannot write the report: {e}")))?;
            output::text(&format!("{json}\n"))?;
        }
        _ => output::text(&text(&report))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Keeps the report of a build that is under way; passes everything else on.
pub(crate) struct Explained<'a> {
    to: &'a dyn Events,
    report: Mutex<Option<BuildReport>>,
}

impl<'a> Explained<'a> {
    pub(crate) fn new(to: &'a dyn Events) -> Explained<'a> {
        Explained { to, report: Mutex::default() }
    }

    /// The report, if it came that far.
    pub(crate) fn text(&self) -> Option<String> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).take().map(|report| text(&report))
    }
}

impl Events for Explained<'_> {
    fn event(&self, event: Event) {
        match event {
            Event::Explained(report) => {
                *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
            }
            other => self.to.event(other),
        }
    }
}

/// A line for each step, and below it one for each reason.
fn text(report: &BuildReport) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    let mut text = String::new();
    for step in &report.steps {
        let _ = write!(text, "{:8}{}", word(step), step.name);
        let Some(why) = &step.why else {
            text.push('\n');
            continue;
        };
        if let Some(since) = why.since {
            let _ = write!(text, "  (last built {})", units::ago(now - since / 1_000_000_000));
        }
        text.push('\n');
        for line in why.lines() {
            let _ = writeln!(text, "        {line}");
        }
    }
    text
}

fn word(step: &StepReport) -> &'static str {
    match step.outcome {
        StepOutcome::Hit => "CACHED",
        StepOutcome::Ran => "RAN",
        StepOutcome::Failed => "FAILED",
        StepOutcome::NotReached => "-",
    }
}
