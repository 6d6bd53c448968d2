//! The command line: which words lead to which verb, and what every verb gets and gives.
//!
//! A verb is a file here with `Args` (its flags; the doc comments are its help) and
//! `run(Args, &Global) -> Result<ExitCode, CliError>`, and a line in one or more of the tables below. What a verb
//! prints to stdout is its data; all else goes to stderr.

mod error;
mod filter;
mod format;
mod global;
mod prune;
mod terminal;
mod units;
mod usage;

mod attach;
mod bars;
mod build;
mod builder_du;
mod builder_limit;
mod builder_prune;
mod commit;
mod completion;
mod container_args;
mod container_prune;
mod container_values;
mod copy;
mod cp;
mod create;
mod csv;
mod diff;
mod docker_globals;
mod export;
mod history;
mod image_prune;
mod images;
mod import;
mod info;
mod inspect;
mod interrupt;
mod kill;
mod limits;
mod live;
mod load;
mod login;
mod logout;
mod logs;
mod manifest;
mod monitor;
mod mounts;
mod needed_image;
mod output;
mod progress;
mod ps;
mod pull;
mod push;
mod registries;
mod registry_serve;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod save;
mod search;
mod start;
mod stop;
mod system_check;
mod system_df;
mod system_doctor;
mod system_prune;
mod tag;
mod tags;
mod transfer;
mod version;
mod wait;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use error::CliError;
pub(crate) use global::Global;

/// What every verb ends with.
pub(crate) type Outcome = Result<ExitCode, CliError>;

/// Builds, keeps, ships and runs container images, without a daemon.
#[derive(Debug, Parser)]
#[command(name = "strake", version = concat!("version ", env!("CARGO_PKG_VERSION")), disable_version_flag = true)]
#[command(subcommand_required = true, arg_required_else_help = true, propagate_version = false)]
// As with Docker's flags the last of several counts, so that a script may put its own before a user's.
#[command(args_override_self = true)]
struct Cli {
    #[command(flatten)]
    global: global::GlobalArgs,
    #[command(flatten)]
    docker: docker_globals::DockerGlobals,
    /// Print version information and quit
    #[arg(short = 'v', long = "version", action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(subcommand)]
    verb: Verb,
}

/// A table of verbs: the command's name (from the variant, in kebab case), and the file that is it.
macro_rules! verbs {
    ($(#[$table_attribute:meta])* $table:ident { $($(#[$attribute:meta])* $variant:ident => $module:ident,)* }) => {
        $(#[$table_attribute])*
        #[derive(Debug, Subcommand)]
        enum $table {
            $($(#[$attribute])* $variant(Box<$module::Args>),)*
        }

        impl $table {
            fn run(self, global: &Global) -> Outcome {
                match self {
                    $($table::$variant(args) => $module::run(*args, global),)*
                }
            }
        }
    };
}

/// A group of verbs, such as `strake image …`, as if it were one: it has `Args` and `run` of its own.
macro_rules! group {
    ($module:ident, $table:ident) => {
        mod $module {
            #[derive(Debug, clap::Args)]
            #[command(subcommand_required = true, arg_required_else_help = true)]
            pub(super) struct Args {
                #[command(subcommand)]
                verb: super::$table,
            }

            pub(super) fn run(args: Args, global: &super::Global) -> super::Outcome {
                args.verb.run(global)
            }
        }
    };
}

verbs! {
    Verb {
        /// Build an image from a Dockerfile
        Build => build,
        /// Create and run a new container from an image
        Run => run,
        /// Create a new container
        Create => create,
        /// Start one or more stopped containers
        Start => start,
        /// Restart one or more containers
        Restart => restart,
        /// Rename a container
        Rename => rename,
        /// Stop one or more running containers
        Stop => stop,
        /// Kill one or more running containers
        Kill => kill,
        /// Block until one or more containers stop, then print their exit codes
        Wait => wait,
        /// Run a container in the background, for the process that starts it
        #[command(hide = true)]
        Monitor => monitor,
        /// List containers
        Ps => ps,
        /// Remove one or more containers
        Rm => rm,
        /// Fetch the logs of a container
        Logs => logs,
        /// Copy files/folders between a container and the local filesystem
        Cp => cp,
        /// Inspect changes to files or directories on a container's filesystem
        Diff => diff,
        /// Create a new image from a container's changes
        Commit => commit,
        /// Export a container's filesystem as a tar archive
        Export => export,
        /// Download an image from a registry, or from an OCI layout
        Pull => pull,
        /// Upload an image to a registry
        Push => push,
        /// Copy an image from one registry or OCI layout to another, as it is
        Copy => copy,
        /// Save one or more images to a tar archive
        Save => save,
        /// Load an image from a tar archive or STDIN
        Load => load,
        /// Import the contents from a tarball to create a filesystem image
        Import => import,
        /// Authenticate to a registry
        Login => login,
        /// Log out from a registry
        Logout => logout,
        /// Search Docker Hub, or another registry, for images
        Search => search,
        /// List the tags of a repository at its registry
        Tags => tags,
        /// List images
        Images => images,
        /// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
        Tag => tag,
        /// Remove one or more images
        Rmi => rmi,
        /// Show the history of an image
        History => history,
        /// Return low-level information on images and containers
        Inspect => inspect,
        /// Display system-wide information
        Info => info,
        /// Generate the completion script for a shell
        Completion => completion,
        /// Show the version
        Version => version,
        /// Manage builds
        #[command(alias = "buildx")]
        Builder => builder,
        /// Manage containers
        Container => container,
        /// Manage images
        Image => image,
        /// Serve a registry
        Registry => registry,
        /// Manage manifest lists, of images for several platforms
        Manifest => manifest_group,
        /// Manage the store: disk usage, integrity, what this machine allows
        System => system,
    }
}

verbs! {
    BuilderVerb {
        /// Build an image from a Dockerfile
        Build => build,
        /// Disk usage of the build cache
        Du => builder_du,
        /// Show or set how large the build cache may grow
        Limit => builder_limit,
        /// Remove build cache
        Prune => builder_prune,
    }
}

verbs! {
    /// What is asked of builds that are over: the first word after `build`. A directory of that name is built as
    /// `./NAME`.
    BuildVerb {
        /// Say why the steps of the last build ran, or that they were cached
        Explain => build_explain,
        /// List the builds that are remembered
        History => build_history,
        /// Print what the steps of a build printed
        Logs => build_logs,
    }
}

verbs! {
    ContainerVerb {
        /// Create a new image from a container's changes
        Commit => commit,
        /// Copy files/folders between a container and the local filesystem
        Cp => cp,
        /// Create a new container
        Create => create,
        /// Inspect changes to files or directories on a container's filesystem
        Diff => diff,
        /// Export a container's filesystem as a tar archive
        Export => export,
        /// Display detailed information on one or more containers
        Inspect => container_inspect,
        /// Fetch the logs of a container
        Logs => logs,
        /// List containers
        #[command(visible_alias = "list", alias = "ps")]
        Ls => ps,
        /// Remove one or more containers
        #[command(visible_alias = "remove")]
        Rm => rm,
        /// Create and run a new container from an image
        Run => run,
        /// Start one or more stopped containers
        Start => start,
        /// Restart one or more containers
        Restart => restart,
        /// Rename a container
        Rename => rename,
        /// Stop one or more running containers
        Stop => stop,
        /// Kill one or more running containers
        Kill => kill,
        /// Block until one or more containers stop, then print their exit codes
        Wait => wait,
        /// Remove all stopped containers
        Prune => container_prune,
    }
}

verbs! {
    ImageVerb {
        /// Build an image from a Dockerfile
        Build => build,
        /// Import the contents from a tarball to create a filesystem image
        Import => import,
        /// Load an image from a tar archive or STDIN
        Load => load,
        /// Download an image from a registry, or from an OCI layout
        Pull => pull,
        /// Upload an image to a registry
        Push => push,
        /// Save one or more images to a tar archive
        Save => save,
        /// Show the history of an image
        History => history,
        /// Display detailed information on one or more images
        Inspect => image_inspect,
        /// List images
        #[command(visible_alias = "list")]
        Ls => images,
        /// Remove unused images
        Prune => image_prune,
        /// Remove one or more images
        #[command(visible_alias = "remove", alias = "rmi")]
        Rm => rmi,
        /// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
        Tag => tag,
        /// List the tags of a repository at its registry
        Tags => tags,
    }
}

verbs! {
    RegistryVerb {
        /// Serve a registry from the store: push to it, pull from it
        Serve => registry_serve,
    }
}

verbs! {
    ManifestVerb {
        /// Add images to a manifest list
        Add => manifest_add,
        /// Add additional information to an image of a manifest list
        Annotate => manifest_annotate,
        /// Create a local manifest list for annotating and pushing to a registry
        Create => manifest_create,
        /// Check if a manifest list exists
        Exists => manifest_exists,
        /// Display an image manifest, or manifest list
        Inspect => manifest_inspect,
        /// Push a manifest list to a repository
        Push => manifest_push,
        /// Remove an image from a manifest list
        Remove => manifest_remove,
        /// Delete one or more manifest lists from local storage
        Rm => manifest_rm,
    }
}

verbs! {
    SystemVerb {
        /// Check the integrity of the store
        Check => system_check,
        /// Show disk usage
        Df => system_df,
        /// Show what this machine allows, what works without, and how to turn it on
        Doctor => system_doctor,
        /// Display system-wide information
        Info => info,
        /// Remove unused data
        Prune => system_prune,
    }
}

group!(builder, BuilderVerb);
group!(container, ContainerVerb);
group!(image, ImageVerb);
group!(registry, RegistryVerb);
group!(manifest_group, ManifestVerb);
group!(system, SystemVerb);

use build::explain as build_explain;
use build::history as build_history;
use build::logs as build_logs;
use inspect::container as container_inspect;
use inspect::image as image_inspect;
use manifest::add as manifest_add;
use manifest::annotate as manifest_annotate;
use manifest::create as manifest_create;
use manifest::exists as manifest_exists;
use manifest::inspect as manifest_inspect;
use manifest::push as manifest_push;
use manifest::remove as manifest_remove;
use manifest::rm as manifest_rm;

/// Parses the command line, runs the verb, and tells of its failure.
pub(crate) fn main() -> ExitCode {
    let outcome = match parse(std::env::args_os()) {
        Ok(cli) => {
            let global = Global::new(cli.docker.apply(cli.global));
            cli.verb.run(&global)
        }
        Err(error) => Err(usage::refuse(&error)),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => error.tell(),
    }
}

/// Reads a command line. Switches may have a value, as in `--rm=true`: Docker's have, though its help does not say it,
/// and neither does ours.
fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let args: Vec<OsString> = args.into_iter().collect();
    match Cli::try_parse_from(&args) {
        Err(error) if matches!(error.kind(), ErrorKind::TooManyValues | ErrorKind::UnknownArgument) => {
            let matches = match with_values(Cli::command()).try_get_matches_from(args) {
                // A wrong value is worth telling; else the first error is in terms of the help.
                Err(wrong) if wrong.kind() == ErrorKind::ValueValidation => return Err(wrong),
                Err(_) => return Err(error),
                Ok(matches) => matches,
            };
            Cli::from_arg_matches(&matches)
        }
        parsed => parsed,
    }
}

fn with_values(command: clap::Command) -> clap::Command {
    let optional = |arg: clap::Arg| match arg.get_action() {
        clap::ArgAction::SetTrue => arg
            .action(clap::ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .value_parser(switch),
        _ => arg,
    };
    command.mut_args(optional).mut_subcommands(with_values)
}

/// As Go's `strconv.ParseBool`.
fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("true or false is wanted".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_consistent() {
        Cli::command().debug_assert();
        with_values(Cli::command()).debug_assert();
    }

    #[test]
    fn switches_may_have_values() {
        let is_ok = |line: &str| parse(line.split(' ').map(OsString::from)).is_ok();
        for line in [
            "strake run --rm=true -it=false bb echo --rm=x",
            "strake rm -f=1 x",
            "strake ps --no-trunc=F -q=t",
            "strake run --rm -it bb",
        ] {
            assert!(is_ok(line), "{line}");
        }
        for line in ["strake run --rm=x bb", "strake run --bogus=true bb", "strake rm -g=true x"] {
            assert!(!is_ok(line), "{line}");
        }
    }
}
