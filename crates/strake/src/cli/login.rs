//! `login`: tries an account at a registry and keeps it where Docker does.

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use engine::Kind;
use engine::login::{self, DEFAULT_REGISTRY, LoggedIn};
use engine::registry::credentials::{Credential, Secret, Stored};

use crate::cli::{CliError, Global, Outcome, output, terminal};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Password or Personal Access Token (PAT)
    #[arg(short, long, value_name = "STRING")]
    password: Option<String>,
    /// Take the Password or Personal Access Token (PAT) from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Username
    #[arg(short, long, value_name = "STRING")]
    username: Option<String>,
    /// The registry's host; Docker Hub if none is given
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

impl std::fmt::Debug for Args {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Args").field("server", &self.server).finish_non_exhaustive()
    }
}

/// The longest password that is read from stdin, in bytes.
const LIMIT: u64 = 1 << 20;

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let user = args.username.unwrap_or_default().trim().to_owned();
    let mut password = args.password.unwrap_or_default();
    if args.password_stdin {
        if !password.is_empty() {
            return Err(CliError::new(
                "conflicting options: cannot specify both --password and --password-stdin",
            ));
        }
        if user.is_empty() {
            return Err(CliError::new("the --password-stdin option requires --username to be set"));
        }
        password = from_stdin()?;
    } else if !password.is_empty() {
        output::say("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let registry = login::registry_of(args.server.as_deref().unwrap_or_default())?;
    let accounts = global.accounts()?;
    let client = global.registry_client()?;
    let attempt =
        |user: &str, password: &str| login::login(&client, &accounts, &registry, user, Secret::new(password));

    let mut known = String::new();
    if user.is_empty()
        && password.is_empty()
        && let Ok(Some((name, Credential::Password { password, .. }))) = accounts.find(&registry)
    {
        output::say(&format!("Authenticating with existing credentials... [Username: {name}]"));
        output::say(
            "\n Info -> To login with a different account, run 'strake logout' followed by 'strake login'\n\n",
        );
        match attempt(&name, password.reveal()) {
            Ok(done) => return succeeded(&done),
            Err(error) if error.kind == Kind::Denied => output::say("Stored credentials invalid or expired"),
            Err(error) => output::say(&format!("Login did not succeed, error: {}", error.message)),
        }
        known = name;
    }
    if (user.is_empty() || password.is_empty()) && !std::io::stdin().is_terminal() {
        return Err(CliError::new("Cannot perform an interactive login from a non TTY device")
            .hint("give --username and --password-stdin"));
    }
    let user = match user.is_empty() {
        true => ask_user(&registry, &known)?,
        false => user,
    };
    if password.is_empty() {
        password = terminal::secret("Password: ")?;
        if password.is_empty() {
            return Err(CliError::new("password is required"));
        }
    }
    succeeded(&attempt(&user, &password)?)
}

fn ask_user(registry: &str, known: &str) -> Result<String, CliError> {
    if registry == DEFAULT_REGISTRY {
        output::say(
            "Log in with your Docker ID or email address to push and pull images from Docker Hub. If you don't have a \
             Docker ID, head over to https://hub.docker.com/ to create one.",
        );
    }
    let question = match known {
        "" => "Username: ".to_owned(),
        known => format!("Username ({known}): "),
    };
    match terminal::line(&question)?.trim() {
        "" if known.is_empty() => Err(CliError::new("username is required")),
        "" => Ok(known.to_owned()),
        user => Ok(user.to_owned()),
    }
}

fn succeeded(done: &LoggedIn) -> Outcome {
    if let Stored::File(path) = &done.stored
        && done.password
    {
        output::say(&format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this \
             warning. See\nhttps://docs.docker.com/go/credential-store/\n",
            path.display()
        ));
    }
    output::text(&format!("{}\n", done.status))?;
    Ok(ExitCode::SUCCESS)
}

/// All of stdin, without the end of its last line.
fn from_stdin() -> Result<String, CliError> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(LIMIT + 1).read_to_string(&mut text);
    read.map_err(|error| CliError::new(format!("reading the password from standard input: {error}")))?;
    if text.len() as u64 > LIMIT {
        return Err(CliError::new(format!("the password on standard input has more than {LIMIT} bytes")));
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
