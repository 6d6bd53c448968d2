//! `build logs`: what the steps of a build printed, whole.

use std::io;
use std::process::ExitCode;

use engine::build::{BuildRecord, LoggedStep, find_build, find_steps, write_log};

use crate::cli::output::{self, Stream};
use crate::cli::{CliError, Global, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The step: its number, its place such as `2/5` or `build 2/5`, or words of its name; all steps without
    #[arg(value_name = "STEP")]
    step: Option<String>,
    /// The build, by its ID or a part of it (default: the last one)
    #[arg(long, value_name = "ID")]
    build: Option<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let engine = global.engine()?;
    let record = find_build(&engine, args.build.as_deref())?;
    let steps: Vec<&LoggedStep> = match &args.step {
        Some(text) => find_steps(&record, text)?,
        None => record.steps.iter().collect(),
    };
    // One step alone is printed as it was; of several each has its name above.
    let alone = args.step.is_some() && steps.len() == 1;
    if !alone {
        output::say(&heading(&record));
    }
    let mut out = Stream::new(io::stdout().lock());
    let written = steps.iter().enumerate().try_for_each(|(at, step)| {
        if !alone {
            let gap = if at > 0 { "\n" } else { "" };
            io::Write::write_all(&mut out, format!("{gap}#{} {}\n", step.step, step.name).as_bytes())?;
        }
        let mut lines = Whole { inner: &mut out, last: b'\n' };
        write_log(&engine, &record, step.step, &mut lines)?;
        let gap = if lines.last == b'\n' { "" } else { "\n" };
        match (alone, end(step)) {
            (false, Some(end)) => {
                io::Write::write_all(&mut out, format!("{gap}#{} {end}\n", step.step).as_bytes())
            }
            _ => Ok(()),
        }
    });
    out.finish(written.map_err(CliError::from))?;
    Ok(ExitCode::SUCCESS)
}

/// Knows the last byte that was written.
struct Whole<W> {
    inner: W,
    last: u8,
}

impl<W: io::Write> io::Write for Whole<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.last = bytes[..n].last().copied().unwrap_or(self.last);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn heading(record: &BuildRecord) -> String {
    format!("build {} of {}", record.id, record.name)
}

/// How a step ended, in the words of plain progress.
fn end(step: &LoggedStep) -> Option<String> {
    let seconds = step.took as f64 / 1000.0;
    match step.ending.as_str() {
        "cached" => Some("CACHED".to_owned()),
        "done" => Some(format!("DONE {seconds:.1}s")),
        "failed" => Some(format!("ERROR after {seconds:.1}s")),
        "canceled" => Some("CANCELED".to_owned()),
        _ => None,
    }
}
