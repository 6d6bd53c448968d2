//! The global scope: predefined platform arguments, `ARG`s before the first `FROM`, and the
//! arguments that steer the builder itself.

use std::collections::{BTreeMap, BTreeSet};

use oci::Platform;

use crate::ast::{Dockerfile, Instruction, Kind};
use crate::diagnostic::Diagnostic;
use crate::expand::Expander;
use crate::lower::LowerOptions;
use crate::lower::budget::Budget;
use crate::lower::env::Env;

/// The proxies that need no `ARG`, in the order in which BuildKit passes them on.
const PROXIES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];

/// Arguments that are for the builder and never become variables of a step.
pub(crate) const NOT_ENVIRONMENT: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// The build arguments in force: those of the command line, then the host's proxies.
pub(crate) fn build_args(options: &LowerOptions) -> BTreeMap<String, String> {
    let mut all = options.build_args.clone();
    for (name, value) in &options.proxies {
        all.entry(name.clone()).or_insert_with(|| value.clone());
    }
    if let Some(epoch) = options.source_date_epoch {
        all.entry("SOURCE_DATE_EPOCH".to_owned()).or_insert_with(|| epoch.to_string());
    }
    all
}

/// The variables that say what is built for and on, which build arguments may override.
pub(crate) fn predefined(options: &LowerOptions, build_args: &BTreeMap<String, String>, target: &str) -> Env {
    let mut env = Env::default();
    let mut add = |name: &str, value: &str| {
        env.set(name, build_args.get(name).map_or(value, String::as_str));
    };
    for (prefix, platform) in [("BUILD", &options.build_platform), ("TARGET", &options.platform)] {
        add(&format!("{prefix}PLATFORM"), &platform.to_string());
        add(&format!("{prefix}OS"), &platform.os);
        add(&format!("{prefix}OSVERSION"), &platform.os_version);
        add(&format!("{prefix}ARCH"), &platform.architecture);
        add(&format!("{prefix}VARIANT"), &platform.variant);
    }
    add("TARGETSTAGE", if target.is_empty() { "default" } else { target });
    env
}

/// Adds the `ARG`s before the first `FROM` to `env`. A default sees those before it.
pub(crate) fn declare(
    env: &mut Env,
    declarations: &[Instruction],
    build_args: &BTreeMap<String, String>,
    expander: Expander,
    budget: &mut Budget,
) -> Result<(), Diagnostic> {
    for instruction in declarations {
        let Kind::Arg(args) = &instruction.kind else { continue };
        for arg in args {
            let value = match (build_args.get(&arg.name.raw), &arg.default) {
                (Some(value), _) => value.clone(),
                (None, Some(default)) => expander.text(default, &*env)?.text,
                (None, None) => continue,
            };
            budget.variable(&value, 0, arg.name.span)?;
            budget.spend(value.len(), arg.name.span)?;
            env.set(arg.name.raw.clone(), value);
        }
    }
    Ok(())
}

/// The proxies among the build arguments, each under both of its spellings.
pub(crate) fn proxy_env(build_args: &BTreeMap<String, String>) -> Vec<String> {
    let mut all = Vec::new();
    for proxy in PROXIES {
        // The lower-case name comes last in the order of the map and wins, as in BuildKit.
        let given = build_args.iter().rfind(|(name, _)| name.eq_ignore_ascii_case(proxy));
        if let Some((_, value)) = given.filter(|(_, value)| !value.is_empty()) {
            all.push(format!("{}={value}", proxy.to_uppercase()));
            all.push(format!("{proxy}={value}"));
        }
    }
    all
}

/// The build arguments that nothing in the Dockerfile or in `triggers` declares and the builder
/// does not know.
pub(crate) fn unused<'a>(
    dockerfile: &'a Dockerfile,
    triggers: impl Iterator<Item = &'a Instruction>,
    options: &LowerOptions,
    predefined: &'a Env,
) -> Vec<String> {
    let stages = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    let declared: BTreeSet<&str> = dockerfile
        .global_args
        .iter()
        .chain(stages)
        .chain(triggers)
        .filter_map(|instruction| match &instruction.kind {
            Kind::Arg(args) => Some(args.iter().map(|arg| arg.name.raw.as_str())),
            _ => None,
        })
        .flatten()
        .chain(predefined.iter().map(|(name, _)| name))
        .collect();
    let known = |name: &str| {
        declared.contains(name)
            || name == "SOURCE_DATE_EPOCH"
            || name.starts_with("BUILDKIT_")
            || PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
    };
    options.build_args.keys().filter(|name| !known(name)).cloned().collect()
}

/// The names of variables that instructions of the Dockerfile set, as they are written.
pub(crate) fn assigned(dockerfile: &Dockerfile) -> BTreeSet<&str> {
    let stages = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    let mut names = BTreeSet::new();
    for instruction in dockerfile.global_args.iter().chain(stages) {
        match &instruction.kind {
            Kind::Arg(args) => names.extend(args.iter().map(|arg| arg.name.as_str())),
            Kind::Env(pairs) => names.extend(pairs.iter().map(|pair| pair.key.as_str())),
            _ => {}
        }
    }
    names
}

/// The platform that the `TARGET…` variables of a step name, where any are declared.
pub(crate) fn platform_of(env: &Env, base: &Platform) -> Option<Platform> {
    let mut parts: Option<[String; 3]> = None;
    for (name, value) in env.iter() {
        let at = match name {
            "TARGETPLATFORM" => match value.parse() {
                Ok(platform) => return Some(platform),
                Err(_) => continue,
            },
            "TARGETOS" => 0,
            "TARGETARCH" => 1,
            "TARGETVARIANT" => 2,
            _ => continue,
        };
        parts.get_or_insert_default()[at] = value.to_owned();
    }
    let [os, architecture, variant] = parts?;
    let or = |part: String, other: &str| if part.is_empty() { other.to_owned() } else { part };
    Some(Platform::new(&or(os, &base.os), &or(architecture, &base.architecture), &variant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_have_two_spellings() {
        let args = BTreeMap::from(
            [("HTTP_PROXY", "a"), ("http_proxy", "b"), ("NO_PROXY", "c"), ("FTP_PROXY", "")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        assert_eq!(proxy_env(&args), ["HTTP_PROXY=b", "http_proxy=b", "NO_PROXY=c", "no_proxy=c"]);
    }

    #[test]
    fn target_variables() {
        let host = Platform::new("linux", "amd64", "");
        let mut env = Env::default();
        assert_eq!(platform_of(&env, &host), None);
        env.set("TARGETARCH", "arm64");
        assert_eq!(platform_of(&env, &host), Some(Platform::new("linux", "arm64", "")));
        env.set("TARGETPLATFORM", "linux/arm/v7");
        assert_eq!(platform_of(&env, &host), Some(Platform::new("linux", "arm", "v7")));
    }
}
