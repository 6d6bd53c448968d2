//! `start`: containers that exist, run (once more): in the background, or with `-a` in the foreground.

use engine::container::Container;

use crate::cli::attach::{Attached, Wanted};
use crate::cli::run::finish;
use crate::cli::{CliError, Global, Outcome, monitor, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print what it prints and forward signals
    #[arg(short, long)]
    attach: bool,
    /// Connect standard input
    #[arg(short, long)]
    interactive: bool,
    /// Taken for Docker's sake
    #[arg(long, hide = true)]
    detach_keys: Option<String>,
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    if args.attach || args.interactive {
        let [name] = args.containers.as_slice() else {
            return Err(CliError::new("you cannot start and attach multiple containers at once"));
        };
        return in_foreground(name, args.interactive, global);
    }
    let engine = global.engine_for_containers()?;
    output::each(&args.containers, |name| {
        let container = Container::find(&engine, name)?;
        if !container.running
            && let Some(ended) = monitor::start(global, &container.record.id)?
        {
            return Err(CliError::new(ended.error.unwrap_or_default()));
        }
        Ok(format!("{name}\n"))
    })
}

fn in_foreground(name: &str, interactive: bool, global: &Global) -> Outcome {
    let engine = global.engine_for_containers()?;
    let container = Container::find(&engine, name)?;
    if container.running {
        return Err(CliError::new(format!("container {name} is running already"))
            .hint(format!("strake logs -f {name} shows what it prints")));
    }
    let run = &container.state.run;
    let attached = Attached::new(Wanted {
        tty: run.tty,
        stdin: interactive && run.stdin,
        stdout: true,
        stderr: true,
        log: !run.auto_remove,
        signals: true,
    })?;
    let ended = engine::run::restart(&engine, &container.record.id, attached.io())?;
    drop(attached);
    match ended.error {
        Some(error) => Err(CliError::new(error)),
        None => finish(ended),
    }
}
