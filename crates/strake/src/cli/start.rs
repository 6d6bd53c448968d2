//! `start`: a container that exists, run once more in the foreground.

use engine::container::Container;

use crate::cli::attach::Attached;
use crate::cli::run::finish;
use crate::cli::{Global, Outcome, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print what it prints
    #[arg(short, long)]
    attach: bool,
    /// Connect standard input
    #[arg(short, long)]
    interactive: bool,
    /// The container
    container: String,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let engine = global.engine_in_namespace()?;
    let container = Container::find(&engine, &args.container)?;
    let attached = Attached::new(container.state.run.tty, args.interactive && container.state.run.stdin)?;
    let mut io = attached.io();
    if !args.attach && !args.interactive {
        io.output = &|_, _| Ok(());
    }
    let ended = engine::run::restart(&engine, &args.container, io)?;
    drop(attached);
    if !args.attach && !args.interactive {
        output::text(&format!("{}\n", args.container))?;
    }
    finish(&container.state.image_name, ended)
}
