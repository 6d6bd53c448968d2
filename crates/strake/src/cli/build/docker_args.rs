//! Options of `docker build` and `docker buildx build` that mean nothing here, or cannot be kept: taken, so that command
//! lines written for Docker work as they are. What would change the image and does not is refused or warned of.

use crate::cli::{CliError, csv, output as stdout};

#[derive(Debug, clap::Args)]
pub(crate) struct DockerArgs {
    /// Remove intermediate containers: there are none
    #[arg(long, hide = true)]
    rm: bool,
    /// Remove intermediate containers, always: there are none
    #[arg(long, hide = true)]
    force_rm: bool,
    /// Compress the context on its way to a daemon: it goes nowhere
    #[arg(long, hide = true)]
    compress: bool,
    /// Verify images by content trust: there is none here
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    /// Debug logging of buildx
    #[arg(short = 'D', long, hide = true)]
    debug: bool,
    /// Which builder: there is one
    #[arg(long, hide = true, value_name = "NAME")]
    builder: Option<String>,
    /// Isolation technology of containers, on Windows
    #[arg(long, hide = true, value_name = "TECHNOLOGY")]
    isolation: Option<String>,
    /// Security options of the classic builder
    #[arg(long = "security-opt", hide = true, value_name = "OPTION")]
    security_opts: Vec<String>,
    /// Squash the layers into one
    #[arg(long, hide = true)]
    squash: bool,
    /// Attestations: none are made
    #[arg(long = "attest", hide = true, value_name = "ATTESTATION")]
    attests: Vec<String>,
    /// The same as --attest=type=provenance
    #[arg(long, hide = true, value_name = "OPTIONS")]
    provenance: Option<String>,
    /// The same as --attest=type=sbom
    #[arg(long, hide = true, value_name = "OPTIONS")]
    sbom: Option<String>,
}

impl DockerArgs {
    /// Refuses what was asked for and would be missing; warns of what only looks different.
    pub(super) fn check(&self) -> Result<(), CliError> {
        for (option, text) in [("provenance", &self.provenance), ("sbom", &self.sbom)] {
            if let Some(text) = text
                && !is_off(text)
            {
                return Err(refused(&format!("--{option}={text}"), &format!("--{option}=false")));
            }
        }
        for text in &self.attests {
            if !csv::fields(text).iter().any(|field| field.eq_ignore_ascii_case("disabled=true")) {
                return Err(refused(&format!("--attest={text}"), &format!("--attest={text},disabled=true")));
            }
        }
        // BuildKit's words.
        if self.squash {
            stdout::say(
                "WARNING: experimental flag squash is removed with BuildKit. You should squash inside build using a \
                 multi-stage Dockerfile for efficiency.",
            );
        }
        for option in &self.security_opts {
            stdout::say(&format!(
                "WARNING: --security-opt {option} has no effect: RUN --security=insecure and --allow \
                 security.insecure loosen a step"
            ));
        }
        Ok(())
    }
}

/// Whether the value of `--provenance` or `--sbom` asks for none.
fn is_off(text: &str) -> bool {
    ["", "0", "f", "false"].iter().any(|off| text.eq_ignore_ascii_case(off))
        || csv::fields(text).iter().any(|field| field.eq_ignore_ascii_case("disabled=true"))
}

fn refused(asked: &str, off: &str) -> CliError {
    CliError::new(format!("{asked}: attestations are not made here"))
        .hint(format!("leave it away, or say {off}"))
}
