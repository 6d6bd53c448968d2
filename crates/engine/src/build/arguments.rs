//! Build arguments that steer the builder itself (`BUILDKIT_…`, Dockerfile reference, "BuildKit built-in build args"):
//! those that are read here are taken or refused before anything is loaded.
//!
//! `BUILDKIT_CACHE_MOUNT_NS` and `BUILDKIT_SANDBOX_HOSTNAME` are lowering's. `BUILDKIT_BUILD_NAME` and those of
//! provenance and SBOMs change no image.

use dockerfile::ast::Directives;

use crate::build::request::BuildRequest;
use crate::{Error, Result};

/// The images that Docker's own Dockerfile language comes in.
const OURS: [&str; 4] = [
    "docker/dockerfile",
    "docker.io/docker/dockerfile",
    "docker/dockerfile-upstream",
    "docker.io/docker/dockerfile-upstream",
];

/// Whether several platforms are built, which `BUILDKIT_MULTI_PLATFORM` may forbid.
///
/// # Errors
/// An argument with a value that it does not take, or one that asks for what is not done.
pub(crate) fn multi_platform(request: &BuildRequest) -> Result<bool> {
    if let Some(syntax) = request.build_args.get("BUILDKIT_SYNTAX").filter(|syntax| !is_ours(syntax)) {
        return Err(Error::unsupported(format!(
            "the frontend {syntax} that BUILDKIT_SYNTAX names is not run"
        ))
        .hint("the Dockerfile language of docker/dockerfile is built in"));
    }
    let several = request.platforms.len() > 1;
    match request.build_args.get("BUILDKIT_MULTI_PLATFORM").filter(|value| !value.is_empty()) {
        None => Ok(several),
        Some(value) => match boolean(value) {
            None => Err(Error::invalid(format!("invalid boolean value for multi-platform: {value}"))),
            Some(false) if several => {
                Err(Error::invalid("conflicting config: returning multiple target platforms is not allowed"))
            }
            Some(true) if !several => Err(Error::unsupported(
                "BUILDKIT_MULTI_PLATFORM asks for an index of one image, which is not made",
            )
            .hint("an index is made of several platforms: --platform a,b")),
            Some(_) => Ok(several),
        },
    }
}

/// What to say of a `# syntax=` that asks for another language.
pub(crate) fn syntax_warning(directives: &Directives) -> Option<String> {
    let syntax =
        directives.syntax.as_ref().map(|syntax| syntax.raw.trim()).filter(|syntax| !is_ours(syntax))?;
    Some(format!(
        "the frontend {syntax} that the Dockerfile names is not run: it is read as docker/dockerfile's language, which is built in"
    ))
}

fn is_ours(syntax: &str) -> bool {
    let name = syntax.split('@').next().unwrap_or(syntax);
    let name = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(name, _)| name);
    name.is_empty() || OURS.contains(&name)
}

/// Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frontends() {
        for ours in
            ["docker/dockerfile", "docker/dockerfile:1.7-labs", "docker.io/docker/dockerfile:1@sha256:aa", ""]
        {
            assert!(is_ours(ours), "{ours}");
        }
        for other in ["me/dockerfile:1", "docker/other", "localhost:5000/docker/dockerfile"] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
