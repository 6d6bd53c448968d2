//! `strake registry serve`.

use std::path::PathBuf;
use std::process::ExitCode;

use engine::serve::{ServeRequest, serve};

use crate::cli::{Global, Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address to listen on; :5000 is port 5000 of all interfaces, port 0 a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5000")]
    addr: String,
    /// Ask for accounts: a file of bcrypt hashes, as htpasswd -B makes it
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
    /// Certificate chain (PEM), to serve HTTPS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serve other machines without accounts
    #[arg(long)]
    allow_anonymous: bool,
    /// Take manifests although blobs or manifests that they need are not there
    #[arg(long)]
    allow_sparse: bool,
}

pub(crate) fn run(args: Args, global: &Global) -> Outcome {
    let request = ServeRequest {
        addr: args.addr,
        tls: args.tls_cert.zip(args.tls_key),
        htpasswd: args.htpasswd,
        allow_anonymous: args.allow_anonymous,
        sparse: args.allow_sparse,
    };
    serve(&global.engine()?, &request, global)?;
    Ok(ExitCode::SUCCESS)
}
